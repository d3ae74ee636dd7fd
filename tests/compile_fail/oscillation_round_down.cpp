// expect: the edges of RoundDown's bins
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", Weights<Quantizer<Int<8>, PerChannelSymmetric<0>, MinMax, RoundDown>>,
                       FreezeOscillation<>>;
