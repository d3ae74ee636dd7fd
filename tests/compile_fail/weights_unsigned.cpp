// expect: makes every negative one 0, and so does a FixedRange from 0 with one; use Int, or UInt with PerChannelAffine
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", ReLU, Weights<Quantizer<UInt<8>, PerChannelSymmetric<0>>>>;
