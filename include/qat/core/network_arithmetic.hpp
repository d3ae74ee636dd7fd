#pragma once
// What a network computes: the quantizers of its body, its head and its stages, and the rules between them.

#include <qat/core/exceptions/except.hpp>
#include <qat/core/head/head.hpp>
#include <qat/core/join/join.hpp>
#include <qat/core/quantizer.hpp>

#include <type_traits>

namespace qat {

/// Which quantizers go together in a network or in a stage of it, as values: Arithmetic asserts them.
template <class Activation, class W, class O, class In, class Join> struct ArithmeticRules {
    static constexpr bool looks_at_values = O::scale::searches || requires { O::observer::bins; };

    static constexpr bool outputs_have_no_sign =
        O::format::is_signed || !O::scheme::symmetric || Activation::nonnegative || O::scheme::per_channel;
    static constexpr bool outputs_per_tensor = !O::scheme::per_channel && !In::scheme::per_channel;
    static constexpr bool outputs_round_alike = !O::rounding::stochastic && !In::rounding::stochastic;
    static constexpr bool weights_without_roles = !W::scheme::roles;
    static constexpr bool weights_by_row =
        !W::scheme::per_channel || W::scheme::roles || W::scheme::axis == 0;
    static constexpr bool weights_begin_below_zero = [] {
        if constexpr (requires { W::observer::lo; }) return W::scheme::symmetric || W::observer::lo < 0;
        return true;
    }();
    static constexpr bool weights_have_a_sign =
        (W::format::is_signed || !W::scheme::symmetric) && weights_begin_below_zero;
    static constexpr bool widest_by_its_ends =
        !Join::aligned || Join::range != SharedRange::largest || !O::format::quantized || !looks_at_values;
    static constexpr bool all = outputs_have_no_sign && outputs_per_tensor && outputs_round_alike &&
                                weights_without_roles && weights_by_row && weights_have_a_sign &&
                                widest_by_its_ends;
};

namespace detail {
// The head of a stage that exceptions cover: what the policy makes of the body, with the exceptions on top. Where the
// policy leaves float, it stays float.
template <class Head, class Covering, class W, class O> struct HeadOfStage : Head {
    template <class Q, class Body, class Changed> static constexpr auto changed() {
        if constexpr (std::is_same_v<Q, Body>)
            return static_cast<Changed*>(nullptr);
        else if constexpr (!Q::format::quantized)
            return static_cast<Q*>(nullptr);
        else
            return static_cast<typename applied<Q, Covering>::type*>(nullptr);
    }
    template <class ChangedW, class>
    using weights =
        std::remove_pointer_t<decltype(changed<typename Head::template weights<W, O>, W, ChangedW>())>;
    template <class, class ChangedO>
    using outputs =
        std::remove_pointer_t<decltype(changed<typename Head::template outputs<W, O>, O, ChangedO>())>;
};
template <class Head> inline constexpr bool of_stage = false;
template <class Head, class Covering, class W, class O>
inline constexpr bool of_stage<HeadOfStage<Head, Covering, W, O>> = true;

template <class A, class Covering> struct stage_of;  // below
}  // namespace detail

/// What the network's type depends on, and nothing else. Modules take this, never an experiment.
template <class Activation, class BodyWeights, class BodyOutputs, class ImageInput, class Head, class Join,
          class BatchNorm, class Bias, class Saves, class Except>
struct Arithmetic {
    using activation = Activation;
    using weights = BodyWeights;
    using outputs = BodyOutputs;
    using input = ImageInput;
    using join = Join;
    using batch_norm = BatchNorm;
    using bias = Bias;
    using saves = Saves;
    using exceptions = Except;
    using rules = ArithmeticRules<Activation, BodyWeights, BodyOutputs, ImageInput, Join>;

