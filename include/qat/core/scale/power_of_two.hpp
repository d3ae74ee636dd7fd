#pragma once
// s = 2^k: multiplying by it is a shift, and products of two such scales are exact.

#include <qat/core/arithmetic.hpp>
#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

/// s = 2^k / (hi + 1), k = log2 max|x| rounded up, to the nearest (in the logarithm), or down.
/// Up covers the range but for its last step; the others clip. Source: the reference study's pow2_scale (Ceil).
template <Toward Way = Ceil> struct PowerOfTwo {
    using slot = slot::scale;
    static constexpr std::string_view name = Way == Toward::up        ? "power of two, rounded up"
                                             : Way == Toward::nearest ? "power of two, nearest"
                                                                      : "power of two, rounded down";
    static constexpr bool power_of_two = true;
    static constexpr Toward way = Way;
};

}  // namespace qat
