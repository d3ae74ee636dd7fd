// expect: two policies fill the same slot; keep one of them
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<Int<8>, UInt<8>>;
