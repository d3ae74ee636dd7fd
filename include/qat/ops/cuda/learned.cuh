#pragma once
// The backward pass of estimators that learn their range: dx for every element, and two sums a grid. Sums are added in a
// fixed order (threads in strides, then a tree, then blocks one after the other), in double precision and without
// atomics: equal sizes give equal bits on every device.

#include <qat/core/estimator/learned_step.hpp>
#include <qat/core/estimator/pact.hpp>
#include <qat/core/estimator/trained_threshold.hpp>
#include <qat/ops/cuda/extremes.cuh>

namespace qat::cuda {

struct Sums {
    double parameter = 0, offset = 0;
};

/// The sum over the threads of a block, in thread 0. Every thread of the block must come here.
__device__ inline Sums add_up(Sums mine) {
    __shared__ double parameter[threads], offset[threads];
    auto const t = threadIdx.x;
    parameter[t] = mine.parameter, offset[t] = mine.offset;
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (t < half) parameter[t] += parameter[t + half], offset[t] += offset[t + half];
        __syncthreads();
    }
    return {parameter[0], offset[0]};
}

/// Block (c, part): a part of channel c, or of the whole tensor if there is one channel.
template <class Estimator, class Rounding> __global__ void learned_kernel(LearnedArguments a) {
    auto const c = static_cast<std::int64_t>(blockIdx.x), own = a.count / a.grid.channels;
    auto const zero = a.grid.zero_point[c];
    LearnedGrid grid{1.0f / a.grid.scale[c], bounds(a.grid.lo, a.grid.hi, zero), static_cast<float>(zero),
                     0.0f};
    if constexpr (Estimator::learns == Learns::clip) grid.clip = Estimator::clip(*a.clip, a.plan.levels);
    Sums sums;
    auto const element = [&](float x, float dy) {
        Slope const slope = Estimator::template slope<Rounding>(x, grid);
        sums.parameter += static_cast<double>(dy * slope.parameter);
        sums.offset += static_cast<double>(dy * slope.offset);
        return slope.input ? dy : 0.0f;
    };
    if (a.grid.channels == 1) {
        bool const by_chunks = aligned(a.x, 16) && aligned(a.dy, 16) && (!a.dx || aligned(a.dx, 16));
        auto const stride = static_cast<std::int64_t>(gridDim.y) * blockDim.x * group;
        for (auto first = (static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * group;
             first < own; first += stride) {
            auto const left = own - first;
            int const n = left < group ? static_cast<int>(left) : group;
            bool const whole = by_chunks && left >= group;
            float x[group], dy[group];
            load(a.x + first, n, whole, x);
            load(a.dy + first, n, whole, dy);
            for (int k = 0; k < group; ++k) dy[k] = k < n ? element(x[k], dy[k]) : 0.0f;
            if (a.dx) store(a.dx + first, n, whole, dy);
        }
    } else {
        for (auto j = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x; j < own;
             j += static_cast<std::int64_t>(gridDim.y) * blockDim.x) {
            auto const i = place_in_channel(c, j, a.grid.channels, a.grid.inner);
            float const dx = element(a.x[i], a.dy[i]);
            if (a.dx) a.dx[i] = dx;
        }
    }
    sums = add_up(sums);
    if (threadIdx.x == 0) {
        auto* const partial = a.partial + 2 * (c * gridDim.y + blockIdx.y);
        partial[0] = sums.parameter, partial[1] = sums.offset;
    }
}

/// sums[., c] from the partial sums of channel c: a block each.
template <class Real>
__global__ void finish_sums(Real const* partial, std::int64_t parts, std::int64_t channels, Real* sums) {
    auto const c = static_cast<std::int64_t>(blockIdx.x);
    Sums mine;
    for (std::int64_t p = threadIdx.x; p < parts; p += blockDim.x) {
        mine.parameter += partial[2 * (c * parts + p)];
        mine.offset += partial[2 * (c * parts + p) + 1];
    }
    Sums const total = add_up(mine);
    if (threadIdx.x == 0) sums[c] = total.parameter, sums[channels + c] = total.offset;
}

}  // namespace qat::cuda
