// expect: Percentile and Entropy choose the range, and LeastError would choose another; use
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<LeastError>, Percentile<>>;
Bad bad;
