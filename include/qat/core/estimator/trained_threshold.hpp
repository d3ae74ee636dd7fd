#pragma once
// The end of the range is a parameter, in log2; the scale is a power of two. With k = t rounded the scale's way:
//     s = 2^k / (hi + 1) ;  dy/dx = 1 where lo <= round(x / s) <= hi, else 0
//     dy/dt = s * ln 2 * (round(x / s) - x / s inside, lo or hi outside)
// TQT: Jain et al. 2020, arXiv:1903.08066, section 3; hi + 1 as everywhere in this framework.

#include <qat/core/estimator/learns.hpp>
#include <qat/core/estimator/slope.hpp>
#include <qat/core/rounding/floor.hpp>
#include <qat/core/rounding/half_up.hpp>
#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

/// k = ceil | round | floor (t). Between the exponent of smallest_scale and 127; NaN gives the smallest.
QAT_HOST_DEVICE constexpr int threshold_exponent(float t, Toward way, Levels levels) {
    auto const least = exponent(smallest_scale * static_cast<float>(levels.hi + 1), Ceil);
    float const near = clamp(t, static_cast<float>(least) - 1.0f, 128.0f);
    float const k = way == Toward::up        ? -RoundDown::round(-near)
                    : way == Toward::nearest ? HalfUp::round(near)
                                             : RoundDown::round(near);
    return static_cast<int>(clamp(k, static_cast<float>(least), 127.0f));
}

struct TrainedThreshold {
    using slot = slot::estimator;
    static constexpr std::string_view name = "trained threshold";
    static constexpr Learns learns = Learns::log2_threshold;
    static constexpr bool passes_outside = false;

    // A threshold that has crossed the same integer more than this many times in a row only oscillates: it is frozen at
    // the exponent that was in use most, by a moving average (ops/learned/threshold_freeze.hpp).
    static constexpr int crossings_before_freeze = 4;
    static constexpr double average_momentum = 0.02;  // per step; a plain mean over the first 1 / 0.02 steps

    QAT_HOST_DEVICE static constexpr ScaleZero grid(Toward way, float log2_threshold, Levels levels) {
        return {exp2(threshold_exponent(log2_threshold, way, levels)) / static_cast<float>(levels.hi + 1), 0};
    }

    /// rounded: code_or_beyond of x. NaN contributes nothing.
    QAT_HOST_DEVICE static constexpr Slope slope(float x, float rounded, LearnedGrid const& g) {
        float const t = x * g.inverse, within = clamp(t, g.codes.low - 1.0f, g.codes.high + 1.0f);
        float const c = clamp(rounded, g.codes.low, g.codes.high);
        float const inside = static_cast<float>((rounded >= g.codes.low) & (rounded <= g.codes.high));
        return {inside, (c - inside * within) * static_cast<float>(t == t), 0.0f};
    }
    template <class Rounding> QAT_HOST_DEVICE static constexpr Slope slope(float x, LearnedGrid const& g) {
        return slope(x, code_or_beyond<Rounding>(x, g), g);
    }
};

}  // namespace qat
