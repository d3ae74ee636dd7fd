// expect: use Int or PerTensorAffine with SiLU
#include <qat/core.hpp>
using namespace qat;
using Good = Experiment<"x", SiLU>;
using Bad = Good::vary<"y", Outputs<Quantizer<UInt<8>, PerTensorSymmetric>>>;
