// expect: FixedReaches gives every role its range; use PerRole (HeadPerRole<FixedReaches<...>>), or FixedRange for a whole tensor
#include <qat/core.hpp>
#include <ratio>
using namespace qat;
using Bad = Quantizer<FixedReaches<std::ratio<4>, std::ratio<4>, std::ratio<8>, std::ratio<8>>,
                      PerChannelSymmetric<0>>;
