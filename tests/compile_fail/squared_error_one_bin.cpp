// expect: qat::MeanSquaredError: at least two bins
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<PerTensorSymmetric, MeanSquaredError<1>>;
