// expect: qat::after_steps, after_epochs: 0 or more; never() for never
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", StopObservers<after_epochs(-1)>>;
