// expect: an argument fills no slot of this set
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", MinMax>;
