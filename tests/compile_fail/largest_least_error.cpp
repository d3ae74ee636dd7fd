// expect: use MinMax or MovingAverageMinMax, or SharedRange::whole
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", AlignInputsTo<SharedRange::largest>,
                       Outputs<Quantizer<PerTensorSymmetric, PowerOfTwo<LeastError>>>>;
