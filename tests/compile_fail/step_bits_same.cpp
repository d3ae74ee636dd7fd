// expect: StepBits steps down to as many bits as there are, or more; give it fewer
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", StepBits<BitsStep{8, after_epochs(1)}>>;