    /// The quantizers of the last convolutions. A class, so that its rules speak where there is a head: in the experiment,
    /// and in the stage that is one.
    struct head {
        using weights = typename Head::template weights<BodyWeights, BodyOutputs>;
        using outputs = typename Head::template outputs<BodyWeights, BodyOutputs>;

        // Where the body broke the same rule it has spoken.
        static_assert(
            outputs::format::is_signed || !outputs::scheme::symmetric || !rules::outputs_have_no_sign,
            "qat::Experiment: logits have a sign, and UInt outputs without a zero point have none; "
            "give the head HeadFloat, HeadPerRole<>, HeadInt16 or HeadFixed<...> with a signed quantizer");
        static_assert(!outputs::scheme::per_channel || outputs::scheme::roles || !rules::outputs_per_tensor,
                      "qat::Experiment: outputs cannot be quantized per channel; use a PerTensor scheme");
        static_assert(!outputs::rounding::stochastic || !rules::outputs_round_alike,
                      "qat::Experiment: Stochastic rounding is for weights in training; outputs are rounded "
                      "the same each time, use HalfEven");
        static_assert(
            !detail::of_stage<Head> || weights::format::quantized || outputs::format::quantized ||
                (!BodyWeights::format::quantized && !BodyOutputs::format::quantized),
            "qat::Experiment: HeadFloat leaves the head in float, and an Except gives it bits; drop "
            "one of them, or use HeadAsBody");
    };

    /// The arithmetic of a stage: this one, but for the exceptions that cover it, which must obey the same rules. Networks
    /// name their stages with it:
    ///     Conv<typename A::template at<"backbone.stem">> stem;
    template <fixed_string Stage>
    using at = typename detail::stage_of<Arithmetic, typename Except::template covering<Stage>>::type;

    static_assert(
        rules::outputs_have_no_sign,
        "qat::Experiment: UInt outputs without a zero point need an activation that is never negative "
        "(ReLU, ReLU6); use Int or PerTensorAffine with SiLU");
    static_assert(rules::outputs_per_tensor,
                  "qat::Experiment: outputs cannot be quantized per channel; use a PerTensor scheme");
    static_assert(rules::outputs_round_alike,
                  "qat::Experiment: Stochastic rounding is for weights in training; outputs are rounded the "
                  "same each time, use HalfEven");
    static_assert(
        rules::weights_without_roles,
        "qat::Experiment: PerRole is for the outputs of a head; use HeadPerRole<>, and a PerChannel or "
        "PerGroup scheme for weights");
    static_assert(rules::weights_by_row,
                  "qat::Experiment: a convolution's weights have one scale for each output channel, which "
                  "is axis 0; use PerChannelSymmetric<>, PerChannelAffine<> or PerGroup<N>");
    static_assert(
        rules::weights_have_a_sign,
        "qat::Experiment: weights have a sign, and UInt without a zero point makes every negative one 0, "
        "and so does a FixedRange from 0 with one; use Int, or UInt with PerChannelAffine, and PACT for "
        "outputs only");
    static_assert(
        rules::widest_by_its_ends,
        "qat::Experiment: SharedRange::largest keeps the ends of the widest result, and Histogram, "
        "Entropy, Percentile, MeanSquaredError and LeastError look at the values of all; use MinMax or "
        "MovingAverageMinMax, or SharedRange::whole");
};

namespace detail {
template <class A> struct stage_of<A, pack<>> { using type = A; };
template <class Act, class W, class O, class In, class Head, class Join, class BatchNorm, class Bias,
          class Saves, class Except, class... Es>
    requires(sizeof...(Es) > 0)
struct stage_of<Arithmetic<Act, W, O, In, Head, Join, BatchNorm, Bias, Saves, Except>, pack<Es...>> {
    using type =
        Arithmetic<Act, typename applied<W, pack<Es...>>::type, typename applied<O, pack<Es...>>::type, In,
                   HeadOfStage<Head, pack<Es...>, W, O>, Join, BatchNorm, Bias, Saves, Except>;
};
}  // namespace detail

}  // namespace qat
