// expect: qat::StepBits: each step is later than the one before and has fewer bits; sort them
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", StepBits<BitsStep{6, after_epochs(1)}, BitsStep{8, after_epochs(2)}>>;
