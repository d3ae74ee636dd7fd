// expect: and so does a FixedRange from 0 with one; use Int
#include <qat/core.hpp>
using namespace qat;
using Bad =
    Experiment<"x", Weights<Quantizer<Int<8>, PerTensorAffine, FixedRange<std::ratio<0>, std::ratio<1>>>>,
               Except<"backbone.stem", Int<4>>>;
