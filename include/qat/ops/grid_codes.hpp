#pragma once
// A tensor on a grid as 8-bit codes: a quarter of the memory, nothing lost.

#include <qat/ops/choose_grid.hpp>
#include <qat/ops/fused_pass.hpp>

namespace qat {

/// y = scale * (value + lo - zero_point), the same number bit for bit that quantization wrote.
struct Codes {
    torch::Tensor values;  // uint8, q - lo; y's shape and layout, dense
    torch::Tensor scale,
        zero_point;          // copies: a grid moves on                             [] or [C], float32, int32
    Levels levels;           // hi - lo <= 255
    std::int64_t axis = -1;  // of the channels; -1: one grid for all

    static bool fit(Levels levels) { return levels.hi - levels.lo <= 255; }
};

namespace detail {

/// The grids of a dense tensor on the CPU, ready for the loops. axis: -1 if per tensor.
/// throws c10::Error if scale or zero point do not fit x.
inline Grids grids_of(torch::Tensor const& x, GridTensors const& grid, Levels levels, std::int64_t axis) {
    TORCH_CHECK(axis < x.dim(), "quantize: channels along axis ", axis, " of a tensor of ", x.dim(),
                " dimensions");
    Grids result;
    result.per_channel = axis >= 0;
    if (result.per_channel) {
        result.channels = x.size(axis);
        // An axis of one index may have any stride, and its only channel is everything.
        result.run = result.channels > 1 ? std::max<std::int64_t>(1, x.stride(axis)) : 1;
    }
    TORCH_CHECK(grid.scale.is_cpu() && grid.scale.scalar_type() == torch::kFloat &&
                    grid.zero_point.is_cpu() && grid.zero_point.scalar_type() == torch::kInt,
                "quantize: scale is ", grid.scale.toString(), " and zero point ", grid.zero_point.toString(),
                ", want float32 and int32 on the CPU, where x is");
    TORCH_CHECK(grid.scale.numel() == result.channels && grid.zero_point.numel() == result.channels,
                "quantize: ", grid.scale.numel(), " scales and ", grid.zero_point.numel(),
                " zero points for ", result.channels, result.per_channel ? " channels" : " tensor");
    auto const scale = grid.scale.contiguous(), zero = grid.zero_point.contiguous();
    auto const* s = scale.data_ptr<float>();
    auto const* z = zero.data_ptr<std::int32_t>();
    for (std::int64_t c = 0; c < result.channels; ++c) {
        auto const b = bounds(levels.lo, levels.hi, z[c]);
        result.scale.push_back(s[c]), result.inverse.push_back(1.0f / s[c]);
        result.low.push_back(b.low), result.high.push_back(b.high);
    }
    return result;
}
}  // namespace detail

/// The tensor again, float32, in the codes' layout.
inline torch::Tensor dequantize(Codes const& codes) {
    torch::NoGradGuard no_grad;
    auto const& v = codes.values;
    if (v.is_cpu()) {
        auto const grids = detail::grids_of(v, {codes.scale, codes.zero_point}, codes.levels, codes.axis);
        auto const y = torch::empty_like(v, v.options().dtype(torch::kFloat));
        detail::decode(v.data_ptr<std::uint8_t>(), v.numel(), y.data_ptr<float>(), grids);
        return y;
    }
    std::vector<std::int64_t> shape(codes.axis >= 0 ? static_cast<std::size_t>(v.dim()) : 0, 1);
    if (codes.axis >= 0) shape[static_cast<std::size_t>(codes.axis)] = -1;
    auto const low = (codes.levels.lo - codes.zero_point).to(torch::kFloat);
    return codes.scale.view(shape) * (v.to(torch::kFloat) + low.view(shape));
}

}  // namespace qat
