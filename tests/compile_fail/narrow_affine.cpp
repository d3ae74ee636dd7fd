// expect: use a symmetric scheme or Range::full
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<Int<8, Range::narrow>, PerTensorAffine>;
