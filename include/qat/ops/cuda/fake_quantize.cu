// Compiled by whoever links qat::cuda (an INTERFACE source).

#include <qat/core/rounding/half_even.hpp>
#include <qat/ops/cuda/fake_quantize.cuh>

#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>

namespace qat::cuda {

at::Tensor fake_quantize(at::Tensor const& x, at::Tensor const& scale, at::Tensor const& zero_point,
                         std::int64_t lo, std::int64_t hi) {
    TORCH_CHECK(x.is_cuda() && x.scalar_type() == at::kFloat, "cuda::fake_quantize: x is ", x.toString(),
                ", want float32 on a CUDA device");
    TORCH_CHECK(scale.device() == x.device() && scale.scalar_type() == at::kFloat && scale.numel() == 1,
                "cuda::fake_quantize: the scale is ", scale.toString(), " of ", scale.numel(),
                " elements, want one float32 on x's device");
    TORCH_CHECK(zero_point.device() == x.device() && zero_point.scalar_type() == at::kInt &&
                    zero_point.numel() == 1,
                "cuda::fake_quantize: the zero point is ", zero_point.toString(), " of ", zero_point.numel(),
                " elements, want one int32 on x's device");
    TORCH_CHECK(lo <= hi && hi - lo <= 65535, "cuda::fake_quantize: the codes are [", lo, ", ", hi,
                "], want at most 16 bits");
    c10::cuda::CUDAGuard const guard(x.device());
    auto const in = x.is_non_overlapping_and_dense() ? x : x.contiguous();
    auto y = at::empty_like(in);
    auto const count = in.numel();
    if (count == 0) return y;
    constexpr int threads = 256;
    auto const blocks = static_cast<unsigned>(std::min<std::int64_t>((count + threads - 1) / threads, 4096));
    fake_quantize_kernel<HalfEven><<<blocks, threads, 0, c10::cuda::getCurrentCUDAStream()>>>(
        in.data_ptr<float>(), y.data_ptr<float>(), count, scale.data_ptr<float>(),
        zero_point.data_ptr<std::int32_t>(), lo, hi);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return y;
}

}  // namespace qat::cuda
