// expect: qat::StepBits: 2 to 16 bits
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", StepBits<BitsStep{17, after_epochs(1)}>>;
