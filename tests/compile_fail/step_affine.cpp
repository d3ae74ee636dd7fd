// expect: LearnedStep and TrainedThreshold train no zero point; use a symmetric scheme, or LearnedStepAndOffset
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<PerTensorAffine, LearnedStep>;
