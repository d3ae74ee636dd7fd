#pragma once
// How one tensor is put on a grid: a set of fragments, one per slot, in any order.
//     Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Ceil>>
// Every fragment says what it can do (capabilities); code asks for those, never for the fragment's type.

#include <qat/core/estimator/straight_through.hpp>
#include <qat/core/format/float.hpp>
#include <qat/core/format/int.hpp>
#include <qat/core/format/uint.hpp>
#include <qat/core/movement/scales_move.hpp>
#include <qat/core/observer/fixed_range.hpp>
#include <qat/core/observer/min_max.hpp>
#include <qat/core/observer/moving_average.hpp>
#include <qat/core/policy_set.hpp>
#include <qat/core/rounding/half_even.hpp>
#include <qat/core/scale/any.hpp>
#include <qat/core/scale/power_of_two.hpp>
#include <qat/core/scheme/per_channel.hpp>
#include <qat/core/scheme/per_tensor.hpp>

namespace qat {

template <class Format, class Scheme, class Observer, class Scale, class Rounding, class Estimator,
          class Movement>
struct BasicQuantizer;

struct QuantizerKind {
    using defaults = pack<Int<8>, PerTensorAffine, MovingAverageMinMax<>, AnyScale, HalfEven, StraightThrough,
                          ScalesMove<each_forward>>;
    template <class... Fs> using set = BasicQuantizer<Fs...>;
};

/// Which fragments go together, as values: BasicQuantizer asserts them, catalogues of legal combinations filter by them.
template <class Format, class Scheme, class Observer, class Scale> struct QuantizerRules {
    static constexpr bool shift_without_zero_point = !Scale::power_of_two || Scheme::symmetric;
    static constexpr bool fixed_range_per_tensor = !Observer::fixed || !Scheme::per_channel;
    static constexpr bool narrow_is_symmetric = Format::name != "narrow int" || Scheme::symmetric;
    static constexpr bool all = shift_without_zero_point && fixed_range_per_tensor && narrow_is_symmetric;
};

template <class Format, class Scheme, class Observer, class Scale, class Rounding, class Estimator,
          class Movement>
struct BasicQuantizer
    : PolicySet<QuantizerKind, Format, Scheme, Observer, Scale, Rounding, Estimator, Movement> {
    using format = Format;
    using scheme = Scheme;
    using observer = Observer;
    using scale = Scale;
    using rounding = Rounding;
    using estimator = Estimator;
    using movement = Movement;
    using rules = QuantizerRules<Format, Scheme, Observer, Scale>;

    static_assert(rules::shift_without_zero_point,
                  "qat::Quantizer: PowerOfTwo means a shift, and a shift has no zero point; "
                  "use PerTensorSymmetric or PerChannelSymmetric");
    static_assert(rules::fixed_range_per_tensor,
                  "qat::Quantizer: FixedRange is one range for the whole tensor; use a PerTensor scheme");
    static_assert(rules::narrow_is_symmetric,
                  "qat::Quantizer: Range::narrow makes the grid symmetric, and a zero point undoes it; "
                  "use a symmetric scheme or Range::full");
};

/// The quantizer of these fragments; defaults: QuantizerKind::defaults. The same choices are the same type.
template <class... Fragments> using Quantizer = make_set<QuantizerKind, Fragments...>;

/// A settled Quantizer<...>: not a fragment, not an observer.
template <class Q>
concept QuantizerSpec = requires {
    typename Q::format;
    typename Q::scheme;
    typename Q::observer;
    typename Q::scale;
    typename Q::rounding;
    typename Q::estimator;
    typename Q::movement;
};

}  // namespace qat
