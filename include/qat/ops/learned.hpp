#pragma once
// Quantization whose grid is trained. The value is the same as fake quantization's on that grid; the estimators
// (core/estimator/*.hpp) say what the gradients are. Between forward and backward x is kept, nothing else of its size.

#include <qat/ops/learned/device.hpp>
#include <qat/ops/learned/loops.hpp>
#include <qat/ops/learned/parameter.hpp>

#include <cmath>
#include <utility>

namespace qat {
namespace detail {

// Drops a gradient that would push a parameter further beyond the limits of its grid, but not one that brings it back.
inline torch::Tensor inward(torch::Tensor const& gradient, torch::Tensor const& value, double low,
                            double high) {
    auto const outward = ((value <= low) & (gradient > 0)) | ((value >= high) & (gradient < 0));
    return torch::where(outward, torch::zeros_like(gradient), gradient);
}

// From sums over elements to gradients.                                                               [] or [C], float32
inline std::pair<torch::Tensor, torch::Tensor> finish(Learns learns, LearnedGradients const& sums,
                                                      LearnedTensors const& learned, GridTensors const& grid,
                                                      Levels levels, std::int64_t shares) {
    auto const lo = static_cast<double>(levels.lo), hi = static_cast<double>(levels.hi);
    auto const& p = learned.parameter;
    auto const narrow = [](torch::Tensor const& t) { return t.to(torch::kFloat); };
    if (learns == Learns::clip) {
        auto const steps = static_cast<float>(hi);
        return {inward(narrow(sums.parameter), p, smallest_scale * steps, largest_scale * steps), {}};
    }
    if (learns == Learns::log2_threshold) {
        constexpr double ln2 = 0.693147180559945309;
        double const least = exponent(smallest_scale * static_cast<float>(levels.hi + 1), Ceil);
        return {inward(narrow(sums.parameter * grid.scale.to(torch::kDouble) * ln2), p, least - 1, 128), {}};
    }
    double const factor = 1 / std::sqrt(static_cast<double>(std::max<std::int64_t>(shares, 1)) * hi);
    auto const step = inward(narrow(sums.parameter * factor), p, smallest_scale, largest_scale);
    if (learns == Learns::step) return {step, {}};
    return {step, inward(narrow(sums.offset * factor), learned.offset / grid.scale, -hi - 0.5, 0.5 - lo)};
}

struct LearnedFunction : torch::autograd::Function<LearnedFunction> {
    using Rule = LearnedRule (*)();  // constant functions: what a node can remember

    static torch::Tensor forward(torch::autograd::AutogradContext* context, torch::Tensor const& input,
                                 torch::Tensor const& parameter, torch::Tensor const& offset, Rule rule_of,
                                 Levels levels, std::int64_t shares) {
        auto const rule = rule_of();
        auto const x = rule.axis >= 0 || !input.is_non_overlapping_and_dense() ? input.contiguous() : input;
        auto const grid = grid_of_parameter(rule.parameter, {parameter, offset}, levels);
        context->save_for_backward({x, parameter, offset, grid.scale, grid.zero_point});
        context->saved_data["rule"] = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(rule_of));
        context->saved_data["lo"] = levels.lo, context->saved_data["hi"] = levels.hi,
        context->saved_data["shares"] = shares;
        return x.is_cpu() ? learned_forward_cpu(rule, x, grid, levels)
                          : learned_forward_device(rule, x, grid, levels);
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   torch::autograd::variable_list const& gradients) {
        auto const rule =
            reinterpret_cast<Rule>(static_cast<std::intptr_t>(context->saved_data["rule"].toInt()))();
        auto const saved = context->get_saved_variables();
        auto const x = saved[0];
        LearnedTensors const learned{saved[1].contiguous(), saved[2]};
        GridTensors const grid{saved[3], saved[4]};
        Levels const levels{context->saved_data["lo"].toInt(), context->saved_data["hi"].toInt()};
        auto dy = gradients[0];
        if (dy.strides() != x.strides()) dy = torch::empty_like(x).copy_(dy);
        auto const sums = x.is_cpu() ? learned_backward_cpu(rule, x, dy, grid, learned.parameter, levels,
                                                            context->needs_input_grad(0))
                                     : learned_backward_device(rule, x, dy, grid, learned.parameter, levels);
        auto const [parameter, offset] =
            finish(rule.parameter.learns, sums, learned, grid, levels, context->saved_data["shares"].toInt());
        return {sums.input, parameter, offset, {}, {}, {}};
    }
};

inline torch::Tensor learned_quantize(LearnedFunction::Rule rule_of, torch::Tensor const& x,
                                      LearnedTensors const& learned, Levels levels, std::int64_t shares) {
    auto const rule = rule_of();
    auto const want = rule.axis < 0 ? 1 : x.size(rule.axis);
    auto const check = [&](torch::Tensor const& t, char const* name) {
        TORCH_CHECK(t.defined(), "learned_quantize: the ", name, " is undefined, want ", want, " float32");
        TORCH_CHECK(t.numel() == want && t.dim() == int(rule.axis >= 0) && t.scalar_type() == torch::kFloat,
                    "learned_quantize: the ", name, " is ", t.scalar_type(), " ", t.sizes(),
                    ", want float32 ", rule.axis >= 0 ? "[" : "[] with ", want,
                    rule.axis >= 0 ? "]" : " element");
        TORCH_CHECK(t.device() == x.device(), "learned_quantize: the ", name, " is on ", t.device(),
                    ", x on ", x.device(), "; move one of them");
    };
    TORCH_CHECK(x.scalar_type() == torch::kFloat, "learned_quantize: x is ", x.scalar_type(),
                ", want float32");
    check(learned.parameter, "parameter");
    if (rule.parameter.learns == Learns::step_and_offset) check(learned.offset, "offset");
    if (shares == 0 && x.numel() > 0) shares = x.numel() / want;
    auto const offset =
        learned.offset.defined() ? learned.offset : learned.parameter.detach();  // apply wants a tensor
    return LearnedFunction::apply(x, learned.parameter, offset, rule_of, levels, shares);
}
}  // namespace detail

