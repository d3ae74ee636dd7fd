// expect: LearnedStep and PACT train a real number, which PowerOfTwo would round away; use TrainedThreshold, or AnyScale
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<PerTensorSymmetric, PowerOfTwo<Ceil>, LearnedStep>;
