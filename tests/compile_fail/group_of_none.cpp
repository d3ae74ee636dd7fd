// expect: qat::PerGroup: at least one channel in a group
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<PerGroup<0>>;