/// y = s * (clamp(round(x / s) + z, lo, hi) - z) with the grid of the parameter, whatever Spec's estimator trains. x's shape
/// requires x float32; learned.parameter (and offset for LearnedStepAndOffset) float32, [] or [C] with C the size of the
/// scheme's axis, on x's device; shares: the N of LearnedStep's gradient factor, 0: all elements of x with the same step.
/// ensures any strides and empty tensors are fine; NaN becomes the lowest value and has no gradient, infinities become
/// the ends; gradients do not depend on the number of threads. throws c10::Error if a requirement is broken.
template <LearningSpec Spec>
torch::Tensor learned_quantize(torch::Tensor const& x, LearnedTensors const& learned,
                               Levels levels = levels_of<typename Spec::format>, std::int64_t shares = 0) {
    return detail::learned_quantize(&detail::learned_rule<Spec>, x, learned, levels, shares);
}

/// The same under the names of the papers.
template <LearningSpec Spec>
torch::Tensor learned_step(torch::Tensor const& x, torch::Tensor const& step,
                           Levels levels = levels_of<typename Spec::format>) {
    static_assert(Spec::estimator::learns == Learns::step,
                  "qat::learned_step: give the quantizer LearnedStep");
    return learned_quantize<Spec>(x, {step, {}}, levels);
}
template <LearningSpec Spec>
torch::Tensor learned_step_and_offset(torch::Tensor const& x, torch::Tensor const& step,
                                      torch::Tensor const& offset,
                                      Levels levels = levels_of<typename Spec::format>) {
    static_assert(Spec::estimator::learns == Learns::step_and_offset,
                  "qat::learned_step_and_offset: give the quantizer LearnedStepAndOffset");
    return learned_quantize<Spec>(x, {step, offset}, levels);
}
template <LearningSpec Spec>
torch::Tensor trained_threshold(torch::Tensor const& x, torch::Tensor const& log2_threshold,
                                Levels levels = levels_of<typename Spec::format>) {
    static_assert(Spec::estimator::learns == Learns::log2_threshold,
                  "qat::trained_threshold: give the quantizer TrainedThreshold");
    return learned_quantize<Spec>(x, {log2_threshold, {}}, levels);
}
template <LearningSpec Spec>
torch::Tensor pact(torch::Tensor const& x, torch::Tensor const& alpha,
                   Levels levels = levels_of<typename Spec::format>) {
    static_assert(Spec::estimator::learns == Learns::clip, "qat::pact: give the quantizer PACT");
    return learned_quantize<Spec>(x, {alpha, {}}, levels);
}

}  // namespace qat
