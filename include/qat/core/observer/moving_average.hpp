#pragma once
// r += m * (seen - r), starting with the first extremes seen.
// torch.ao: MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver.

#include <qat/core/observer/follow.hpp>
#include <qat/core/slots.hpp>

#include <ratio>
#include <string_view>
#include <type_traits>

namespace qat {

/// Momentum: a std::ratio, since clang 14 has no floating-point template arguments.
template <class Momentum = std::ratio<1, 100>> struct MovingAverageMinMax {
    using slot = slot::observer;
    static constexpr std::string_view name = "moving-average min-max";
    static constexpr bool fixed = false;
    static constexpr double momentum = double(Momentum::num) / double(Momentum::den);
    static_assert(momentum > 0 && momentum <= 1,
                  "qat::MovingAverageMinMax: the share of what is new, above 0 and 1 at most; e.g. "
                  "std::ratio<1, 100>");

    static constexpr FollowRule rule{Takes::average, static_cast<float>(momentum)};
    template <class T, class Extreme> static T follow(T const& range, T const& seen, Extreme) {
        if constexpr (std::is_same_v<T, float>)  // a tensor's operations, unless the compiler fuses them
            return moving_average(range, seen, static_cast<float>(momentum));
        else
            return range + momentum * (seen - range);
    }
};

}  // namespace qat
