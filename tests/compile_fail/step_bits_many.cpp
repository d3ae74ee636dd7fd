// expect: qat::StepBits: at most four steps
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<
    "x", StepBits<BitsStep{7, after_epochs(1)}, BitsStep{6, after_epochs(2)}, BitsStep{5, after_epochs(3)},
                  BitsStep{4, after_epochs(4)}, BitsStep{3, after_epochs(5)}>>;
