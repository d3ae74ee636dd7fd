// expect: thresholds freeze before quantization starts to train them; give
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", Outputs<Quantizer<Int<8>, PerTensorSymmetric, LearnedStep>>,
                       QuantizeFrom<after_epochs(3)>, FreezeThresholds<after_epochs(3)>>;
