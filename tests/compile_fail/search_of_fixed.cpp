// expect: LeastError and Mode decide on what was observed, and a fixed range observes nothing
#include <qat/core.hpp>
#include <ratio>
using namespace qat;
using Bad = Quantizer<PerTensorSymmetric, FixedRange<std::ratio<-8>, std::ratio<8>>, PowerOfTwo<LeastError>>;
