// expect: qat::Percentile: at least two bins
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<PerTensorSymmetric, Percentile<std::ratio<9, 10>, 1>>;
