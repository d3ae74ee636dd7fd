#pragma once
// The upper clip of an activation that is never negative is a parameter, alpha:
//     s = alpha / hi ;  dy/dx = 1 where 0 <= x < alpha, else 0 ;  dy/dalpha = 1 where x >= alpha, else 0
// PACT: Choi et al. 2018, arXiv:1805.06085, equations 1 to 3. The paper also decays alpha (L2) as the weights; here
// what is learned of grids is an optimizer group of its own, without decay.

#include <qat/core/estimator/learns.hpp>
#include <qat/core/estimator/slope.hpp>
#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct PACT {
    using slot = slot::estimator;
    static constexpr std::string_view name = "PACT";
    static constexpr Learns learns = Learns::clip;
    static constexpr bool passes_outside = false;

    /// alpha, limited to what gives a legal scale.
    QAT_HOST_DEVICE static constexpr float clip(float alpha, Levels levels) {
        auto const hi = static_cast<float>(levels.hi);
        return clamp(alpha, smallest_scale * hi, largest_scale * hi);
    }

    QAT_HOST_DEVICE static constexpr ScaleZero grid(float alpha, float, Levels levels) {
        return {clip(alpha, levels) / static_cast<float>(levels.hi), 0};
    }

    /// rounded: not used. NaN contributes nothing.
    QAT_HOST_DEVICE static constexpr Slope slope(float x, float /*rounded*/, LearnedGrid const& g) {
        return {static_cast<float>((x * g.inverse >= g.codes.low) & (x < g.clip)),
                static_cast<float>(x >= g.clip), 0.0f};
    }
    template <class Rounding> QAT_HOST_DEVICE static constexpr Slope slope(float x, LearnedGrid const& g) {
        return slope(x, 0.0f, g);
    }
};

}  // namespace qat
