#pragma once
// The CPU's short loops over a block of elements, which stays in the first-level cache meanwhile. Only two of
// them depend on policies; the rest is compiled once.

#include <qat/core/noise.hpp>
#include <qat/core/quantizer.hpp>
#include <qat/core/rounding/stochastic.hpp>
#include <qat/ops/instruction_set.hpp>
#include <qat/torch.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <utility>

namespace qat::detail {

inline constexpr std::int64_t block_size = 2048;  // elements
inline constexpr std::int64_t grain = 1 << 14;    // elements worth a task of their own

/// The extremes of some numbers, by lane of a vector.
struct Ends {
    static constexpr int lanes = 16;
    std::array<float, lanes> low, high;
    std::array<int, lanes> nan{};

    Ends() {
        low.fill(std::numeric_limits<float>::infinity());
        high.fill(-std::numeric_limits<float>::infinity());
    }
    void take_in(Ends const& other) {
        for (std::size_t i = 0; i < lanes; ++i) {
            low[i] = std::min(low[i], other.low[i]), high[i] = std::max(high[i], other.high[i]);
            nan[i] |= other.nan[i];
        }
    }
    /// +inf and -inf if there was nothing, NaN if there was any.
    std::pair<float, float> range() const {
        constexpr auto none = std::numeric_limits<float>::quiet_NaN();
        if (std::ranges::any_of(nan, [](int n) { return n != 0; })) return {none, none};
        return {std::ranges::min(low) + 0.0f, std::ranges::max(high) + 0.0f};  // no negative zeros
    }
};

/// The grids of consecutive elements: one for all, or one for each.
struct GridRow {
    float const *scale, *inverse, *low, *high;
    bool spread;  // one for each
};

/// Of a block: see core/noise.hpp.
struct Noise {
    bool wanted = false;
    std::uint32_t key = 0, first = 0;
};

inline std::uint8_t code_byte(float code, float low) {
    return static_cast<std::uint8_t>(static_cast<int>(code - low));
}

// ---- what depends on policies ----------------------------------------------------------------------------------

/// y[i] = act(x[i]) on its grid. y may be x. If flags: whether the gradient passes, 0 or 1. If codes: c - low.
/// outside: whether the gradient passes where the code was clamped.
template <class Activation, class Rounding, bool Spread, bool Flags, bool Codes, bool Noisy>
struct QuantizeKernel {
    [[gnu::always_inline]] static void run(float const* x, std::int64_t n, GridRow g, Noise noise,
                                           bool outside, float* y, std::uint8_t* flags, std::uint8_t* codes) {
        auto const keep = [=](std::int64_t i, float scale, float low, Code code) {
            if constexpr (Flags) flags[i] = (outside | code.inside) & Activation::passes(x[i]);
            if constexpr (Codes) codes[i] = code_byte(code.value, low);
            y[i] = dequantize(code.value, scale);
        };
        auto const code = [=](std::int64_t i, float inverse, Bounds b) {
            if constexpr (Noisy)
                return quantize<Rounding>(Activation::value(x[i]), inverse, b,
                                          qat::noise(noise.key, noise.first + static_cast<std::uint32_t>(i)));
            else
                return quantize<Rounding>(Activation::value(x[i]), inverse, b);
        };
        if constexpr (Spread) {
#pragma omp simd
            for (std::int64_t i = 0; i < n; ++i)
                keep(i, g.scale[i], g.low[i], code(i, g.inverse[i], Bounds{g.low[i], g.high[i]}));
        } else {
            float const scale = *g.scale, inverse = *g.inverse;
            Bounds const b{*g.low, *g.high};
#pragma omp simd
            for (std::int64_t i = 0; i < n; ++i) keep(i, scale, b.low, code(i, inverse, b));
        }
        (void)noise, (void)outside, (void)flags, (void)codes;
    }
};

/// n <= block_size. flags: null if no mask is wanted. codes: or null; requires flags. Spreads: g may be spread.
template <class Activation, class Rounding, bool Spreads>
void quantize_block(InstructionSet set, float const* x, std::int64_t n, GridRow g, Noise noise, bool outside,
                    float* y, std::uint8_t* flags, std::uint8_t* codes) {
    auto const run =
        [=]<bool Spread, bool Flags, bool Codes>(std::integer_sequence<bool, Spread, Flags, Codes>,
                                                 std::uint8_t* f, std::uint8_t* c) {
        if constexpr (Rounding::stochastic)
            if (noise.wanted)
                return run_with<QuantizeKernel<Activation, Rounding, Spread, Flags, Codes, true>>(
                    set, x, n, g, noise, outside, y, f, c);
        run_with<QuantizeKernel<Activation, Rounding, Spread, Flags, Codes, false>>(set, x, n, g, noise,
                                                                                    outside, y, f, c);
    };
    if constexpr (Spreads)
        if (g.spread) {  // rare: one kernel does for all
            std::array<std::uint8_t, block_size> no_flags, no_codes;
            return run(std::integer_sequence<bool, true, true, true>{}, flags ? flags : no_flags.data(),
                       codes ? codes : no_codes.data());
        }
    if (codes) return run(std::integer_sequence<bool, false, true, true>{}, flags, codes);
    if (flags) return run(std::integer_sequence<bool, false, true, false>{}, flags, codes);
    run(std::integer_sequence<bool, false, false, false>{}, flags, codes);
}
using QuantizeBlock = void (*)(InstructionSet, float const*, std::int64_t, GridRow, Noise, bool, float*,
                               std::uint8_t*, std::uint8_t*);

/// Takes in act(x). The lanes are in registers while it runs.
template <class Activation> struct EndsKernel {
    [[gnu::always_inline]] static void run(float const* x, std::int64_t n, Ends* ends) {
        constexpr auto nan = std::numeric_limits<float>::quiet_NaN();
        constexpr bool keeps_nan = Activation::value(nan) != Activation::value(nan);
        constexpr int lanes = Ends::lanes;
        float low[lanes], high[lanes];
        int nans[lanes];
        std::copy_n(ends->low.data(), lanes, low), std::copy_n(ends->high.data(), lanes, high);
        std::copy_n(ends->nan.data(), lanes, nans);
        auto const take_in = [&](int lane, float value) {
            float const a = Activation::value(value);
            low[lane] = a < low[lane] ? a : low[lane];
            high[lane] = a > high[lane] ? a : high[lane];
            if constexpr (keeps_nan) nans[lane] |= a != a;
        };
        std::int64_t at = 0;
        for (; at + lanes <= n; at += lanes)
#pragma omp simd
            for (int lane = 0; lane < lanes; ++lane) take_in(lane, x[at + lane]);
        for (int lane = 0; at < n; ++at, ++lane) take_in(lane, x[at]);
        std::copy_n(low, lanes, ends->low.data()), std::copy_n(high, lanes, ends->high.data());
        std::copy_n(nans, lanes, ends->nan.data());
    }
};
template <class Activation>
void ends_of_block(InstructionSet set, float const* x, std::int64_t n, Ends* ends) {
    run_with<EndsKernel<Activation>>(set, x, n, ends);
}
using EndsOfBlock = void (*)(InstructionSet, float const*, std::int64_t, Ends*);

// ---- what does not ---------------------------------------------------------------------------------------------

/// y = s * c, from codes.
template <bool Spread> struct DecodeKernel {
    [[gnu::always_inline]] static void run(std::uint8_t const* codes, std::int64_t n, GridRow g, float* y) {
        float const scale = *g.scale, low = *g.low;
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i) {
            float const c = static_cast<float>(static_cast<int>(codes[i])) + (Spread ? g.low[i] : low);
            y[i] = dequantize(c, Spread ? g.scale[i] : scale);
        }
    }
};

