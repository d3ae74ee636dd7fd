#pragma once
// y = x * sigmoid(x), about -0.28 at least.

#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct SiLU {
    using slot = slot::activation;
    static constexpr std::string_view name = "silu";
    static constexpr bool nonnegative = false, masks = false;
    static constexpr bool saves_result = false;  // its gradient needs x: whoever comes next may overwrite y
};

}  // namespace qat
