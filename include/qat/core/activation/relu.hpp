#pragma once
// y = max(x, 0), and the same with a ceiling of 6.

#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct ReLU {
    using slot = slot::activation;
    static constexpr std::string_view name = "relu";
    static constexpr bool nonnegative = true;
};

struct ReLU6 {  // y = min(max(x, 0), 6)
    using slot = slot::activation;
    static constexpr std::string_view name = "relu6";
    static constexpr bool nonnegative = true;
};

}  // namespace qat
