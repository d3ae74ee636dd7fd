// expect: FoldBatchNorm leaves no statistics to estimate again; drop ReestimateBatchNorm or use LiveBatchNorm
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", FoldBatchNorm, ReestimateBatchNorm<50>>;
