#pragma once
// y = s * (clamp(round(x / s) + z, lo, hi) - z), one element a thread in a grid-stride loop.
// The arithmetic is qat/core/arithmetic.hpp's, the same functions as on the CPU.

#include <qat/core/arithmetic.hpp>

#include <cstdint>

namespace qat::cuda {

// scale, zero_point: one element each, on the device.
template <class Rounding>
__global__ void fake_quantize_kernel(float const* x, float* y, std::int64_t count, float const* scale,
                                     std::int32_t const* zero_point, std::int64_t lo, std::int64_t hi) {
    float const s = *scale, inverse = 1.0f / s;
    Bounds const b = bounds(lo, hi, *zero_point);
    auto const stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
    for (auto i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride)
        y[i] = dequantize(quantize<Rounding>(x[i], inverse, b).value, s);
}

}  // namespace qat::cuda
