// expect: PACT trains the upper end of what is never negative; use UInt and PerTensorSymmetric
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<UInt<8>, PerTensorAffine, PACT>;
