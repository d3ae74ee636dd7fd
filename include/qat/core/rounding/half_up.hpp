#pragma once
// floor(t + 1/2): ties go up. What an integer engine gets that adds half a step and shifts right.

#include <qat/core/arithmetic.hpp>
#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct HalfUp {
    using slot = slot::rounding;
    static constexpr std::string_view name = "half up";
    static constexpr bool stochastic = false, centred = true;

    /// requires |t| < 2^22. Not by adding 0.5f: for t = 0.5 - 2^-25 that sum is 1.
    QAT_HOST_DEVICE static constexpr float round(float t) {
        float const even = round_half_even(t);
        return even + (t - even == 0.5f ? 1.0f : 0.0f);
    }
};

}  // namespace qat
