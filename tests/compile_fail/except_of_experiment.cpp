// expect: Except takes a stage and fragments of a Quantizer
#include <qat/core.hpp>
using namespace qat;
using E = Experiment<"x", Except<"detect", HeadFloat>>;
using Bad = E::arithmetic::at<"detect">;
