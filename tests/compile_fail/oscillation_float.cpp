// expect: no weights are quantized, so none jumps between two integers
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", Weights<Quantizer<Float>>, DampenOscillation<>>;
