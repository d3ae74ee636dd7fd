// expect: give Weights, Outputs and Input a quantized format, or use FloatBias
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", AccumulatorBias, Input<Quantizer<>>, Weights<Quantizer<Float>>>;
