// expect: weights have a sign, and UInt without a zero point makes every negative one 0
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", ReLU, Outputs<Quantizer<PerTensorSymmetric>>, Except<"backbone.stem", UInt<8>>>;
