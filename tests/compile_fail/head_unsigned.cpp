// expect: logits have a sign, and UInt outputs without a zero point have none
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", SiLU, HeadFixed<Quantizer<UInt<8>, PerTensorSymmetric>>>;
