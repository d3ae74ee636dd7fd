// expect: qat::PerChannel: an axis counts from 0
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<Int<8>, PerChannelSymmetric<-1>, MinMax>;
