// expect: give the head HeadFloat, HeadPerRole<>, HeadInt16 or HeadFixed<...> with a signed quantizer
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", ReLU, Outputs<Quantizer<UInt<8>, PerTensorSymmetric>>>;
