// expect: Entropy finds one threshold for both signs; use PerTensorSymmetric, or Histogram
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<Entropy<>, PerTensorAffine>;
