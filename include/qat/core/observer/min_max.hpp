#pragma once
// The extremes of everything seen so far. torch.ao: MinMaxObserver, PerChannelMinMaxObserver.

#include <qat/core/observer/follow.hpp>
#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct MinMax {
    using slot = slot::observer;
    static constexpr std::string_view name = "min-max";
    static constexpr bool fixed = false;

    static constexpr FollowRule rule{Takes::extreme};
    /// One end of the range after `seen` came in; extreme: minimum for the lower end, maximum for the upper.
    template <class T, class Extreme> static T follow(T const& range, T const& seen, Extreme extreme) {
        return extreme(range, seen);
    }
};

}  // namespace qat
