#pragma once
// dy/dx = 1 everywhere: elements beyond the range keep being trained, so that they can come back. The other variant of
// the straight-through estimator; Bengio et al. 2013, arXiv:1308.3432; Yin et al. 2019, arXiv:1903.05662 (identity STE).

#include <qat/core/estimator/learns.hpp>
#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct PassThrough {
    using slot = slot::estimator;
    static constexpr std::string_view name = "pass through";
    static constexpr Learns learns = Learns::nothing;
    static constexpr bool passes_outside = true;
};

}  // namespace qat
