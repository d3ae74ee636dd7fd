// expect: Histogram, Entropy and Percentile count a whole tensor; use a PerTensor scheme
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<Histogram<>, PerChannelSymmetric<0>>;
