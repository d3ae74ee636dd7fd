// expect: qat::PerGroup: an axis counts from 0
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<Int<8>, PerGroup<4, -1>, MinMax>;
