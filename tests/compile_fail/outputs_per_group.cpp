// expect: outputs cannot be quantized per channel; use a PerTensor scheme
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", Outputs<Quantizer<PerGroup<4, 1>>>>;
