// expect: qat::MovingAverageMinMax: the share of what is new, above 0 and 1 at most
#include <qat/core.hpp>
using namespace qat;
using Bad = Quantizer<MovingAverageMinMax<std::ratio<100>>>;  // meant as 1/100
