// expect: no estimator trains a threshold, so there is none to freeze
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", Weights<Quantizer<Float, PerTensorSymmetric, LearnedStep>>,
                       FreezeThresholds<after_epochs(1)>>;
