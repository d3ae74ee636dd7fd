// expect: qat::UInt: 2 to 16 bits
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<UInt<1>>;
