// expect: HeadInt16 and HeadPerRole vary the quantizer of Outputs, which is Float; give Outputs
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", Outputs<Quantizer<Float>>, HeadInt16>;
