// expect: PerRole is for the outputs of a head; use HeadPerRole<>, and a PerChannel or PerGroup scheme for weights
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", Weights<Quantizer<PerRole>>>;
