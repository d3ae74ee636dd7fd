#pragma once
// Activation, range, fake quantization, gradient mask and codes of a tensor on a device, in one pass over memory, without
// waiting for the device: scales and zero points stay there. The kernels of qat::cuda where the program has them, else
// torch's operators (device_fallback.hpp): the same values either way.
//     y = s * clamp(round(act(x) / s), lo - z, hi - z) ;  dy/dx = 1 where act passes and the code was inside, else 0

#include <qat/core/estimator/learned_step.hpp>
#include <qat/core/estimator/pact.hpp>
#include <qat/core/estimator/trained_threshold.hpp>
#include <qat/core/quantizer.hpp>
#include <qat/ops/cuda/launch.hpp>
#include <qat/ops/device_fallback.hpp>

#include <optional>

namespace qat::cuda {

/// The kernels' names of policies; nothing for policies that they do not know.
template <class A> constexpr std::optional<ActivationKind> activation_kind() {
    if (std::is_same_v<A, Identity>) return ActivationKind::identity;
    if (std::is_same_v<A, ReLU>) return ActivationKind::relu;
    if (std::is_same_v<A, ReLU6>) return ActivationKind::relu6;
    return std::nullopt;
}
template <class R> constexpr std::optional<RoundingKind> rounding_kind() {
    if (std::is_same_v<R, HalfEven>) return RoundingKind::half_even;
    if (std::is_same_v<R, HalfAwayFromZero>) return RoundingKind::half_away_from_zero;
    if (std::is_same_v<R, HalfUp>) return RoundingKind::half_up;
    if (std::is_same_v<R, RoundDown>) return RoundingKind::down;
    if (std::is_same_v<R, Stochastic>) return RoundingKind::stochastic;
    return std::nullopt;
}

template <class E> constexpr std::optional<LearnedKind> learned_kind() {
    if (std::is_same_v<E, LearnedStep> || std::is_same_v<E, LearnedStepAndOffset>) return LearnedKind::step;
    if (std::is_same_v<E, TrainedThreshold>) return LearnedKind::log2_threshold;
    if (std::is_same_v<E, PACT>) return LearnedKind::clip;
    return std::nullopt;
}

/// How these policies are computed on a device, as values: what uses it is compiled once.
struct Rule {
    std::optional<KernelPlan> plan;  // by the kernels; none: they do not know a policy
    fallback::Rule otherwise;        // by torch's operators
};
template <class Activation, class Spec> constexpr Rule rule() {
    constexpr auto activation = activation_kind<Activation>();
    constexpr auto rounding = rounding_kind<typename Spec::rounding>();
    // Kernels have no activation for grids by channel: only weights have such grids.
    constexpr bool known =
        activation && rounding && (!Spec::scheme::per_channel || activation == ActivationKind::identity);
    Rule result{{}, fallback::rule<Activation, Spec>()};
    if constexpr (known)
        result.plan = KernelPlan{.activation = *activation,
                                 .rounding = *rounding,
                                 .passes_outside = Spec::estimator::passes_outside,
                                 .axis = axis_of<typename Spec::scheme>()};
    return result;
}

namespace detail {

/// With what is known at run time only. Stochastic rounding without noise is rounding half to even.
inline KernelPlan complete(KernelPlan plan, Levels levels, Request const& request = {}) {
    if (plan.rounding == RoundingKind::stochastic && !request.noise) plan.rounding = RoundingKind::half_even;
    plan.levels = levels, plan.seed = request.seed;
    return plan;
}

// k: the kernels to use, null for torch's operators.
inline Forward forward(Rule const& rule, torch::Tensor const& x, GridTensors const& grid, Levels levels,
                       Request const& request, Kernels const* k, bool want_passes) {
    if (!k) return fallback::forward(rule.otherwise, x, grid, levels, request);
    auto const& plan = *rule.plan;
    bool const all_pass = plan.passes_outside && plan.activation == ActivationKind::identity;
    return cuda::forward(*k, x, grid.scale, grid.zero_point, complete(plan, levels, request), request,
                         want_passes && !all_pass);
}

struct QuantizeFunction : torch::autograd::Function<QuantizeFunction> {
    static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                  torch::Tensor const& x, torch::Tensor const& scale,
                                                  torch::Tensor const& zero_point, Rule const& rule,
                                                  Levels levels, Request const& request, Kernels const* k) {
        auto const result = detail::forward(rule, x, {scale, zero_point}, levels, request, k, true);
        context->saved_data["kernels"] = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(k));
        context->saved_data["strides"] = result.y.strides().vec();
        context->saved_data["type"] = static_cast<std::int64_t>(x.scalar_type());
        context->save_for_backward({result.passes});
        if (!request.codes) return {result.y};  // autograd takes no undefined results
        context->mark_non_differentiable({result.codes});
        return {result.y, result.codes};
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   torch::autograd::variable_list const& gradients) {
        auto const passes = context->get_saved_variables()[0];
        auto const& dy = gradients[0];
        auto const type = static_cast<torch::ScalarType>(context->saved_data["type"].toInt());
        auto const* k = reinterpret_cast<Kernels const*>(
            static_cast<std::intptr_t>(context->saved_data["kernels"].toInt()));
        torch::Tensor dx;
        if (!passes.defined())
            dx = dy.to(type);
        else if (!k)
            dx = fallback::backward(dy, passes, type);
        else
            dx = cuda::backward(*k, dy, passes, context->saved_data["strides"].toIntVector(), type);
        return {dx, {}, {}, {}, {}, {}, {}};
    }
};
}  // namespace detail

/// For a tensor that is not on the CPU, with the gradient of the rule's estimator; k: the kernels to use, if they know the
/// policies, null for torch's operators.
inline Quantized activate_and_quantize(Rule const& rule, torch::Tensor const& x, GridTensors const& grid,
                                       Levels levels, Request const& request = {},
                                       Kernels const* k = kernels()) {
    if (!rule.plan || !serves(k, x)) k = nullptr;
    if (!torch::GradMode::is_enabled() || !x.requires_grad()) {
        auto const result = detail::forward(rule, x, grid, levels, request, k, false);
        return {result.y, result.codes};
    }
    auto const result =
        detail::QuantizeFunction::apply(x, grid.scale, grid.zero_point, rule, levels, request, k);
    return {result[0], request.codes ? result[1] : torch::Tensor()};
}

/// The extremes of act(x), for a tensor that is not on the CPU. NaN if there is one.                [] or [C] each
template <class Activation, class Scheme>
RangeTensors activated_range(torch::Tensor const& x, Kernels const* k = kernels()) {
    torch::NoGradGuard no_grad;
    if constexpr (!fallback::fuses<Activation>) {
        return activated_range<Identity, Scheme>(activate(Activation{}, x), k);
    } else {
        if constexpr (!Scheme::per_channel || std::is_same_v<Activation, Identity>) {
            if (serves(k, x)) return extremes(*k, x, *activation_kind<Activation>(), axis_of<Scheme>());
        }
        return range<Scheme>(fallback::value(Activation{}, x.to(torch::kFloat)));
    }
}

}  // namespace qat::cuda
