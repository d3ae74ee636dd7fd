// expect: Weights, Outputs and Input take a Quantizer<...>; wrap the fragments in one
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", Outputs<MovingAverageMinMax<>>>;
