// expect: qat::learned_step: give the quantizer LearnedStep
#include <qat/ops/learned.hpp>
using namespace qat;
using Threshold = Quantizer<PerTensorSymmetric, PowerOfTwo<Ceil>, TrainedThreshold>;
torch::Tensor bad(torch::Tensor const& x) { return learned_step<Threshold>(x, x); }
