#pragma once
// Learned quantization on other devices than the CPU: by kernels where this program has them, else by torch's operators.
// The same values and dx, and the same sums but for their order. Nothing waits for the device.

#include <qat/ops/cuda/fused.hpp>
#include <qat/ops/learned/loops.hpp>

namespace qat::detail {

// Estimator::slope in torch's operators. dx is always made.
template <LearningSpec Spec>
LearnedGradients learned_backward_composite(torch::Tensor const& x, torch::Tensor const& dy,
                                            GridTensors const& grid, torch::Tensor const& parameter,
                                            Levels levels) {
    constexpr auto learns = Spec::estimator::learns;
    constexpr bool per_channel = Spec::scheme::per_channel;
    constexpr std::int64_t axis = per_channel ? Spec::scheme::axis : -1;
    auto const place = fallback::place<typename Spec::rounding>(x, grid, axis, levels, {});
    auto const high = place.low + static_cast<double>(levels.hi - levels.lo);
    auto const t = x * place.scale.reciprocal(), known = t == t, zero = torch::zeros_like(dy);
    auto const total = [&](torch::Tensor const& v) {  // [] or [C]
        auto const wide = v.to(torch::kDouble);
        return per_channel ? wide.transpose(0, Spec::scheme::axis).flatten(1).sum(1) : wide.sum();
    };
    torch::Tensor inside, slope, offset;
    if constexpr (learns == Learns::clip) {
        auto const hi = static_cast<float>(levels.hi);
        auto const alpha = clamp_parameter(parameter, smallest_scale * hi, largest_scale * hi);
        auto const clip = fallback::along(alpha, x, axis);
        inside = (t >= place.low) & (x < clip);
        slope = torch::where(x >= clip, dy, zero);
    } else if constexpr (learns == Learns::log2_threshold) {
        inside = place.inside;
        slope = dy * torch::where(inside, place.code - t, torch::where(known, place.code, zero));
    } else {
        inside = (t > place.low) & (t < high);
        auto const end = place.code + fallback::along(grid.zero_point, x, axis);
        slope = dy * torch::where(inside, place.code - t, torch::where(known, end, zero));
        if constexpr (learns == Learns::step_and_offset)
            offset = total(torch::where(known & ~inside, dy, zero));
    }
    return {torch::where(inside, dy, zero), total(slope), offset};
}

template <LearningSpec Spec>
torch::Tensor learned_forward_device(torch::Tensor const& x, GridTensors const& grid, Levels levels) {
    return cuda::activate_and_quantize<Identity, Spec>(x, grid, levels).y;
}

// k: the kernels to use, null for torch's operators.
template <LearningSpec Spec>
LearnedGradients learned_backward_device(torch::Tensor const& x, torch::Tensor const& dy,
                                         GridTensors const& grid, torch::Tensor const& parameter,
                                         Levels levels, cuda::Kernels const* k = cuda::kernels()) {
    using E = typename Spec::estimator;
    constexpr bool clips_channels =
        E::learns == Learns::clip && Spec::scheme::per_channel;  // no kernel for that
    if constexpr (cuda::learned_kind<E>().has_value() &&
                  cuda::rounding_kind<typename Spec::rounding>().has_value() && !clips_channels) {
        if (k != nullptr && (k->emulated ? x.is_cpu() : x.is_cuda())) {
            auto const r =
                cuda::learned_backward(*k, x, dy, grid.scale, grid.zero_point, parameter,
                                       *cuda::learned_kind<E>(), cuda::plan<Identity, Spec>(levels));
            return {r.dx, r.parameter, r.offset};
        }
    }
    return learned_backward_composite<Spec>(x, dy, grid, parameter, levels);
}

}  // namespace qat::detail
