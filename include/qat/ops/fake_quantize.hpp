#pragma once
// Fake quantization with the straight-through gradient, per tensor or per channel.
//     y = s * (clamp(round(x / s) + z, lo, hi) - z) ;  dy/dx = 1 where the code was inside before clamping, else 0

#include <qat/ops/fused.hpp>

namespace qat {

/// requires x float32; scale > 0, float32 [] or [C]; zero_point int32 [] or [C]. C: size of the scheme's axis.
/// x on the grid, in x's shape; x itself if the format is Float. Any strides. Empty tensors are fine. NaN becomes the
/// lowest value.
template <QuantizerSpec Spec>
torch::Tensor fake_quantize(torch::Tensor const& x, torch::Tensor const& scale,
                            torch::Tensor const& zero_point,
                            Levels levels = levels_of<typename Spec::format>) {
    if constexpr (!Spec::format::quantized)
        return x;
    else
        return activate_and_quantize<Identity, Spec>(x, {scale, zero_point}, levels);
}

}  // namespace qat
