// expect: qat::Epochs: at least one
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", Epochs<0>>;
