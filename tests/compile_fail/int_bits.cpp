// expect: qat::Int: 2 to 16 bits
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<Int<17>>;
