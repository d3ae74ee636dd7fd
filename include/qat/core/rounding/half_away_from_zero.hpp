#pragma once
// Ties go away from zero: C's round(), many fixed-point libraries.

#include <qat/core/arithmetic.hpp>
#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct HalfAwayFromZero {
    using slot = slot::rounding;
    static constexpr std::string_view name = "half away from zero";
    static constexpr bool stochastic = false, centred = true;

    /// requires |t| < 2^22. t - even is exact, so a tie is exactly +-0.5: even if the even neighbour is the inner one.
    QAT_HOST_DEVICE static constexpr float round(float t) {
        float const even = round_half_even(t), rest = t - even;
        float const up = rest == 0.5f && t > 0 ? 1.0f : 0.0f, down = rest == -0.5f && t < 0 ? 1.0f : 0.0f;
        return even + up - down;
    }
};

}  // namespace qat
