// expect: qat::FixedRange: the lower end is not below the upper; swap them
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<FixedRange<std::ratio<8>, std::ratio<-8>>>;