static_assert(std::endian::native == std::endian::little,
              "qat: masks of gradients are written for little-endian");

/// Flags of 0 or 1, a byte each, to bits: element 8 b + k is bit k of byte b.
struct PackKernel {
    [[gnu::always_inline]] static void run(std::uint64_t const* flags, std::int64_t bytes,
                                           std::uint8_t* mask) {
#pragma omp simd
        for (std::int64_t b = 0; b < bytes; ++b) {
            auto w = flags[b];
            w = (w | w >> 7) & 0x0003000300030003u;
            w = (w | w >> 14) & 0x0000000f0000000fu;
            mask[b] = static_cast<std::uint8_t>(w | w >> 28);
        }
    }
};
inline std::int64_t mask_bytes(std::int64_t elements) { return (elements + 63) / 64 * 8; }

/// dx = bit ? dy : 0. dx may be dy.
struct MaskKernel {
    static constexpr auto bits = [] {
        std::array<std::uint32_t, 32> powers{};
        for (unsigned i = 0; i < 32; ++i) powers[i] = 1u << i;
        return powers;
    }();
    [[gnu::always_inline]] static void run(float const* dy, std::uint32_t const* words, std::int64_t n,
                                           float* dx) {
        std::int64_t at = 0;
        for (; at + 32 <= n; at += 32) {
            auto const word = words[at / 32];
            float const* const in = dy + at;
            float* const out = dx + at;
#pragma omp simd
            for (unsigned i = 0; i < 32; ++i) {
                float const d = in[i];
                out[i] = (word & bits[i]) != 0 ? d : 0.0f;
            }
        }
        for (; at < n; ++at) dx[at] = (words[at / 32] >> (at % 32) & 1u) != 0 ? dy[at] : 0.0f;
    }
};

}  // namespace qat::detail
