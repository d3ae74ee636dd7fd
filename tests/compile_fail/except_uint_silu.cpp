// expect: UInt outputs without a zero point need an activation that is never negative
#include <qat/core.hpp>
using namespace qat;
using Signed = Quantizer<Int<8>, PerTensorSymmetric>;
using Bad =
    Experiment<"x", SiLU, Weights<Quantizer<PerChannelAffine<0>>>, Outputs<Signed>, Except<"neck", UInt<8>>>;
