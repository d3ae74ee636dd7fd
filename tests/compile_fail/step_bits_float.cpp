// expect: everything is Float, and StopObservers, QuantizeFrom and StepBits switch
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", Weights<Quantizer<Float>>, Outputs<Quantizer<Float>>,
                       StepBits<BitsStep{4, after_epochs(1)}>>;
