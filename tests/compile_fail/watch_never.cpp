// expect: grids watch before they quantize; let Watch come first
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", QuantizeFrom<after_steps(0), never()>>;
