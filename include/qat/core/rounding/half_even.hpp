#pragma once
// Ties go to the even integer: IEEE's default, torch's rounding.

#include <qat/core/arithmetic.hpp>
#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct HalfEven {
    using slot = slot::rounding;
    static constexpr std::string_view name = "half to even";
    static constexpr bool stochastic = false, centred = true;
    QAT_HOST_DEVICE static constexpr float round(float t) { return round_half_even(t); }
};

}  // namespace qat
