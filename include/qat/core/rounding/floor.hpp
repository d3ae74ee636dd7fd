#pragma once
// The largest integer that is not above t: a plain shift right, biased by half a step. Called RoundDown, since Floor
// is a way of PowerOfTwo.

#include <qat/core/arithmetic.hpp>
#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct RoundDown {
    using slot = slot::rounding;
    static constexpr std::string_view name = "floor";
    static constexpr bool stochastic = false, centred = false;  // integers are the edges of their bins

    /// requires |t| < 2^22.
    QAT_HOST_DEVICE static constexpr float round(float t) {
        float const even = round_half_even(t);
        return even - (even > t ? 1.0f : 0.0f);
    }
};

}  // namespace qat
