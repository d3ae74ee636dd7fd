#pragma once
// How a thread walks through memory: eight neighbouring elements at a time, so that a byte of the mask and a word of
// codes belong to one thread and no lane needs another. Plain C++ but for the two markers: tests run it on the CPU.

#include <qat/core/activation/identity.hpp>
#include <qat/core/activation/relu.hpp>
#include <qat/core/noise.hpp>
#include <qat/core/rounding/floor.hpp>
#include <qat/core/rounding/half_away_from_zero.hpp>
#include <qat/core/rounding/half_even.hpp>
#include <qat/core/rounding/half_up.hpp>
#include <qat/core/rounding/stochastic.hpp>
#include <qat/ops/cuda/plan.hpp>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

namespace qat::cuda {

inline constexpr int group = 8;  // elements a thread handles at a time

/// `Bytes` of neighbouring elements, which one instruction loads or stores.
template <class T, int Count> struct alignas(sizeof(T) * Count) Chunk { T v[Count]; };
template <class T>
inline constexpr int chunk = sizeof(T) * group <= 16 ? group : static_cast<int>(16 / sizeof(T));

QAT_HOST_DEVICE inline bool aligned(void const* p, std::size_t bytes) {
    return reinterpret_cast<std::uintptr_t>(p) % bytes == 0;
}

/// v[k] = p[k] for k < n, else 0; in chunks if `whole` (n is 8 and p aligned to chunks).
template <class T, class V> QAT_HOST_DEVICE inline void load(T const* p, int n, bool whole, V (&v)[group]) {
    if (whole) {
        constexpr int c = chunk<T>;
        for (int at = 0; at < group; at += c) {
            auto const part = *reinterpret_cast<Chunk<T, c> const*>(p + at);
            for (int k = 0; k < c; ++k) v[at + k] = static_cast<V>(part.v[k]);
        }
    } else {
        for (int k = 0; k < group; ++k) v[k] = k < n ? static_cast<V>(p[k]) : V(0);
    }
}

/// p[k] = v[k] for k < n.
template <class T, class V> QAT_HOST_DEVICE inline void store(T* p, int n, bool whole, V const (&v)[group]) {
    if (whole) {
        constexpr int c = chunk<T>;
        for (int at = 0; at < group; at += c) {
            Chunk<T, c> part;
            for (int k = 0; k < c; ++k) part.v[k] = static_cast<T>(v[at + k]);
            *reinterpret_cast<Chunk<T, c>*>(p + at) = part;
        }
    } else {
        for (int k = 0; k < group; ++k)
            if (k < n) p[k] = static_cast<T>(v[k]);
    }
}

/// The grid of consecutive elements. Per tensor: read once. Per channel: one division for the first of them, then the
/// channel changes every `inner` elements.
template <bool PerChannel> class GridWalk {
public:
    float scale, inverse;
    Bounds codes;

    QAT_HOST_DEVICE explicit GridWalk(GridPointers const& g) : grid_(g), channel_(0), left_(0) {
        if constexpr (!PerChannel) read();
    }
    QAT_HOST_DEVICE void start(std::int64_t i) {
        if constexpr (PerChannel) {
            // 32-bit division where it does, which is nearly always: the other one is a subroutine.
            if (i <= 0xffffffff && grid_.inner <= 0xffffffff) {
                auto const at = static_cast<std::uint32_t>(i),
                           inner = static_cast<std::uint32_t>(grid_.inner);
                auto const row = at / inner;
                left_ = inner - (at - row * inner);
                channel_ = row % static_cast<std::uint32_t>(grid_.channels);
            } else {
                auto const row = i / grid_.inner;
                left_ = grid_.inner - (i - row * grid_.inner);
                channel_ = row % grid_.channels;
            }
            read();
        }
    }
    QAT_HOST_DEVICE void next() {
        if constexpr (PerChannel) {
            if (--left_ == 0) {
                left_ = grid_.inner;
                if (++channel_ == grid_.channels) channel_ = 0;
                read();
            }
        }
    }

private:
    GridPointers grid_;
    std::int64_t channel_, left_;

    QAT_HOST_DEVICE void read() {
        scale = grid_.scale[channel_];
        inverse = 1.0f / scale;
        codes = bounds(grid_.lo, grid_.hi, grid_.zero_point[channel_]);
    }
};

/// quantize() with the noise that a stochastic rounding wants. i: the element's place in memory.
template <class Rounding>
QAT_HOST_DEVICE constexpr Code quantize_at(float x, float inverse, Bounds b, std::uint64_t seed,
                                           std::int64_t i) {
    if constexpr (Rounding::stochastic)
        return quantize<Rounding>(x, inverse, b, uniform_noise(seed, static_cast<std::uint64_t>(i)));
    else
        return quantize<Rounding>(x, inverse, b);
}

/// Runs f(first, n, whole) over the groups of this thread; whole: the group is complete.
template <class F> __device__ inline void for_each_group(std::int64_t count, F&& f) {
    auto const stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x * group;
    for (auto first = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * group;
         first < count; first += stride) {
        auto const left = count - first;
        f(first, left < group ? static_cast<int>(left) : group, left >= group);
    }
}

}  // namespace qat::cuda
