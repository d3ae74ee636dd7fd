// expect: a trained grid needs rounding that is the same each time; use HalfEven, or StraightThrough with Stochastic
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<PerTensorSymmetric, LearnedStep, Stochastic>;
