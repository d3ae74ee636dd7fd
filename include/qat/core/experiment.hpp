#pragma once
// A named set of policies: what the network computes (its arithmetic) and when training switches something.
//     using Baseline = Experiment<"relu-w8a8", ReLU, StopObservers<after_epochs(1)>>;
//     using Shifted  = Baseline::vary<"pow2", Weights<...>, Outputs<...>>;

#include <qat/core/activation/relu.hpp>
#include <qat/core/activation/silu.hpp>
#include <qat/core/batch_norm/batch_norm.hpp>
#include <qat/core/fixed_string.hpp>
#include <qat/core/head/head.hpp>
#include <qat/core/join/join.hpp>
#include <qat/core/quantizer.hpp>
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
          class BatchNorm>
struct Arithmetic {
    using activation = Activation;
    using weights = BodyWeights;
    using outputs = BodyOutputs;
    using input = ImageInput;
    using head_weights = typename Head::template weights<BodyWeights, BodyOutputs>;
    using head_outputs = typename Head::template outputs<BodyWeights, BodyOutputs>;
    using join = Join;
    using batch_norm = BatchNorm;
};

template <class Name, class Activation, class W, class O, class In, class Head, class Join, class BatchNorm,
          class Stop, class Freeze, class Length>
struct BasicExperiment;

struct ExperimentKind {
    using defaults =
        pack<Named<"unnamed">, SiLU, Weights<Quantizer<Int<8>, PerChannelSymmetric<0>, MinMax>>,
             Outputs<Quantizer<UInt<8>, PerTensorAffine>>, Input<Quantizer<Float>>, HeadAsBody, Unaligned,
             LiveBatchNorm, StopObservers<never()>, FreezeBatchNorm<never()>, Epochs<100>>;
    template <class... Ps> using set = BasicExperiment<Ps...>;
};

template <class Name, class Activation, class W, class O, class In, class Head, class Join, class BatchNorm,
          class Stop, class Freeze, class Length>
struct BasicExperiment : private PolicySet<ExperimentKind, Name, Activation, W, O, In, Head, Join, BatchNorm,
                                           Stop, Freeze, Length> {
    using base =
        PolicySet<ExperimentKind, Name, Activation, W, O, In, Head, Join, BatchNorm, Stop, Freeze, Length>;
    template <class Slot> using get = typename base::template get<Slot>;
    template <fixed_string NewName, class... Ps>
    using vary = typename base::template vary<Named<NewName>, Ps...>;

    static constexpr std::string_view name = Name::name;
    static constexpr Schedule schedule{Stop::when, Freeze::when, Length::count};
    using arithmetic = Arithmetic<Activation, typename W::quantizer, typename O::quantizer,
                                  typename In::quantizer, Head, Join, BatchNorm>;

    static_assert(
        W::valid && O::valid && In::valid,
        "qat::Experiment: Weights, Outputs and Input take a Quantizer<...>; wrap the fragments in one");
    static_assert(Head::valid,
                  "qat::Experiment: HeadFixed takes a Quantizer<...>; wrap the fragments in one");
    static_assert(
        O::quantizer::format::is_signed || !O::quantizer::scheme::symmetric || Activation::nonnegative,
        "qat::Experiment: UInt outputs without a zero point need an activation that is never negative "
        "(ReLU, ReLU6); use Int or PerTensorAffine with SiLU");
    static_assert(arithmetic::head_outputs::format::is_signed ||
                      !arithmetic::head_outputs::scheme::symmetric ||
                      !Activation::nonnegative,  // else the rule above has spoken
                  "qat::Experiment: logits have a sign, and UInt outputs without a zero point have none; "
                  "give the head HeadFloat or HeadFixed<...> with a signed quantizer");
    static_assert(!O::quantizer::scheme::per_channel && !arithmetic::head_outputs::scheme::per_channel &&
                      !In::quantizer::scheme::per_channel,
                  "qat::Experiment: outputs cannot be quantized per channel; use a PerTensor scheme");
    static_assert(BatchNorm::live || Freeze::when == never(),
                  "qat::Experiment: FoldBatchNorm leaves no batch norm to freeze; "
                  "drop FreezeBatchNorm or use LiveBatchNorm");
    static_assert(!Join::aligned || O::quantizer::format::quantized,
                  "qat::Experiment: AlignInputs aligns the grids of outputs, and Float outputs have none; "
                  "use Unaligned");
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
