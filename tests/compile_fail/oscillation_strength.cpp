// expect: qat::DampenOscillation: a strength above 0, or LeaveOscillation for none
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", DampenOscillation<std::ratio<0>>>;
