// expect: qat::Entropy: at least two bins
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<PerTensorSymmetric, Entropy<1>>;
