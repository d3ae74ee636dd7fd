// expect: AlignInputs aligns the grids of outputs, and Float outputs have none
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", Outputs<Quantizer<Float>>, HeadInt16, AlignInputs>;
