#pragma once
// From an integer accumulator to the codes of the next grid, in integers: what an engine does between two layers. The same
// numbers as fake quantization of the accumulator's real value, whose sums are exact below 2^24.

#include <qat/core/arithmetic.hpp>

#include <cstdint>

namespace qat {

/// round(a / 2^shift), ties to even. requires |shift| <= 62; for shift < 0: a * 2^-shift fits int64.
QAT_HOST_DEVICE constexpr std::int64_t shift_half_even(std::int64_t a, int shift) {
    if (shift <= 0) return a * (std::int64_t{1} << -shift);
    std::int64_t const down = a >> shift;  // towards minus infinity
    std::int64_t const rest = a - down * (std::int64_t{1} << shift), half = std::int64_t{1} << (shift - 1);
    return down + ((rest > half || (rest == half && (down & 1) != 0)) ? 1 : 0);
}

/// The code q of accumulator * (scale of the accumulator) on a grid whose scale is 2^shift times as large.
/// bounds, zero_point: of the result's grid; q = clamp(round(a / 2^shift), lo - z, hi - z) + z.
QAT_HOST_DEVICE constexpr std::int32_t requantize(std::int64_t accumulator, int shift, Levels levels,
                                                  std::int32_t zero_point = 0) {
    std::int64_t const c = shift_half_even(accumulator, shift) + zero_point;
    return static_cast<std::int32_t>(c < levels.lo ? levels.lo : c > levels.hi ? levels.hi : c);
}

/// A real ratio of scales as an integer times a power of two: ratio = mantissa / 2^shift (1 +- 2^-31), for scales that are
/// no powers of two. Jacob et al. 2018, arXiv:1712.05877, section 2.2.
struct Multiplier {
    std::int32_t mantissa;  // in [2^30, 2^31)
    int shift;
};
/// requires 2^-30 <= ratio < 2^30
constexpr Multiplier multiplier(double ratio) {
    int shift = 30;
    while (ratio >= 2) ratio /= 2, --shift;
    while (ratio < 1) ratio *= 2, ++shift;
    auto mantissa = static_cast<std::int64_t>(ratio * (1 << 30) + 0.5);
    if (mantissa == std::int64_t{1} << 31) mantissa /= 2, --shift;
    return {static_cast<std::int32_t>(mantissa), shift};
}

/// The same for any ratio of scales: q = clamp(round(a * mantissa / 2^shift) + z, lo, hi). requires |accumulator| < 2^31
QAT_HOST_DEVICE constexpr std::int32_t requantize(std::int64_t accumulator, Multiplier m, Levels levels,
                                                  std::int32_t zero_point = 0) {
    return requantize(accumulator * m.mantissa, m.shift, levels, zero_point);
}

}  // namespace qat
