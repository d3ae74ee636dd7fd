// expect: qat::PowerOfTwo: use Ceil, Nearest, Floor, LeastError or Mode
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<PerTensorSymmetric, PowerOfTwo<2>>;
