// expect: outputs cannot be quantized per channel; use a PerTensor scheme
#include <qat/core.hpp>
using namespace qat;
using Bad =
    Experiment<"x", Except<"backbone.stem", PerChannelSymmetric<0>>>;  // replaces the outputs' scheme, too
