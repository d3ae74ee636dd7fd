// expect: weights have a sign, and UInt without a zero point makes every negative one 0; use Int, or UInt with PerChannelAffine
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", ReLU, Weights<Quantizer<UInt<8>, PerChannelSymmetric<0>>>>;
