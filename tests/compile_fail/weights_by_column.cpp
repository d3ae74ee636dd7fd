// expect: a convolution's weights have one scale for each output channel, which is axis 0
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", Weights<Quantizer<Int<8>, PerChannelSymmetric<1>, MinMax>>>;
