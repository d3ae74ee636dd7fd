#pragma once
// What an estimator trains besides the network.

namespace qat {

/// nothing: the scale follows what an observer saw. step: the scale itself. step_and_offset: and a real zero point.
/// log2_threshold: log2 of the end of the range. clip: the end of the range of an activation that is never negative.
enum class Learns { nothing, step, step_and_offset, log2_threshold, clip };

}  // namespace qat
