// expect: TrainedThreshold trains the exponent of a power of two; add PowerOfTwo<Ceil>
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<TrainedThreshold>;  // affine as well, which is the next thing to hear about
