// expect: the accumulator's grid is the input's times the weight's; give Weights, Outputs and Input a quantized format, or use FloatBias
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", AccumulatorBias>;  // the input is Float unless told otherwise
