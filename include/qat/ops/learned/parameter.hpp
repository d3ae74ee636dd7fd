#pragma once
// Learned parameters and the grids that they mean. The scalar rules are the estimators' (core/estimator/*.hpp).

#include <qat/core/estimator/learned_grid.hpp>
#include <qat/core/quantizer.hpp>
#include <qat/ops/choose_grid.hpp>
#include <qat/ops/cuda/launch.hpp>
#include <qat/ops/range.hpp>
#include <qat/torch.hpp>

#include <cmath>

namespace qat {

/// What an estimator trains: [] or [C] each, float32.
struct LearnedTensors {
    torch::Tensor parameter;  // step, log2 threshold or clip
    torch::Tensor offset;     // of LearnedStepAndOffset; else undefined
};

/// A quantizer whose estimator trains a parameter.
template <class Q>
concept LearningSpec = QuantizerSpec<Q> && Q::estimator::learns != Learns::nothing;

template <LearningSpec Spec> constexpr ParameterRule parameter_rule() {
    ParameterRule rule{Spec::estimator::learns};
    if constexpr (Spec::estimator::learns == Learns::log2_threshold) rule.way = Spec::scale::way;
    return rule;
}

/// The grid of one parameter value.
template <LearningSpec Spec>
QAT_HOST_DEVICE constexpr ScaleZero learned_grid(float p, float offset, Levels levels) {
    return learned_grid(parameter_rule<Spec>(), p, offset, levels);
}

namespace detail {
// x limited to [low, high]; NaN becomes low.
inline torch::Tensor clamp_parameter(torch::Tensor const& x, double low, double high) {
    return torch::where(x > low, x, torch::full_like(x, low)).clamp_max(high);
}

// The same for tensors on any device; tests hold the two together bit for bit.
inline GridTensors learned_grid_on_device(ParameterRule const& rule, LearnedTensors const& p, Levels levels) {
    auto const lo = static_cast<double>(levels.lo), hi = static_cast<double>(levels.hi);
    auto const zero = torch::zeros_like(p.parameter, p.parameter.options().dtype(torch::kInt));
    switch (rule.learns) {
    case Learns::nothing:
        break;
    case Learns::step:
        return {clamp_parameter(p.parameter, smallest_scale, largest_scale), zero};
    case Learns::step_and_offset: {
        auto const s = clamp_parameter(p.parameter, smallest_scale, largest_scale);
        return {s, clamp_parameter(-p.offset / s, lo, hi).round().to(torch::kInt)};
    }
    case Learns::clip: {
        auto const steps = static_cast<float>(hi);
        auto const clip = clamp_parameter(p.parameter, smallest_scale * steps, largest_scale * steps);
        return {clip / torch::full_like(clip, hi),
                zero};  // by a number, CUDA would multiply by its rounded reciprocal
    }
    case Learns::log2_threshold: {
        double const least = exponent(smallest_scale * static_cast<float>(levels.hi + 1), Ceil);
        auto const t = clamp_parameter(p.parameter, least - 1, 128);
        auto const even = t.round();
        auto const k = rule.way == Toward::up     ? t.ceil()
                       : rule.way == Toward::down ? t.floor()
                                                  : even + (t - even == 0.5f);
        auto const biased = clamp_parameter(k, least, 127).to(torch::kInt) + 127;  // a float's exponent bits
        return {(biased * (1 << 23)).view(torch::kFloat) / (hi + 1), zero};
    }
    }
    return {};
}

// into: the result's memory, [] or [C] as the parameter; undefined: memory of its own.
inline GridTensors grid_of_parameter(ParameterRule const& rule, LearnedTensors const& learned, Levels levels,
                                     GridTensors const& into = {}) {
    torch::NoGradGuard no_grad;
    auto const parameter = learned.parameter.detach().contiguous();
    auto const offset = learned.offset.defined() ? learned.offset.detach().contiguous() : torch::Tensor();
    auto const* k = cuda::kernels();
    bool const by_kernel = cuda::serves(k, parameter);
    if (!parameter.is_cpu() && !by_kernel) {
        auto const grid = learned_grid_on_device(rule, {parameter, offset}, levels);
        if (!into.scale.defined()) return grid;
        into.scale.copy_(grid.scale), into.zero_point.copy_(grid.zero_point);
        return into;
    }
    auto const grid = into.scale.defined()
                          ? into
                          : GridTensors{torch::empty_like(parameter),
                                        torch::empty_like(parameter, parameter.options().dtype(torch::kInt))};
    if (by_kernel) {
        cuda::learned_grids(*k, rule, parameter, offset, levels, grid.scale, grid.zero_point);
        return grid;
    }
    auto const* p = parameter.data_ptr<float>();
    auto const* o = offset.defined() ? offset.data_ptr<float>() : nullptr;
    auto* const scale = grid.scale.data_ptr<float>();
    auto* const zero_point = grid.zero_point.data_ptr<std::int32_t>();
    for (std::int64_t c = 0; c < parameter.numel(); ++c) {
        auto const g = learned_grid(rule, p[c], o ? o[c] : 0.0f, levels);
        scale[c] = g.scale, zero_point[c] = g.zero_point;
    }
    for (auto const& t : {grid.scale, grid.zero_point}) t.unsafeGetTensorImpl()->bump_version();
    return grid;
}

inline LearnedTensors initial_parameter(ParameterRule const& rule, GridTensors const& grid, Levels levels) {
    torch::NoGradGuard no_grad;
    switch (rule.learns) {
    case Learns::step:
        return {grid.scale.clone(), {}};
    case Learns::step_and_offset:
        return {grid.scale.clone(), -grid.scale * grid.zero_point};
    case Learns::clip:
        return {grid.scale * static_cast<double>(levels.hi), {}};
    case Learns::log2_threshold: {
        double const middle = rule.way == Toward::up ? -0.5 : rule.way == Toward::down ? 0.5 : 0.0;
        auto const k = exponent(grid.scale * static_cast<double>(levels.hi + 1), Toward::nearest);
        return {k.to(torch::kFloat) + middle, {}};
    }
    case Learns::nothing:
        break;
    }
    return {};
}

// 2 * mean|x| / sqrt(hi). axis: of the channels; -1: of the tensor
inline torch::Tensor initial_step(torch::Tensor const& x, std::int64_t axis, Levels levels) {
    torch::NoGradGuard no_grad;
    auto const size = x.detach().to(torch::kFloat).abs();
    auto const mean = axis < 0 ? size.mean() : size.transpose(0, axis).flatten(1).mean(1);
    auto const step = mean * (2 / std::sqrt(static_cast<double>(levels.hi)));
    return torch::where(step > smallest_scale, step, torch::full_like(step, smallest_scale));
}
}  // namespace detail

/// The grid that a learned function uses for this parameter, bit for bit: for export, descriptions, integer engines.
/// The scale is legal whatever the parameter: a step that is negative, tiny or NaN gives smallest_scale.
/// into: where it is written; undefined: in tensors of its own.                                          [] or [C] each
template <LearningSpec Spec>
GridTensors grid_of_parameter(LearnedTensors const& learned, Levels levels = levels_of<typename Spec::format>,
                              GridTensors const& into = {}) {
    return detail::grid_of_parameter(parameter_rule<Spec>(), learned, levels, into);
}

/// The parameter that means this grid, exactly (PACT: up to the rounding of alpha / hi). For thresholds there is a whole
/// interval of those: its middle, so that no small step leaves it.                                      [] or [C] each
template <LearningSpec Spec>
LearnedTensors initial_parameter(GridTensors const& grid, Levels levels = levels_of<typename Spec::format>) {
    return detail::initial_parameter(parameter_rule<Spec>(), grid, levels);
}

/// The parameter to start with for this tensor. Steps: 2 * mean|x| / sqrt(hi), as LSQ; the others: the grid that covers
/// the extremes of x. Empty tensors give the smallest grid.                                              [] or [C] each
template <LearningSpec Spec>
LearnedTensors initial_parameter(torch::Tensor const& x, Levels levels = levels_of<typename Spec::format>) {
    using Scheme = typename Spec::scheme;
    if constexpr (Spec::estimator::learns == Learns::step) {
        return {detail::initial_step(x, axis_of<Scheme>(), levels), {}};
    } else {
        auto const seen = range<Scheme>(x);
        return initial_parameter<Spec>(choose_grid<Spec>(seen.min, seen.max, levels), levels);
    }
}

/// Bits step down: steps grow so that the range stays; thresholds and clips are ends of ranges already. In place.
template <LearningSpec Spec> void change_levels(LearnedTensors& learned, Levels from, Levels to) {
    torch::NoGradGuard no_grad;
    constexpr auto learns = Spec::estimator::learns;
    if constexpr (learns == Learns::step || learns == Learns::step_and_offset) {
        auto const more = static_cast<double>(from.hi - from.lo) / static_cast<double>(to.hi - to.lo);
        if constexpr (learns ==
                      Learns::step_and_offset)  // offset + s * lo, the lower end of the range, stays
            learned.offset.add_(learned.parameter,
                                static_cast<double>(from.lo) - more * static_cast<double>(to.lo));
        learned.parameter.mul_(more);
    }
}

/// What is quantized was multiplied: the range is `ratio` times as wide, [] or [C], positive. Thresholds move by whole
/// octaves, which keeps their place between two exponents. In place.
template <LearningSpec Spec> void widen(LearnedTensors& learned, torch::Tensor const& ratio) {
    torch::NoGradGuard no_grad;
    if constexpr (Spec::estimator::learns == Learns::log2_threshold) {
        learned.parameter.add_(torch::round(torch::log2(ratio)));
    } else {
        learned.parameter.mul_(ratio);
        if (learned.offset.defined()) learned.offset.mul_(ratio);
    }
}

}  // namespace qat
