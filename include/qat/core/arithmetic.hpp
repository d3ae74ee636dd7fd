#pragma once
// The scalar rules, each once: CPU loops, CUDA kernels, tests and an integer engine call these functions.
//     q = clamp(round(x / s) + z, lo, hi) ;  y = s * (q - z) ;  dy/dx = 1 where lo <= round(x / s) + z <= hi, else 0
// The rules work on the shifted code c = q - z, an integer held in a float, so that a zero point costs nothing.

#include <qat/core/host_device.hpp>

#include <bit>
#include <cstdint>

namespace qat {

/// The nearest integer, ties to even. requires |t| < 2^22 and round-to-nearest mode (no -ffast-math).
/// Adding 1.5 * 2^23 leaves no bits for a fraction, so the addition itself rounds.
QAT_HOST_DEVICE constexpr float round_half_even(float t) {
    constexpr float magic = 12582912.0f;
    return (t + magic) - magic;
}

/// The integers that a grid uses: a format's, or fewer of them where a schedule steps the bits down.
struct Levels {
    std::int64_t lo, hi;
    friend constexpr bool operator==(Levels, Levels) = default;
};
template <class Format> inline constexpr Levels levels_of{Format::lo, Format::hi};

/// The codes of a grid, relative to its zero point: lo - z and hi - z. 16 bits at most.
struct Bounds {
    float low, high;
};
QAT_HOST_DEVICE constexpr Bounds bounds(std::int64_t lo, std::int64_t hi, std::int64_t zero_point) {
    return {static_cast<float>(lo - zero_point), static_cast<float>(hi - zero_point)};
}

/// min(max(t, low), high); NaN becomes low.
QAT_HOST_DEVICE constexpr float clamp(float t, float low, float high) {
    float const raised = t > low ? t : low;
    return raised < high ? raised : high;
}

/// A value's place on the grid.
struct Code {
    float value;  // c = q - z, an integer in [low, high]
    bool inside;  // whether it was there before clamping: the gradient passes
};

/// c = clamp(round(x * inverse), low, high). The scale enters as its reciprocal, as in torch's kernels; for a power of
/// two that is the same number as x / s. NaN gives the lowest code and no gradient, infinities the ends and none.
template <class Rounding> QAT_HOST_DEVICE constexpr Code quantize(float x, float inverse, Bounds b) {
    // One beyond either end shows what is outside; without a branch, so that loops vectorise.
    float const r = Rounding::round(clamp(x * inverse, b.low - 1.0f, b.high + 1.0f));
    float const value = clamp(r, b.low, b.high);
    return {value, value == r};
}

/// y = s * c
QAT_HOST_DEVICE constexpr float dequantize(float code, float scale) { return scale * code; }

/// Which way a real exponent becomes an integer.
enum class Toward { up, nearest, down };
inline constexpr Toward Ceil = Toward::up, Nearest = Toward::nearest, Floor = Toward::down;

/// k = ceil | round | floor (log2 x) from the bits of x, exactly: no logarithm is taken. requires x > 0, normal.
QAT_HOST_DEVICE constexpr int exponent(float x, Toward way) {
    auto const bits = std::bit_cast<std::uint32_t>(x);
    int const down = static_cast<int>((bits >> 23) & 0xffu) - 127;
    std::uint32_t const fraction = bits & 0x7fffffu;  // x = 2^down * (1 + fraction / 2^23)
    constexpr std::uint32_t sqrt2 = 0x3504f3u;        // of sqrt(2) in float
    if (way == Toward::up) return down + (fraction != 0 ? 1 : 0);
    if (way == Toward::nearest) return down + (fraction >= sqrt2 ? 1 : 0);
    return down;
}

/// 2^k, exactly. requires -126 <= k <= 127.
QAT_HOST_DEVICE constexpr float exp2(int k) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(k + 127) << 23);
}

/// Scales are never smaller than this: an empty or all-zero range gives it (or the next power of two).
inline constexpr float smallest_scale = 1.1920928955078125e-07f;  // 2^-23, torch.ao's eps

/// A grid: real units per integer step, and the integer that means 0.0.
struct ScaleZero {
    float scale;
    std::int32_t zero_point;
};

/// How a specification chooses grids, as values: what uses it is compiled once.
struct GridRule {
    bool is_signed, symmetric, power_of_two;
    Toward way = Toward::up;  // of a power of two
};
template <class Spec> constexpr GridRule grid_rule() {
    GridRule rule{Spec::format::is_signed, Spec::scheme::symmetric, Spec::scale::power_of_two};
    if constexpr (Spec::scale::power_of_two) rule.way = Spec::scale::way;
    return rule;
}

/// The grid of this rule that covers [min, max] and zero, lo and hi those of the levels.
/// symmetric, signed:   s = max|x| / ((hi - lo) / 2), z = 0, as torch.ao's symmetric observers
/// symmetric, unsigned: s = max(x) / hi, z = 0
/// power of two:        s = 2^k / (hi + 1), k = log2 max|x| rounded the policy's way, z = 0 (the reference's rule)
/// affine:              s = (max - min) / (hi - lo), z = clamp(lo - round(min / s), lo, hi), as torch.ao
QAT_HOST_DEVICE constexpr ScaleZero choose_grid(GridRule rule, float min, float max, Levels levels) {
    auto const lo = static_cast<float>(levels.lo), hi = static_cast<float>(levels.hi);
    min = min < 0 ? min : 0, max = max > 0 ? max : 0;
    if (!rule.symmetric) {
        float s = (max - min) / (hi - lo);
        s = s > smallest_scale ? s : smallest_scale;
        float const z =
            lo - round_half_even(clamp(min / s, -2097152.0f, 0.0f));  // torch's, whatever rounds codes
        return {s, static_cast<std::int32_t>(clamp(z, lo, hi))};
    }
    float const reach = rule.is_signed && -min > max ? -min : max;
    if (rule.power_of_two) {
        float const steps = hi + 1;  // itself a power of two
        float const least = smallest_scale * steps;
        return {exp2(exponent(reach > least ? reach : least, rule.way)) / steps, 0};
    }
    float const s = reach / (rule.is_signed ? (hi - lo) / 2 : hi);
    return {s > smallest_scale ? s : smallest_scale, 0};
}
template <class Spec>
QAT_HOST_DEVICE constexpr ScaleZero choose_grid(float min, float max,
                                                Levels levels = levels_of<typename Spec::format>) {
    return choose_grid(grid_rule<Spec>(), min, max, levels);
}

}  // namespace qat
