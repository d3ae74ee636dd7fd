// expect: everything is Float, and StopObservers, QuantizeFrom and StepBits switch
#include <qat/core.hpp>
using namespace qat;
using Bad =
    Experiment<"x", Weights<Quantizer<Float>>, Outputs<Quantizer<Float>>, QuantizeFrom<after_epochs(1)>>;
