// expect: UInt without a zero point begins at 0
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<UInt<8>, PerTensorSymmetric, FixedRange<std::ratio<-8>, std::ratio<0>>>;
