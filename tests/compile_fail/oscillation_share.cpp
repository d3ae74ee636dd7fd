// expect: qat::FreezeOscillation: shares of the steps, above 0 and below 1
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", FreezeOscillation<std::ratio<2>>>;
