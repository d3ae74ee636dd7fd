#pragma once
// How one tensor is put on a grid: a set of fragments, one per slot, in any order.
//     Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Ceil>>
// Every fragment says what it can do (capabilities); code asks for those, never for the fragment's type.

#include <qat/core/estimator/learned_step.hpp>
#include <qat/core/estimator/pact.hpp>
#include <qat/core/estimator/pass_through.hpp>
#include <qat/core/estimator/straight_through.hpp>
#include <qat/core/estimator/trained_threshold.hpp>
#include <qat/core/format/float.hpp>
#include <qat/core/format/int.hpp>
#include <qat/core/format/uint.hpp>
#include <qat/core/movement/scales_move.hpp>
#include <qat/core/observer/entropy.hpp>
#include <qat/core/observer/fixed_range.hpp>
#include <qat/core/observer/histogram.hpp>
#include <qat/core/observer/mean_squared_error.hpp>
#include <qat/core/observer/min_max.hpp>
#include <qat/core/observer/moving_average.hpp>
#include <qat/core/observer/percentile.hpp>
#include <qat/core/policy_set.hpp>
#include <qat/core/rounding/floor.hpp>
#include <qat/core/rounding/half_away_from_zero.hpp>
#include <qat/core/rounding/half_even.hpp>
#include <qat/core/rounding/half_up.hpp>
#include <qat/core/rounding/stochastic.hpp>
#include <qat/core/scale/any.hpp>
#include <qat/core/scale/power_of_two.hpp>
#include <qat/core/scheme/per_channel.hpp>
#include <qat/core/scheme/per_group.hpp>
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
template <class Format, class Scheme, class Observer, class Scale, class Rounding = HalfEven,
          class Estimator = StraightThrough>
struct QuantizerRules {
    static constexpr auto learns = Estimator::learns;
    static constexpr bool wants_tensor = [] {
        if constexpr (requires { Observer::per_tensor; }) return Observer::per_tensor;
        return false;
    }();
    static constexpr bool one_threshold = [] {
        if constexpr (requires { Observer::one_threshold; }) return Observer::one_threshold;
        return false;
    }();

    static constexpr bool reaches_have_roles = [] {
        if constexpr (requires { Observer::of_roles; }) return Scheme::roles;
        return true;
    }();

    static constexpr bool unsigned_has_a_range = [] {
        if constexpr (requires { Observer::hi; })
            return Format::is_signed || !Scheme::symmetric || Observer::hi > 0;
        return true;
    }();

    static constexpr bool one_criterion = [] {
        if constexpr (requires { Observer::chooses_ends; }) return !Scale::searches;
        return true;
    }();

    static constexpr bool shift_without_zero_point = !Scale::power_of_two || Scheme::symmetric;
    static constexpr bool fixed_range_per_tensor = !Observer::fixed || !Scheme::per_channel || Scheme::roles;
    static constexpr bool narrow_is_symmetric = Format::name != "narrow int" || Scheme::symmetric;
    static constexpr bool counted_per_tensor = !wants_tensor || !Scheme::per_channel;
    static constexpr bool bins_finer_than_levels = [] {
        if constexpr (one_threshold && Format::quantized)
            return Observer::bins < 2 || Format::hi + 1 < Observer::bins;  // Entropy has spoken of fewer
        return true;
    }();
    static constexpr bool threshold_is_symmetric = !one_threshold || Scheme::symmetric;
    static constexpr bool threshold_is_a_shift =
        learns != Learns::log2_threshold || (Scale::power_of_two && !Scale::searches && !Scale::votes);
    static constexpr bool step_is_any_number =
        learns == Learns::nothing || learns == Learns::log2_threshold || !Scale::power_of_two;
    static constexpr bool step_without_offset =
        (learns != Learns::step && learns != Learns::log2_threshold) || Scheme::symmetric;
    static constexpr bool offset_has_zero_point = learns != Learns::step_and_offset || !Scheme::symmetric;
    static constexpr bool clip_is_unsigned =
        learns != Learns::clip || (!Format::is_signed && Scheme::symmetric);
    static constexpr bool search_sees = !Observer::fixed || (!Scale::searches && !Scale::votes);
    static constexpr bool learned_rounds_alike = learns == Learns::nothing || !Rounding::stochastic;
    static constexpr bool all =
        shift_without_zero_point && fixed_range_per_tensor && narrow_is_symmetric && counted_per_tensor &&
        threshold_is_symmetric && threshold_is_a_shift && step_is_any_number && step_without_offset &&
        offset_has_zero_point && clip_is_unsigned && learned_rounds_alike && reaches_have_roles &&
        search_sees && bins_finer_than_levels && unsigned_has_a_range && one_criterion;
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
    using rules = QuantizerRules<Format, Scheme, Observer, Scale, Rounding, Estimator>;

