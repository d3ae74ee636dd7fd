// expect: qat::ReestimateBatchNorm: a number of batches, 0 for none
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", ReestimateBatchNorm<-1>>;
