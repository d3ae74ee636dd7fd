// expect: TrainedThreshold trains the exponent of a power of two; add PowerOfTwo<Ceil>
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<PerTensorSymmetric, PowerOfTwo<LeastError>, TrainedThreshold>;
