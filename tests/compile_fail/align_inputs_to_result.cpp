// expect: only the inputs share a grid, so its range cannot be the result's; use AlignAllTo<SharedRange::result>
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", AlignInputsTo<SharedRange::result>>;
