#pragma once
// Unsigned integers.

#include <qat/core/slots.hpp>

#include <cstdint>
#include <string_view>

namespace qat {

/// [0, 2^B - 1]
template <int Bits> struct UInt {
    using slot = slot::format;
    static constexpr std::string_view name = "uint";
    static constexpr bool quantized = true, is_signed = false;
    static constexpr int bits = Bits;
    static constexpr std::int64_t lo = 0, hi = (std::int64_t{1} << Bits) - 1;
    static_assert(Bits >= 2 && Bits <= 16, "qat::UInt: 2 to 16 bits");
};

}  // namespace qat
