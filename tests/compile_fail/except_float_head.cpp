// expect: HeadFloat leaves the head in float, and an Except gives it bits; drop one of them, or use HeadAsBody
#include <qat/core.hpp>
using namespace qat;
using E = Experiment<"x", HeadFloat, Except<"detect", Int<16>>>;
static_assert(E::arithmetic::at<"detect.head3">::head::outputs::format::bits == 32);  // as the network asks
