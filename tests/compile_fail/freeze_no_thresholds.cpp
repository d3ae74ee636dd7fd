// expect: no estimator trains a threshold, so there is none to freeze; drop FreezeThresholds or use LearnedStep or TrainedThreshold
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", FreezeThresholds<after_epochs(2)>>;
