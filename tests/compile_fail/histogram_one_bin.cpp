// expect: qat::Histogram: at least two bins
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<Histogram<1>>;
