#pragma once
// A named set of policies: what the network computes (its arithmetic) and when training switches something.
//     using Baseline = Experiment<"relu-w8a8", ReLU, StopObservers<after_epochs(1)>>;
//     using Shifted  = Baseline::vary<"pow2", Weights<...>, Outputs<...>>;

#include <qat/core/activation/relu.hpp>
#include <qat/core/activation/silu.hpp>
#include <qat/core/batch_norm/batch_norm.hpp>
#include <qat/core/bias/bias.hpp>
#include <qat/core/exceptions/except.hpp>
#include <qat/core/fixed_string.hpp>
#include <qat/core/head/head.hpp>
#include <qat/core/join/join.hpp>
#include <qat/core/network_arithmetic.hpp>
#include <qat/core/oscillation/oscillation.hpp>
#include <qat/core/quantizer.hpp>
#include <qat/core/saves/saves.hpp>
#include <qat/core/schedule/schedule.hpp>

namespace qat {

template <fixed_string Text> struct Named {
    using slot = slot::name;
    static constexpr std::string_view name = Text.view();
};

namespace detail {
// What holds a quantizer only records whether it is one; the experiment asserts it, so that one mistake is one error.
template <class Slot, class Q> struct Holds {
    using slot = Slot;
    static constexpr bool valid = QuantizerSpec<Q>;
    using quantizer = std::conditional_t<valid, Q, Quantizer<>>;
};
}  // namespace detail

template <class Q> struct Weights : detail::Holds<slot::weights, Q> {  // of convolutions
    static constexpr std::string_view name = "weights";
};
template <class Q>
struct Outputs : detail::Holds<slot::outputs, Q> {  // of convolutions, additions, concatenations
    static constexpr std::string_view name = "outputs";
};
template <class Q> struct Input : detail::Holds<slot::input, Q> {  // the image: torch.ao's QuantStub
    static constexpr std::string_view name = "input";
};

template <class... Choices> struct BasicExperiment;

struct ExperimentKind {
    using defaults =
        pack<Named<"unnamed">, SiLU, Weights<Quantizer<Int<8>, PerChannelSymmetric<0>, MinMax>>,
             Outputs<Quantizer<UInt<8>, PerTensorAffine>>, Input<Quantizer<Float>>, HeadAsBody, Unaligned,
             LiveBatchNorm, FloatBias, SaveFloats, NoExceptions, QuantizeFrom<after_steps(0)>,
             StopObservers<never()>, FreezeBatchNorm<never()>, FreezeThresholds<never()>, StepBits<>,
             ReestimateBatchNorm<0>, LeaveOscillation, Epochs<100>>;
    template <class... Ps> using set = BasicExperiment<Ps...>;
};

template <class... Choices> struct BasicExperiment : private PolicySet<ExperimentKind, Choices...> {
private:
    using base = PolicySet<ExperimentKind, Choices...>;
    using W = typename base::template get<slot::weights>;
    using O = typename base::template get<slot::outputs>;
    using In = typename base::template get<slot::input>;
    using Activation = typename base::template get<slot::activation>;
    using Head = typename base::template get<slot::head>;
    using Join = typename base::template get<slot::join>;
    using BatchNorm = typename base::template get<slot::batch_norm>;
    using Bias = typename base::template get<slot::bias>;
    using Start = typename base::template get<slot::start>;
    using Freeze = typename base::template get<slot::statistics>;
    using Reestimate = typename base::template get<slot::reestimation>;
    using Thresholds = typename base::template get<slot::thresholds>;
    using Exceptions = typename base::template get<slot::exceptions>;
    using Bits = typename base::template get<slot::bits>;
    using Observers = typename base::template get<slot::observers>;
    struct Quantizes {
        template <class Q> static constexpr bool of = Q::format::quantized;
    };
    struct Narrows {  // once bits step down
        template <class Q> static constexpr bool of = Q::format::quantized && (Q::format::bits > Bits::most);
    };
    struct Shifts {  // by half a step
        template <class Q>
        static constexpr bool of = [] {
            if constexpr (requires { Q::rounding::centred; })
                return Q::format::quantized && !Q::rounding::centred;
            return false;
        }();
    };
    struct Trains {
        template <class Q>
        static constexpr bool of = Q::format::quantized&& Q::estimator::learns != Learns::nothing;
    };

public:
    template <class Slot> using get = typename base::template get<Slot>;
    template <fixed_string NewName, class... Ps>
    using vary = typename base::template vary<Named<NewName>, Ps...>;

    static constexpr std::string_view name = base::template get<slot::name>::name;
    static constexpr Schedule schedule = [] {
        Schedule s{.stop_observers = Observers::when,
                   .freeze_batch_norm = Freeze::when,
                   .epochs = base::template get<slot::epochs>::count,
                   .watch = Start::watch,
                   .quantize = Start::when,
                   .freeze_thresholds = Thresholds::when,
                   .freeze_affine = Freeze::affine,
                   .reestimate_batches = Reestimate::batches};
        detail::bit_steps<Bits>::write(s.bits);
        return s;
    }();
    using oscillation = typename base::template get<slot::oscillation>;
    using arithmetic =
        Arithmetic<Activation, typename W::quantizer, typename O::quantizer, typename In::quantizer, Head,
                   Join, BatchNorm, Bias, typename base::template get<slot::saves>, Exceptions>;

private:
    // Whether a quantizer of the body, of the head or of an excepted stage does What.
    template <class What> static constexpr bool weights() {
        bool const found =
            What::template of<typename W::quantizer> || What::template of<typename arithmetic::head::weights>;
        if constexpr (!arithmetic::rules::all)  // a stage would break the same rule once more
            return found;
        else
            return found || Exceptions::template weights<What, arithmetic>();
    }
    template <class What> static constexpr bool any() {
        bool const found = weights<What>() || What::template of<typename O::quantizer> ||
                           What::template of<typename In::quantizer> ||
                           What::template of<typename arithmetic::head::outputs>;
        if constexpr (!arithmetic::rules::all)
            return found;
        else
            return found || Exceptions::template outputs<What, arithmetic>();
    }

public:
    /// Whether any quantizer quantizes: of weights, outputs or the input, in the body, the head or an excepted stage.
    static constexpr bool quantized = any<Quantizes>();

    static_assert(
        W::valid && O::valid && In::valid,
        "qat::Experiment: Weights, Outputs and Input take a Quantizer<...>; wrap the fragments in one");
    static_assert(Head::valid,
                  "qat::Experiment: HeadFixed takes a Quantizer<...>; wrap the fragments in one");
    static_assert(
        !requires { Head::varies_outputs; } || O::quantizer::format::quantized || Join::aligned ||
            Bias::on_accumulator,  // which have spoken of Float
        "qat::Experiment: HeadInt16 and HeadPerRole vary the quantizer of Outputs, which is Float; give "
        "Outputs a quantized format, or use HeadFixed<...>");
    static_assert(Exceptions::valid,
                  "qat::Experiment: Except takes a stage and fragments of a Quantizer, Except<\"detect\", "
                  "Float>; what is "
                  "no fragment is a choice for the whole network");
    // The rules between quantizers are Arithmetic's; here they speak for the body, the head and each excepted stage.
    static_assert(sizeof(typename arithmetic::head) > 0);
    static_assert(
        sizeof(std::conditional_t<arithmetic::rules::all,  // not beside a body that broke one itself
                                  typename Exceptions::template complete<arithmetic>, pack<>>) > 0);
    static_assert(BatchNorm::live || Freeze::when == never(),
                  "qat::Experiment: FoldBatchNorm leaves no batch norm to freeze; "
                  "drop FreezeBatchNorm or use LiveBatchNorm");
    static_assert(BatchNorm::live || Reestimate::batches == 0,
                  "qat::Experiment: FoldBatchNorm leaves no statistics to estimate again; "
                  "drop ReestimateBatchNorm or use LiveBatchNorm");
    static_assert(detail::before(Start::watch, Observers::when),
                  "qat::Experiment: observers stop before they start to watch; give StopObservers a later "
                  "time, or QuantizeFrom an earlier Watch");
    static_assert(!Join::aligned || O::quantizer::format::quantized,
                  "qat::Experiment: AlignInputs aligns the grids of outputs, and Float outputs have none; "
                  "use Unaligned");
    static_assert(
        !Bias::on_accumulator || (W::quantizer::format::quantized && O::quantizer::format::quantized &&
                                  In::quantizer::format::quantized),
        "qat::Experiment: the accumulator's grid is the input's times the weight's; give Weights, Outputs "
        "and Input a quantized format, or use FloatBias");
    static_assert(
        (Observers::when == never() && Start::watch == after_steps(0) && Start::when == after_steps(0) &&
         Bits::count == 0) ||
            any<Quantizes>(),
        "qat::Experiment: everything is Float, and StopObservers, QuantizeFrom and StepBits switch what "
        "quantizes; drop them, or give Weights, Outputs or Input a quantized format");
    static_assert(std::is_same_v<oscillation, LeaveOscillation> || weights<Quantizes>(),
                  "qat::Experiment: no weights are quantized, so none jumps between two integers; drop "
                  "DampenOscillation or FreezeOscillation, or give Weights a quantized format");
    static_assert(
        std::is_same_v<oscillation, LeaveOscillation> || !weights<Shifts>(),
        "qat::Experiment: weights are drawn or frozen to their integers, which are the edges of "
        "RoundDown's bins; drop DampenOscillation or FreezeOscillation, or give Weights another rounding");
    static_assert(
        Bits::count == 0 || !Bits::valid || !any<Quantizes>() || any<Narrows>(),
        "qat::Experiment: StepBits steps down to as many bits as there are, or more; give it fewer");
    static_assert(detail::before(Start::when, Thresholds::when) || !any<Trains>() ||
                      !detail::before(Start::watch, Start::when),
                  "qat::Experiment: thresholds freeze before quantization starts to train them; give "
                  "FreezeThresholds a later time");
    static_assert(Thresholds::when == never() || any<Trains>(),
                  "qat::Experiment: no estimator trains a threshold, so there is none to freeze; drop "
                  "FreezeThresholds or use LearnedStep or TrainedThreshold");
};

/// The experiment of these choices; defaults: ExperimentKind::defaults. The same choices are the same type.
template <fixed_string Name, class... Ps> using Experiment = make_set<ExperimentKind, Named<Name>, Ps...>;

/// A settled Experiment<...>.
template <class E>
concept ExperimentSpec = requires {
    typename E::arithmetic;
    { E::name } -> std::convertible_to<std::string_view>;
    { E::schedule } -> std::convertible_to<Schedule>;
};

}  // namespace qat
