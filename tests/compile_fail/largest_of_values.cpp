// expect: SharedRange::largest keeps the ends of the widest result, and Histogram, Entropy, Percentile, MeanSquaredError and LeastError look at the values of all
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", ReLU, AlignAllTo<SharedRange::largest>,
                       Outputs<Quantizer<UInt<8>, PerTensorAffine, Histogram<>>>>;
