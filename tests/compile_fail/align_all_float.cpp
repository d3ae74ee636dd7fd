// expect: AlignInputs aligns the grids of outputs, and Float outputs have none; use Unaligned
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", AlignAll, Outputs<Quantizer<Float>>>;
