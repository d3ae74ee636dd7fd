#pragma once
// The scale is a parameter, and so is the zero point if the scheme has one. With t = x / s and codes c = q - z:
//     dy/dx = 1 where lo - z < t < hi - z, else 0
//     dy/ds = round(t) - t inside, lo or hi outside ;  dy/d(offset) = 0 inside, 1 outside
//     both times 1 / sqrt(N * hi), N: the weights that share the scale, or of activations the features of one image
// LSQ: Esser et al. 2020, arXiv:1902.08153, section 2. LSQ+: Bhalgat et al. 2020, arXiv:2004.09576, section 3, where
// y = s * q + offset; it leaves the offset's factor open.

#include <qat/core/estimator/learns.hpp>
#include <qat/core/estimator/slope.hpp>
#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

/// The scale of a symmetric scheme.
struct LearnedStep {
    using slot = slot::estimator;
    static constexpr std::string_view name = "learned step";
    static constexpr Learns learns = Learns::step;
    static constexpr bool passes_outside = false;

    /// s = step, made legal.
    QAT_HOST_DEVICE static constexpr ScaleZero grid(float step, float, Levels) {
        return {legal_scale(step), 0};
    }

    /// rounded: code_or_beyond of x. NaN contributes nothing.
    QAT_HOST_DEVICE static constexpr Slope slope(float x, float rounded, LearnedGrid const& g) {
        float const t = x * g.inverse, within = clamp(t, g.codes.low, g.codes.high);
        float const c = clamp(rounded, g.codes.low, g.codes.high);
        float const inside = static_cast<float>((t > g.codes.low) & (t < g.codes.high));
        float const known = static_cast<float>(t == t);
        return {inside, (c + (1.0f - inside) * g.zero_point - inside * within) * known, known - inside};
    }
    template <class Rounding> QAT_HOST_DEVICE static constexpr Slope slope(float x, LearnedGrid const& g) {
        return slope(x, code_or_beyond<Rounding>(x, g), g);
    }
};

/// The scale and the offset of an affine scheme: the real number that code 0 means. The grid still contains 0.0, hence
/// z = clamp(round(-offset / s), lo, hi), and the gradient passes that rounding.
struct LearnedStepAndOffset {
    using slot = slot::estimator;
    static constexpr std::string_view name = "learned step and offset";
    static constexpr Learns learns = Learns::step_and_offset;
    static constexpr bool passes_outside = false;

    QAT_HOST_DEVICE static constexpr ScaleZero grid(float step, float offset, Levels levels) {
        float const s = legal_scale(step), lo = static_cast<float>(levels.lo),
                    hi = static_cast<float>(levels.hi);
        // lo and hi are integers: rounding after clamping is clamping after rounding
        return {s, static_cast<std::int32_t>(round_half_even(clamp(-offset / s, lo, hi)))};
    }

    QAT_HOST_DEVICE static constexpr Slope slope(float x, float rounded, LearnedGrid const& g) {
        return LearnedStep::slope(x, rounded, g);
    }
    template <class Rounding> QAT_HOST_DEVICE static constexpr Slope slope(float x, LearnedGrid const& g) {
        return LearnedStep::slope<Rounding>(x, g);
    }
};

}  // namespace qat
