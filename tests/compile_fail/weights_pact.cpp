// expect: use Int, or UInt with PerChannelAffine, and PACT for outputs only
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", ReLU, Weights<Quantizer<UInt<4>, PerTensorSymmetric, PACT>>>;
