#pragma once
// Ranges and grids between two steps: a thread a grid.

#include <qat/ops/cuda/elements.cuh>

namespace qat::cuda {

// Runs f(c) for the numbers below count that are this thread's.
template <class F> __device__ inline void for_each_grid(std::int64_t count, F&& f) {
    auto const stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
    for (auto c = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; c < count; c += stride)
        f(c);
}

template <class Arguments> __global__ void move_kernel(Arguments a) {
    for_each_grid(a.count, [&](std::int64_t c) {
        float const min = follow(a.follow, a.min[c], a.seen_min[c], true),
                    max = follow(a.follow, a.max[c], a.seen_max[c], false);
        a.min[c] = min, a.max[c] = max;
        if (!is_finite(min) || !is_finite(max)) return;
        auto const grid = choose_grid(a.rule, min, max, a.levels);
        a.scale[c] = grid.scale, a.zero_point[c] = grid.zero_point;
    });
}

template <class Arguments> __global__ void learned_grids_kernel(Arguments a) {
    for_each_grid(a.count, [&](std::int64_t c) {
        auto const grid = learned_grid(a.rule, a.parameter[c], a.offset ? a.offset[c] : 0.0f, a.levels);
        a.scale[c] = grid.scale, a.zero_point[c] = grid.zero_point;
    });
}

}  // namespace qat::cuda
