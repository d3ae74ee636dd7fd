// expect: observers stop before they start to watch; give StopObservers a later time
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", QuantizeFrom<after_steps(10), after_steps(5)>, StopObservers<after_steps(3)>>;
