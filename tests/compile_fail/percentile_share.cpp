// expect: qat::Percentile: more than one half, 1 at most; e.g. std::ratio<999, 1000>
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<Percentile<std::ratio<999>>>;  // meant as 99.9 %
