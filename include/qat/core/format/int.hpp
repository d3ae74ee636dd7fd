#pragma once
// Signed integers.

#include <qat/core/slots.hpp>

#include <cstdint>
#include <string_view>

namespace qat {

enum class Range { full, narrow };  // narrow: without the lowest integer

/// [-2^(B-1), 2^(B-1) - 1]; narrow: [-2^(B-1) + 1, 2^(B-1) - 1]
template <int Bits, Range R = Range::full> struct Int {
    using slot = slot::format;
    static constexpr std::string_view name = R == Range::narrow ? "narrow int" : "int";
    static constexpr bool quantized = true, is_signed = true;
    static constexpr int bits = Bits;
    static constexpr Range range = R;
    static constexpr std::int64_t hi = (std::int64_t{1} << (Bits - 1)) - 1;
    static constexpr std::int64_t lo = R == Range::narrow ? -hi : -hi - 1;
    static_assert(Bits >= 2 && Bits <= 16, "qat::Int: 2 to 16 bits");
};

}  // namespace qat
