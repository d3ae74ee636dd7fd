// expect: FoldBatchNorm leaves no batch norm to freeze; drop FreezeBatchNorm or use LiveBatchNorm
#include <qat/core.hpp>
using namespace qat;
using Bad = Experiment<"x", FoldBatchNorm, FreezeBatchNorm<after_epochs(1)>>;
