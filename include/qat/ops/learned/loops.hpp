#pragma once
// Learned quantization on the CPU: one pass forward, one pass backward. Sums do not depend on the number of threads.

#include <qat/ops/cuda/fused.hpp>
#include <qat/ops/instruction_set.hpp>
#include <qat/ops/learned/parameter.hpp>

#include <algorithm>
#include <optional>
#include <vector>

namespace qat::detail {

// Elements that one task works on without a break, and that have one sum: a block of a tensor, or a channel.
struct Parts {
    std::int64_t outer, count, length;  // x as [outer, count, length]; the last block may be shorter
};
inline Parts parts(torch::Tensor const& x, std::int64_t axis) {
    constexpr std::int64_t whole = 1 << 14;
    if (axis < 0) return {1, (x.numel() + whole - 1) / whole, whole};
    std::int64_t outer = 1, length = 1;
    for (std::int64_t d = 0; d < x.dim(); ++d)
        if (d != axis) (d < axis ? outer : length) *= x.size(d);
    return {outer, x.size(axis), length};
}

// f(part, first element, how many), the parts of one task in the order of memory.
template <class F> void for_each_part(Parts const& p, std::int64_t numel, F&& f) {
    if (numel == 0) return;
    auto const at_least = std::max<std::int64_t>(1, (1 << 14) / (p.outer * p.length));
    at::parallel_for(0, p.count, at_least, [&](std::int64_t from, std::int64_t to) {
        for (std::int64_t o = 0; o < p.outer; ++o)
            for (auto part = from; part < to; ++part) {
                auto const first = (o * p.count + part) * p.length;
                f(part, first, std::min(p.length, numel - first));
            }
    });
}

struct Sums {
    double parameter = 0, offset = 0;
};

// y = s * quantize(x)
template <class Rounding> struct LearnedForwardKernel {
    [[gnu::always_inline]] static void run(float const* x, float* y, std::int64_t count, float scale,
                                           Bounds b) {
        float const inverse = 1.0f / scale;
#pragma omp simd
        for (std::int64_t i = 0; i < count; ++i)
            y[i] = dequantize(quantize<Rounding>(x[i], inverse, b).value, scale);
    }
};

// dx = dy * slope.input and the sums of dy * slope.parameter, dy * slope.offset. dx: null if nobody asks for it.
// Sums are taken in eight lanes, so that every instruction set adds in the same order.
template <class Estimator, class Rounding> struct LearnedBackwardKernel {
    [[gnu::always_inline]] static Sums run(float const* x, float const* dy, float* dx, std::int64_t count,
                                           LearnedGrid g) {
        constexpr std::int64_t chunk = 256;
        constexpr bool has_offset = Estimator::learns == Learns::step_and_offset;
        float rounded[chunk], parameter[chunk], offset[chunk], nobody[chunk];
        Lanes parameters, offsets;
        for (std::int64_t begin = 0; begin < count; begin += chunk) {
            auto const n = count - begin < chunk ? count - begin : chunk;
            auto const* in = x + begin;
            auto const* up = dy + begin;
            auto* out = dx ? dx + begin : nobody;
#pragma omp simd
            for (std::int64_t i = 0; i < n; ++i) rounded[i] = code_or_beyond<Rounding>(in[i], g);
#pragma omp simd
            for (std::int64_t i = 0; i < n; ++i) {
                Slope const slope = Estimator::slope(in[i], rounded[i], g);
                out[i] = slope.input != 0.0f ? up[i] : 0.0f;
                parameter[i] = up[i] * slope.parameter;
                if constexpr (has_offset) offset[i] = up[i] * slope.offset;
            }
            parameters.add(parameter, n);
            if constexpr (has_offset) offsets.add(offset, n);
        }
        return {parameters.sum(), offsets.sum()};
    }

private:
    struct Lanes {
        double lane[8]{};

        [[gnu::always_inline]] void add(float* v, std::int64_t n) {
            for (; n % 8 != 0; ++n) v[n] = 0;
            for (std::int64_t i = 0; i < n; i += 8)
#pragma omp simd
                for (int j = 0; j < 8; ++j) lane[j] += static_cast<double>(v[i + j]);
        }
        [[gnu::always_inline]] double sum() const {
            return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
        }
    };
};

// Policies as values: what uses it is compiled once.
struct LearnedRule {
    ParameterRule parameter;
    std::int64_t axis;             // of the channels; -1: one parameter for the tensor
    float (*clip)(float, Levels);  // PACT's; else null
    void (*forward)(InstructionSet, float const* x, float* y, std::int64_t count, float scale, Bounds);
    Sums (*backward)(InstructionSet, float const* x, float const* dy, float* dx, std::int64_t count,
                     LearnedGrid);
    cuda::Rule elsewhere;
    std::optional<cuda::LearnedKind> kind;  // of its backward kernel; none: by torch's operators
};
template <LearningSpec Spec> constexpr LearnedRule learned_rule() {
    using E = typename Spec::estimator;
    using R = typename Spec::rounding;
    LearnedRule rule{
        parameter_rule<Spec>(),
        axis_of<typename Spec::scheme>(),
        nullptr,
        &run_with<LearnedForwardKernel<R>, float const*, float*, std::int64_t, float, Bounds>,
        &run_with<LearnedBackwardKernel<E, R>, float const*, float const*, float*, std::int64_t, LearnedGrid>,
        cuda::rule<Identity, Spec>(),
        cuda::learned_kind<E>()};
    if constexpr (E::learns == Learns::clip) {
        rule.clip = &E::clip;
        if (Spec::scheme::per_channel) rule.kind.reset();  // no kernel for that
    }
    if (!rule.elsewhere.plan) rule.kind.reset();
    return rule;
}

inline LearnedGrid kernel_grid(LearnedRule const& rule, float scale, std::int32_t zero, float parameter,
                               Levels levels) {
    return {1.0f / scale, bounds(levels.lo, levels.hi, zero), static_cast<float>(zero),
            rule.clip ? rule.clip(parameter, levels) : 0.0f};
}

// x: dense; contiguous if there is an axis.
inline torch::Tensor learned_forward_cpu(LearnedRule const& rule, torch::Tensor const& x,
                                         GridTensors const& grid, Levels levels,
                                         InstructionSet set = best_instruction_set()) {
    auto const y = torch::empty_like(x);
    auto const* s = grid.scale.data_ptr<float>();
    auto const* z = grid.zero_point.data_ptr<std::int32_t>();
    auto const* in = x.data_ptr<float>();
    auto* out = y.data_ptr<float>();
    for_each_part(parts(x, rule.axis), x.numel(), [&](auto part, auto first, auto count) {
        auto const c = rule.axis < 0 ? 0 : part;
        rule.forward(set, in + first, out + first, count, s[c], bounds(levels.lo, levels.hi, z[c]));
    });
    return y;
}

// Sums over the elements that share a parameter, before the factor.                                    [] or [C], double
struct LearnedGradients {
    torch::Tensor input, parameter, offset;
};

// dy: laid out as x. wants_input: dx is asked for.
inline LearnedGradients learned_backward_cpu(LearnedRule const& rule, torch::Tensor const& x,
                                             torch::Tensor const& dy, GridTensors const& grid,
                                             torch::Tensor const& parameter, Levels levels, bool wants_input,
                                             InstructionSet set = best_instruction_set()) {
    auto const dx = wants_input ? torch::empty_like(x) : torch::Tensor();
    auto const* in = x.data_ptr<float>();
    auto const* up = dy.data_ptr<float>();
    auto const* s = grid.scale.data_ptr<float>();
    auto const* z = grid.zero_point.data_ptr<std::int32_t>();
    auto const* p = parameter.data_ptr<float>();
    auto* out = wants_input ? dx.data_ptr<float>() : nullptr;
    auto const all = parts(x, rule.axis);
    std::vector<Sums> sums(static_cast<std::size_t>(all.count));
    for_each_part(all, x.numel(), [&](auto part, auto first, auto count) {
        auto const c = rule.axis < 0 ? 0 : part;
        auto const one = rule.backward(set, in + first, up + first, out ? out + first : nullptr, count,
                                       kernel_grid(rule, s[c], z[c], p[c], levels));
        auto& sum = sums[static_cast<std::size_t>(part)];
        sum.parameter += one.parameter, sum.offset += one.offset;
    });
    auto const total = torch::zeros(grid.scale.sizes(), torch::kDouble), offset = torch::zeros_like(total);
    for (std::size_t i = 0; i < sums.size(); ++i) {
        auto const c = rule.axis < 0 ? 0 : i;
        total.data_ptr<double>()[c] += sums[i].parameter;
        offset.data_ptr<double>()[c] += sums[i].offset;
    }
    return {dx, total, offset};
}

}  // namespace qat::detail
