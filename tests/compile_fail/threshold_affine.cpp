// expect: PowerOfTwo means a shift, and a shift has no zero point; use PerTensorSymmetric or PerChannelSymmetric
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<PerTensorAffine, PowerOfTwo<Ceil>, TrainedThreshold>;
