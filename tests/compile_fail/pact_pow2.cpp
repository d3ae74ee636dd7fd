// expect: LearnedStep and PACT train a real number, which PowerOfTwo would round away; use TrainedThreshold, or AnyScale
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<UInt<8>, PerTensorSymmetric, PowerOfTwo<Ceil>, PACT>;
