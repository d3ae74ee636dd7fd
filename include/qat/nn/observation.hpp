#pragma once
// What a grid has seen so far, and which grid follows from it: an observer's memory. One class template for each way of
// remembering; FakeQuantize picks by what the observer and the scale want to see. All have
//     wants_values     see() takes the values, not only their extremes
//     see(extremes)    or see(extremes, values, group_of): collected until
//     follow()         the memory takes it in, once; false if nothing was seen
//     known()          where choose() means something
//     choose(levels)   the grid
//     range(levels)    that it covers
//     use(levels, anew)  from now on; anew: what is remembered was measured on others. requires nothing seen since the last
//                        follow
//     forget()         what was seen since the last follow
//     widen(ratio)     as if all that was seen had been so many times as large: [] or [G], positive

#include <qat/nn/exponents.hpp>
#include <qat/nn/extremes.hpp>
#include <qat/nn/histogram_observation.hpp>

#include <type_traits>

namespace qat::nn {
namespace detail {
template <class O> inline constexpr bool has_bins = requires { O::bins; };

template <QuantizerSpec Spec> struct Remember {
    using O = typename Spec::observer;
    static constexpr bool counts = has_bins<O> && !Spec::scheme::per_channel;
    using Range = std::conditional_t<counts, HistogramObservation<Spec>,
                                     std::conditional_t<has_bins<O>, ShrunkExtremes<Spec>, Extremes<Spec>>>;
    static auto pick() {
        if constexpr (Spec::scale::votes && !O::fixed)
            return std::type_identity<Votes<Spec, Range>>{};
        else if constexpr (Spec::scale::searches && !counts && !O::fixed)  // a histogram answers by itself
            return std::type_identity<LeastErrors<Spec, Range>>{};
        else
            return std::type_identity<Range>{};
    }
};
}  // namespace detail

template <QuantizerSpec Spec> using Observation = typename decltype(detail::Remember<Spec>::pick())::type;

}  // namespace qat::nn
