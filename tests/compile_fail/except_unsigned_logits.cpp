// expect: logits have a sign, and UInt outputs without a zero point have none
#include <qat/core.hpp>
using namespace qat;
using E = Experiment<"x", ReLU, Weights<Quantizer<PerChannelAffine<0>>>,
                     HeadFixed<Quantizer<PerTensorSymmetric>>, Except<"detect", UInt<8>>>;
static_assert(E::arithmetic::at<"detect.head3">::head::outputs::format::bits == 8);  // as the network asks
