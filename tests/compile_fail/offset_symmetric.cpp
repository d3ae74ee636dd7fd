// expect: LearnedStepAndOffset trains a zero point, and a symmetric scheme has none; use PerTensorAffine or PerChannelAffine, or LearnedStep
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<PerTensorSymmetric, LearnedStepAndOffset>;
