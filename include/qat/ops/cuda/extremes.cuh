#pragma once
// The extremes of a tensor, or of every channel. Smaller and larger are associative, so the order in which blocks arrive
// does not matter: the result is the same every time. A NaN anywhere gives NaN, as torch::aminmax.

#include <qat/ops/cuda/elements.cuh>

#include <limits>

namespace qat::cuda {

inline constexpr int threads = 256;  // in a block; a power of two
inline constexpr float infinity = std::numeric_limits<float>::infinity();

struct Ends {
    float low = infinity, high = -infinity;
    bool nan = false;

    QAT_HOST_DEVICE void take(float a) {
        low = a < low ? a : low;
        high = a > high ? a : high;
        nan |= a != a;
    }
};

// *p = min(*p, v): floats in order are integers in order, upwards if positive and downwards if negative. The NaN that
// counts as the lowest of all has every bit set.
__device__ inline void lower(float* p, float v) {
    auto const bits = std::bit_cast<int>(v);
    if (bits >= 0)
        atomicMin(reinterpret_cast<int*>(p), bits);
    else
        atomicMax(reinterpret_cast<unsigned*>(p), static_cast<unsigned>(bits));
}
// *p = max(*p, v). The NaN that counts as the highest of all has every bit set but the sign.
__device__ inline void raise(float* p, float v) {
    auto const bits = std::bit_cast<int>(v);
    if (bits >= 0)
        atomicMax(reinterpret_cast<int*>(p), bits);
    else
        atomicMin(reinterpret_cast<unsigned*>(p), static_cast<unsigned>(bits));
}

/// Merges what the threads of a block have seen into *min and *max. Every thread of the block must come here.
__device__ inline void merge(Ends seen, float* min, float* max) {
    __shared__ float low[threads], high[threads];
    __shared__ int nan;
    auto const t = threadIdx.x;
    if (t == 0) nan = 0;
    low[t] = seen.low, high[t] = seen.high;
    __syncthreads();
    if (seen.nan) atomicMax(&nan, 1);
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (t < half) {
            low[t] = low[t + half] < low[t] ? low[t + half] : low[t];
            high[t] = high[t + half] > high[t] ? high[t + half] : high[t];
        }
        __syncthreads();
    }
    if (t != 0) return;
    lower(min, nan ? std::bit_cast<float>(0xffffffffu) : low[0]);
    raise(max, nan ? std::bit_cast<float>(0x7fffffffu) : high[0]);
}

template <class Real> __global__ void clear_extremes(Real* min, Real* max, std::int64_t channels) {
    auto const stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
    for (auto c = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; c < channels; c += stride)
        min[c] = infinity, max[c] = -infinity;
}

/// Of act(x), whole tensor.
template <class Activation, class T> __global__ void extremes_kernel(ExtremesArguments a) {
    auto const* x = static_cast<T const*>(a.x);
    bool const by_chunks = aligned(x, sizeof(T) * chunk<T>);
    Ends seen;
    for_each_group(a.count, [&](std::int64_t first, int n, bool whole) {
        float v[group];
        load(x + first, n, whole && by_chunks, v);
        for (int k = 0; k < group; ++k)
            if (k < n) seen.take(Activation::value(v[k]));
    });
    merge(seen, a.min, a.max);
}

/// The place in memory of element j of channel c, j counted over the channel alone.
QAT_HOST_DEVICE constexpr std::int64_t place_in_channel(std::int64_t c, std::int64_t j, std::int64_t channels,
                                                        std::int64_t inner) {
    std::int64_t outer;
    if (j <= 0xffffffff && inner <= 0xffffffff)
        outer = static_cast<std::uint32_t>(j) / static_cast<std::uint32_t>(inner);
    else
        outer = j / inner;
    return (outer * channels + c) * inner + (j - outer * inner);
}

/// Of every channel: block (c, part).
template <class T> __global__ void channel_extremes_kernel(ExtremesArguments a) {
    auto const* x = static_cast<T const*>(a.x);
    auto const c = static_cast<std::int64_t>(blockIdx.x), own = a.count / a.channels;
    Ends seen;
    for (auto j = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x; j < own;
         j += static_cast<std::int64_t>(gridDim.y) * blockDim.x)
        seen.take(static_cast<float>(x[place_in_channel(c, j, a.channels, a.inner)]));
    merge(seen, a.min + c, a.max + c);
}

}  // namespace qat::cuda
