#pragma once
// Up with a probability equal to the fraction, else down: right on average, so that small updates of a weight are not
// lost. Gupta et al. 2015, arXiv:1502.02551. For weights in training; evaluation rounds half to even.

#include <qat/core/arithmetic.hpp>
#include <qat/core/rounding/floor.hpp>
#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct Stochastic {
    using slot = slot::rounding;
    static constexpr std::string_view name = "stochastic";
    static constexpr bool stochastic = true, centred = true;

    /// Without noise: half to even. requires |t| < 2^22.
    QAT_HOST_DEVICE static constexpr float round(float t) { return round_half_even(t); }

    /// floor(t + noise), noise uniform in [0, 1) (core/noise.hpp). An integer stays: the sum is never formed, whose
    /// rounding could reach the next integer. The mean is t up to 2^-24, the resolution of the noise.
    QAT_HOST_DEVICE static constexpr float round(float t, float noise) {
        float const down = RoundDown::round(t), fraction = t - down;
        return down + (noise >= 1.0f - fraction ? 1.0f : 0.0f);
    }
};

/// quantize of core/arithmetic.hpp with noise: c = clamp(floor(x * inverse + noise), low, high).
/// requires Rounding::stochastic. NaN gives the lowest code and no gradient, infinities the ends and none.
template <class Rounding>
QAT_HOST_DEVICE constexpr Code quantize(float x, float inverse, Bounds b, float noise) {
    static_assert(Rounding::stochastic, "qat::quantize: only stochastic rounding takes noise");
    float const r = Rounding::round(clamp(x * inverse, b.low - 1.0f, b.high + 1.0f), noise);
    float const value = clamp(r, b.low, b.high);
    return {value, value == r};
}

}  // namespace qat
