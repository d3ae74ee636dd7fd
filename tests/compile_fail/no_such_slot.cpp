// expect: get<S>: this set has no slot S
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<Int<8>>::get<slot::join>;
