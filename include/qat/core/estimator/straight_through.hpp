#pragma once
// dy/dx = 1 inside the range, 0 outside; the scale is not trained. Bengio et al. 2013, arXiv:1308.3432; torch.ao.

#include <qat/core/estimator/learns.hpp>
#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct StraightThrough {
    using slot = slot::estimator;
    static constexpr std::string_view name = "straight through";
    static constexpr Learns learns = Learns::nothing;
    static constexpr bool passes_outside = false;
};

}  // namespace qat
