// expect: qat::FixedReaches: four roles, xy, wh, objectness and classes, and a reach above 0 for each
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", HeadPerRole<FixedReaches<std::ratio<4>, std::ratio<4>, std::ratio<16>>>>;
