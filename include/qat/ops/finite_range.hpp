#pragma once
// The extremes of a tensor as if NaN and infinities were not there.

#include <qat/ops/range.hpp>
#include <qat/torch.hpp>

#include <limits>

namespace qat {

/// The extremes of the finite values; +inf and -inf if there are none. seen: of x, taken as they are if they are finite
/// (asked on the CPU only, where nobody has to wait for the answer).                                       [] each
inline RangeTensors finite_range(torch::Tensor const& x, RangeTensors const& seen) {
    if (seen.min.is_cpu() && torch::isfinite(seen.max - seen.min).item<bool>()) return seen;
    if (x.numel() == 0) return seen;
    constexpr auto inf = std::numeric_limits<double>::infinity();
    auto const finite = torch::isfinite(x);
    return {torch::where(finite, x, torch::full_like(x, inf)).min(),
            torch::where(finite, x, torch::full_like(x, -inf)).max()};
}

}  // namespace qat
