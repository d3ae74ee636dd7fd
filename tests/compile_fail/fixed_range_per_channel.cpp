// expect: FixedRange is one range for the whole tensor; use a PerTensor scheme
#include <qat/core.hpp>
#include <ratio>
using namespace qat;
using Bad = Quantizer<FixedRange<std::ratio<-8>, std::ratio<8>>, PerChannelSymmetric<0>>;