    static_assert(rules::shift_without_zero_point,
                  "qat::Quantizer: PowerOfTwo means a shift, and a shift has no zero point; "
                  "use PerTensorSymmetric or PerChannelSymmetric");
    static_assert(rules::fixed_range_per_tensor || !rules::reaches_have_roles,
                  "qat::Quantizer: FixedRange is one range for the whole tensor; use a PerTensor scheme");
    static_assert(
        rules::unsigned_has_a_range,
        "qat::Quantizer: UInt without a zero point begins at 0, and this FixedRange ends there or below; use "
        "Int, or an affine scheme");
    static_assert(rules::narrow_is_symmetric,
                  "qat::Quantizer: Range::narrow makes the grid symmetric, and a zero point undoes it; "
                  "use a symmetric scheme or Range::full");
    static_assert(
        rules::counted_per_tensor,
        "qat::Quantizer: Histogram, Entropy and Percentile count a whole tensor; use a PerTensor scheme, or "
        "MeanSquaredError or MinMax per channel");
    static_assert(
        rules::threshold_is_symmetric || !rules::counted_per_tensor,
        "qat::Quantizer: Entropy finds one threshold for both signs; use PerTensorSymmetric, or Histogram "
        "with a zero point");
    static_assert(
        rules::bins_finer_than_levels,
        "qat::Quantizer: Entropy merges its bins into the grid's levels, and so many levels leave nothing to "
        "merge; use MinMax, MovingAverageMinMax or Histogram for a wide format, or Entropy with more bins");
    static_assert(
        rules::threshold_is_a_shift,
        "qat::Quantizer: TrainedThreshold trains the exponent of a power of two; add PowerOfTwo<Ceil>, "
        "PowerOfTwo<Nearest> or PowerOfTwo<Floor>");
    static_assert(
        rules::step_is_any_number || !rules::shift_without_zero_point,
        "qat::Quantizer: LearnedStep and PACT train a real number, which PowerOfTwo would round away; use "
        "TrainedThreshold, or AnyScale");
    static_assert(
        rules::step_without_offset || !rules::shift_without_zero_point || !rules::threshold_is_a_shift,
        "qat::Quantizer: LearnedStep and TrainedThreshold train no zero point; use a symmetric scheme, or "
        "LearnedStepAndOffset");
    static_assert(
        rules::offset_has_zero_point,
        "qat::Quantizer: LearnedStepAndOffset trains a zero point, and a symmetric scheme has none; use "
        "PerTensorAffine or PerChannelAffine, or LearnedStep");
    static_assert(rules::clip_is_unsigned,
                  "qat::Quantizer: PACT trains the upper end of what is never negative; use UInt and "
                  "PerTensorSymmetric");
    static_assert(rules::reaches_have_roles, "qat::Quantizer: FixedReaches gives every role its range; use "
                                             "PerRole (HeadPerRole<FixedReaches<...>>), "
                                             "or FixedRange for a whole tensor");
    static_assert(rules::search_sees, "qat::Quantizer: LeastError and Mode decide on what was observed, and "
                                      "a fixed range observes nothing; use "
                                      "Ceil, Nearest or Floor, or an observer");
    static_assert(
        rules::one_criterion,
        "qat::Quantizer: Percentile and Entropy choose the range, and LeastError would choose another; use "
        "Ceil, Nearest, Floor or Mode, or Histogram or MeanSquaredError with LeastError");
    static_assert(
        rules::learned_rounds_alike,
        "qat::Quantizer: a trained grid needs rounding that is the same each time; use HalfEven, or "
        "StraightThrough with Stochastic");
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
