// expect: Stochastic rounding is for weights in training; outputs are rounded the same each time, use HalfEven
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", HeadFixed<Quantizer<Stochastic>>>;
