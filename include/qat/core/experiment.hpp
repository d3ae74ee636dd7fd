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

/// What the network's type depends on, and nothing else. Modules take this, never an experiment.
template <class Activation, class BodyWeights, class BodyOutputs, class ImageInput, class Head, class Join,
          class BatchNorm, class Bias, class Saves, class Except>
struct Arithmetic {
    using activation = Activation;
    using weights = BodyWeights;
    using outputs = BodyOutputs;
    using input = ImageInput;
    using head_weights = typename Head::template weights<BodyWeights, BodyOutputs>;
    using head_outputs = typename Head::template outputs<BodyWeights, BodyOutputs>;
    using join = Join;
    using batch_norm = BatchNorm;
    using bias = Bias;
    using saves = Saves;
    using exceptions = Except;

    /// The arithmetic of a stage: this one, but for the exceptions that cover it. Networks name their stages with it:
    ///     Conv<typename A::template at<"backbone.stem">> stem;
    template <fixed_string Stage>
    using at = Arithmetic<Activation,
                          std::remove_pointer_t<decltype(Except::template applied<Stage, BodyWeights>())>,
                          std::remove_pointer_t<decltype(Except::template applied<Stage, BodyOutputs>())>,
                          ImageInput, Head, Join, BatchNorm, Bias, Saves, Except>;
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

public:
    template <class Slot> using get = typename base::template get<Slot>;
    template <fixed_string NewName, class... Ps>
    using vary = typename base::template vary<Named<NewName>, Ps...>;

    static constexpr std::string_view name = base::template get<slot::name>::name;
    static constexpr Schedule schedule = [] {
        Schedule s{.stop_observers = base::template get<slot::observers>::when,
                   .freeze_batch_norm = Freeze::when,
                   .epochs = base::template get<slot::epochs>::count,
                   .watch = Start::watch,
                   .quantize = Start::when,
                   .freeze_thresholds = Thresholds::when,
                   .freeze_affine = Freeze::affine,
                   .reestimate_batches = Reestimate::batches};
        detail::bit_steps<typename base::template get<slot::bits>>::write(s.bits);
        return s;
    }();
    using oscillation = typename base::template get<slot::oscillation>;
    using arithmetic =
        Arithmetic<Activation, typename W::quantizer, typename O::quantizer, typename In::quantizer, Head,
                   Join, BatchNorm, Bias, typename base::template get<slot::saves>,
                   typename base::template get<slot::exceptions>>;

    static_assert(
        W::valid && O::valid && In::valid,
        "qat::Experiment: Weights, Outputs and Input take a Quantizer<...>; wrap the fragments in one");
    static_assert(Head::valid,
                  "qat::Experiment: HeadFixed takes a Quantizer<...>; wrap the fragments in one");
    static_assert(base::template get<slot::exceptions>::valid,
                  "qat::Experiment: Except takes a stage and fragments of a Quantizer, Except<\"detect\", "
                  "Float>; what is "
                  "no fragment is a choice for the whole network");
    static_assert(
        O::quantizer::format::is_signed || !O::quantizer::scheme::symmetric || Activation::nonnegative,
        "qat::Experiment: UInt outputs without a zero point need an activation that is never negative "
        "(ReLU, ReLU6); use Int or PerTensorAffine with SiLU");
    static_assert(
        arithmetic::head_outputs::format::is_signed || !arithmetic::head_outputs::scheme::symmetric ||
            !Activation::nonnegative,  // else the rule above has spoken
        "qat::Experiment: logits have a sign, and UInt outputs without a zero point have none; "
        "give the head HeadFloat, HeadPerRole<>, HeadInt16 or HeadFixed<...> with a signed quantizer");
    static_assert(!O::quantizer::scheme::per_channel && !In::quantizer::scheme::per_channel &&
                      (!arithmetic::head_outputs::scheme::per_channel ||
                       arithmetic::head_outputs::scheme::roles),
                  "qat::Experiment: outputs cannot be quantized per channel; use a PerTensor scheme");
    static_assert(
        !W::quantizer::scheme::roles,
        "qat::Experiment: PerRole is for the outputs of a head; use HeadPerRole<>, and a PerChannel or "
        "PerGroup scheme for weights");
    static_assert(
        !O::quantizer::rounding::stochastic && !In::quantizer::rounding::stochastic,
        "qat::Experiment: Stochastic rounding is for weights in training; outputs are rounded the same each "
        "time, use HalfEven");
    static_assert(BatchNorm::live || Freeze::when == never(),
                  "qat::Experiment: FoldBatchNorm leaves no batch norm to freeze; "
                  "drop FreezeBatchNorm or use LiveBatchNorm");
    static_assert(BatchNorm::live || Reestimate::batches == 0,
                  "qat::Experiment: FoldBatchNorm leaves no statistics to estimate again; "
                  "drop ReestimateBatchNorm or use LiveBatchNorm");
    static_assert(!Join::aligned || O::quantizer::format::quantized,
                  "qat::Experiment: AlignInputs aligns the grids of outputs, and Float outputs have none; "
                  "use Unaligned");
    static_assert(
        !Bias::on_accumulator || (W::quantizer::format::quantized && O::quantizer::format::quantized &&
                                  In::quantizer::format::quantized),
        "qat::Experiment: the accumulator's grid is the input's times the weight's; give Weights, Outputs "
        "and Input a quantized format, or use FloatBias");
    static_assert(Thresholds::when == never() || W::quantizer::estimator::learns != Learns::nothing ||
                      O::quantizer::estimator::learns != Learns::nothing ||
                      arithmetic::head_outputs::estimator::learns != Learns::nothing,
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
