#pragma once
// Not quantized: the tensor passes as it is, and the other fragments say nothing.

#include <qat/core/slots.hpp>

#include <cstdint>
#include <string_view>

namespace qat {

struct Float {
    using slot = slot::format;
    static constexpr std::string_view name = "float";
    static constexpr bool quantized = false, is_signed = true;
    static constexpr int bits = 32;
    static constexpr std::int64_t lo = 0, hi = 0;
};

}  // namespace qat
