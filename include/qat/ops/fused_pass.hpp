#pragma once
// The CPU's pass over memory: activation, extremes, grid, mask of the gradient and codes, a block of elements at
// a time, so that each element is read from memory once and written once.

#include <qat/ops/fused_loops.hpp>

#include <optional>
#include <vector>

namespace qat::detail {

/// Grids by channel, ready for the loops; one entry if per tensor.
struct Grids {
    std::vector<float> scale, inverse, low, high;
    bool per_channel = false;
    std::int64_t run = 1, channels = 1;  // element i of the memory belongs to channel i / run % channels

    GridRow row(std::int64_t channel = 0) const {
        return {scale.data() + channel, inverse.data() + channel, low.data() + channel, high.data() + channel,
                false};
    }
};

/// Grids written out for every element of a block: of channels whose elements lie apart.
class SpreadGrids {
public:
    GridRow fill(Grids const& g, std::int64_t from, std::int64_t n) {
        for (std::int64_t at = 0, length; at < n; at += length) {
            auto const c = (from + at) / g.run % g.channels;
            // Neighbours are in one channel, or in neighbouring channels.
            length =
                g.run > 1 ? std::min(n - at, g.run - (from + at) % g.run) : std::min(n - at, g.channels - c);
            auto const write = [&](std::vector<float> const& by_channel, auto& to) {
                auto const* const first = by_channel.data() + c;
                if (g.run > 1)
                    std::fill_n(to.data() + at, length, *first);
                else
                    std::copy_n(first, length, to.data() + at);
            };
            write(g.scale, scale_), write(g.inverse, inverse_), write(g.low, low_), write(g.high, high_);
        }
        return {scale_.data(), inverse_.data(), low_.data(), high_.data(), true};
    }

private:
    std::array<float, block_size + 16> scale_, inverse_, low_,
        high_;  // not a page apart: that would slow loads
};

/// Calls f(at, length, grids) for parts of [0, n) that have their grids in a row. from: the first element's place.
template <class F> void for_each_row(Grids const& g, std::int64_t from, std::int64_t n, F const& f) {
    constexpr std::int64_t worth_a_loop = 48;
    if (!g.per_channel) {
        f(std::int64_t{0}, n, g.row());
    } else if (g.run < worth_a_loop) {
        SpreadGrids spread;
        f(std::int64_t{0}, n, spread.fill(g, from, n));
    } else {
        for (std::int64_t at = 0, length; at < n; at += length) {
            length = std::min(n - at, g.run - (from + at) % g.run);
            f(at, length, g.row((from + at) / g.run % g.channels));
        }
    }
}

/// Calls f(from, n, ends) for consecutive blocks of at most block_size elements, in parallel. What f adds to the ends
/// is merged; the result does not depend on the number of threads.
template <class F> Ends for_each_block(std::int64_t numel, F const& f) {
    auto const chunk = [&](std::int64_t begin, std::int64_t end, Ends ends) {
        for (auto b = begin; b < end; ++b)
            f(b * block_size, std::min(block_size, numel - b * block_size), ends);
        return ends;
    };
    auto const merge_ends = [](Ends a, Ends const& b) {
        a.take_in(b);
        return a;
    };
    auto const blocks = (numel + block_size - 1) / block_size;
    return at::parallel_reduce(0, blocks, grain / block_size, Ends{}, chunk, merge_ends);
}

/// What is done to one tensor of n elements.
struct Pass {
    float const* x = nullptr;
    float* y = nullptr;  // may be x
    std::int64_t n = 0;
    std::uint8_t* mask = nullptr;   // mask_bytes(n), or null
    std::uint8_t* codes = nullptr;  // n, or null
    QuantizeBlock quantize = nullptr;
    bool passes_outside = false;        // the gradient passes where the code was clamped as well
    EndsOfBlock ends = nullptr;         // null: the extremes are not wanted
    std::optional<std::uint64_t> seed;  // of the noise of a stochastic rounding; none: it rounds without
};

/// The extremes of act(x), if wanted.
inline Ends perform(Pass const& p, Grids const& grids, InstructionSet set = best_instruction_set()) {
    return for_each_block(p.n, [&](std::int64_t from, std::int64_t n, Ends& ends) {
        std::array<std::uint64_t, block_size / 8> words;
        auto* const flags = p.mask || p.codes ? reinterpret_cast<std::uint8_t*>(words.data()) : nullptr;
        if (p.ends) p.ends(set, p.x + from, n, &ends);
        for_each_row(grids, from, n, [&](std::int64_t at, std::int64_t length, GridRow row) {
            auto const first = from + at;
            auto const place = static_cast<std::uint64_t>(first);
            Noise noise;
            if (p.seed)  // 2^32 is a multiple of the block: its elements share a page
                noise = {true, noise_key(*p.seed, static_cast<std::uint32_t>(place >> 32)),
                         static_cast<std::uint32_t>(place)};
            p.quantize(set, p.x + first, length, row, noise, p.passes_outside, p.y + first,
                       flags ? flags + at : nullptr, p.codes ? p.codes + first : nullptr);
        });
        if (p.mask) {
            auto const bytes = mask_bytes(n);
            std::fill(flags + n, flags + 8 * bytes, std::uint8_t{0});
            run_with<PackKernel>(set, static_cast<std::uint64_t const*>(words.data()), bytes,
                                 p.mask + from / 8);
        }
    });
}

/// From codes, as perform() wrote them.
inline void decode(std::uint8_t const* codes, std::int64_t numel, float* y, Grids const& grids,
                   InstructionSet set = best_instruction_set()) {
    for_each_block(numel, [&](std::int64_t from, std::int64_t n, Ends&) {
        for_each_row(grids, from, n, [&](std::int64_t at, std::int64_t length, GridRow row) {
            auto const first = from + at;
            if (row.spread)
                run_with<DecodeKernel<true>>(set, codes + first, length, row, y + first);
            else
                run_with<DecodeKernel<false>>(set, codes + first, length, row, y + first);
        });
    });
}

/// dx = bit ? dy : 0. mask: as perform() wrote it. dx may be dy.
inline void apply_mask(float const* dy, std::uint8_t const* mask, std::int64_t numel, float* dx,
                       InstructionSet set = best_instruction_set()) {
    auto const* words = reinterpret_cast<std::uint32_t const*>(mask);
    for_each_block(numel, [&](std::int64_t from, std::int64_t n, Ends&) {
        run_with<MaskKernel>(set, dy + from, words + from / 32, n, dx + from);
    });
}

}  // namespace qat::detail
