// expect: Entropy merges its bins into the grid's levels, and so many levels leave nothing to merge
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<Int<16>, PerTensorSymmetric, Entropy<>>;
