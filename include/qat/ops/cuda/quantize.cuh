#pragma once
// The fused pass and its way back: each reads every element once and writes it once.

#include <qat/ops/cuda/extremes.cuh>

namespace qat::cuda {

/// y = s * c, c = clamp(round(act(x) / s), lo - z, hi - z), with mask, codes and extremes as asked for.
template <class Activation, class Rounding, class T, bool PerChannel>
__global__ void forward_kernel(ForwardArguments a) {
    auto const* x = static_cast<T const*>(a.x);
    bool const by_chunks = aligned(x, sizeof(T) * chunk<T>) && aligned(a.y, 16) && aligned(a.codes, 8);
    GridWalk<PerChannel> grid(a.grid);
    Ends seen;
    for_each_group(a.count, [&](std::int64_t first, int n, bool whole) {
        whole = whole && by_chunks;
        float v[group];
        std::uint8_t codes[group];
        unsigned bits = 0;
        load(x + first, n, whole, v);
        grid.start(first);
        for (int k = 0; k < group; ++k) {
            float const act = Activation::value(v[k]);
            if (k < n) seen.take(act);
            Code const c = quantize_at<Rounding>(act, grid.inverse, grid.codes, a.plan.seed, first + k);
            bool const passes = Activation::passes(v[k]) && (c.inside || a.plan.passes_outside);
            bits |= static_cast<unsigned>(passes && k < n) << k;
            codes[k] = static_cast<std::uint8_t>(static_cast<int>(c.value - grid.codes.low));
            v[k] = dequantize(c.value, grid.scale);
            grid.next();
        }
        store(a.y + first, n, whole, v);
        if (a.passes) a.passes[first / group] = static_cast<std::uint8_t>(bits);
        if (a.codes) store(a.codes + first, n, whole, codes);
    });
    if (a.min) merge(seen, a.min, a.max);
}

/// dx = bit ? dy : 0
template <class T> __global__ void backward_kernel(BackwardArguments a) {
    auto* dx = static_cast<T*>(a.dx);
    bool const by_chunks = aligned(a.dy, 16) && aligned(dx, sizeof(T) * chunk<T>);
    for_each_group(a.count, [&](std::int64_t first, int n, bool whole) {
        whole = whole && by_chunks;
        float v[group];
        unsigned const bits = a.passes[first / group];
        load(a.dy + first, n, whole, v);
        for (int k = 0; k < group; ++k) v[k] = bits >> k & 1 ? v[k] : 0.0f;
        store(dx + first, n, whole, v);
    });
}

/// y = s * (code + lo - z)
template <bool PerChannel> __global__ void decode_kernel(DecodeArguments a) {
    bool const by_chunks = aligned(a.codes, 8) && aligned(a.y, 16);
    GridWalk<PerChannel> grid(a.grid);
    for_each_group(a.count, [&](std::int64_t first, int n, bool whole) {
        whole = whole && by_chunks;
        float v[group];
        load(a.codes + first, n, whole, v);
        grid.start(first);
        for (int k = 0; k < group; ++k) {
            v[k] = dequantize(v[k] + grid.codes.low, grid.scale);
            grid.next();
        }
        store(a.y + first, n, whole, v);
    });
}

}  // namespace qat::cuda
