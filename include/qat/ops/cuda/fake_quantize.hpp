#pragma once
// Fake quantization on a CUDA device. Link qat::cuda: it brings the .cu beside this header into your target.

#include <qat/torch.hpp>

#include <cstdint>

namespace qat::cuda {

/// y = s * (clamp(round(x / s) + z, lo, hi) - z), ties to even; forward only.
/// requires x float32 on a CUDA device; scale float32 and zero_point int32, one element each, on the same device;
/// lo <= hi, 16 bits at most. ensures the result has x's shape. Any strides; empty tensors are fine.
/// throws c10::Error if a requirement is broken.
at::Tensor fake_quantize(at::Tensor const& x, at::Tensor const& scale, at::Tensor const& zero_point,
                         std::int64_t lo, std::int64_t hi);

}  // namespace qat::cuda
