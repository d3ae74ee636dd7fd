#pragma once
// Learned quantization on other devices than the CPU: by kernels where this program has them, else by torch's operators.
// The same values and dx, and the same sums but for their order. Nothing waits for the device.

#include <qat/ops/cuda/fused.hpp>
#include <qat/ops/learned/loops.hpp>

namespace qat::detail {

// Estimator::slope in torch's operators. dx is always made.
inline LearnedGradients learned_backward_composite(LearnedRule const& rule, torch::Tensor const& x,
                                                   torch::Tensor const& dy, GridTensors const& grid,
                                                   torch::Tensor const& parameter, Levels levels) {
    auto const learns = rule.parameter.learns;
    auto const axis = rule.axis;
    auto const place = fallback::place(rule.elsewhere.otherwise, x, grid, levels, {});
    auto const high = place.low + static_cast<double>(levels.hi - levels.lo);
    auto const t = x * place.scale.reciprocal(), known = t == t, zero = torch::zeros_like(dy);
    auto const total = [&](torch::Tensor const& v) {  // [] or [C]
        auto const wide = v.to(torch::kDouble);
        return axis < 0 ? wide.sum() : wide.transpose(0, axis).flatten(1).sum(1);
    };
    torch::Tensor inside, slope, offset;
    if (learns == Learns::clip) {
        auto const hi = static_cast<float>(levels.hi);
        auto const alpha = clamp_parameter(parameter, smallest_scale * hi, largest_scale * hi);
        auto const clip = fallback::along(alpha, x, axis);
        inside = (t >= place.low) & (x < clip);
        slope = torch::where(x >= clip, dy, zero);
    } else if (learns == Learns::log2_threshold) {
        inside = place.inside;
        slope = dy * torch::where(inside, place.code - t, torch::where(known, place.code, zero));
    } else {
        inside = (t > place.low) & (t < high);
        auto const end = place.code + fallback::along(grid.zero_point, x, axis);
        slope = dy * torch::where(inside, place.code - t, torch::where(known, end, zero));
        if (learns == Learns::step_and_offset) offset = total(torch::where(known & ~inside, dy, zero));
    }
    return {torch::where(inside, dy, zero), total(slope), offset};
}

inline torch::Tensor learned_forward_device(LearnedRule const& rule, torch::Tensor const& x,
                                            GridTensors const& grid, Levels levels) {
    return cuda::activate_and_quantize(rule.elsewhere, x, grid, levels).y;
}

// k: the kernels to use, null for torch's operators.
inline LearnedGradients learned_backward_device(LearnedRule const& rule, torch::Tensor const& x,
                                                torch::Tensor const& dy, GridTensors const& grid,
                                                torch::Tensor const& parameter, Levels levels,
                                                cuda::Kernels const* k = cuda::kernels()) {
    if (!rule.kind || !cuda::serves(k, x))
        return learned_backward_composite(rule, x, dy, grid, parameter, levels);
    auto const r = cuda::learned_backward(*k, x, dy, grid.scale, grid.zero_point, parameter, *rule.kind,
                                          cuda::detail::complete(*rule.elsewhere.plan, levels));
    return {r.dx, r.parameter, r.offset};
}

}  // namespace qat::detail
