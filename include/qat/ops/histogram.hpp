#pragma once
// Histograms of tensors, for the observers that search one. CPU: one pass over the tensor. Elsewhere: torch's operators,
// without waiting for the device.

#include <qat/core/bins.hpp>
#include <qat/core/observer/histogram.hpp>
#include <qat/ops/finite_range.hpp>
#include <qat/ops/instruction_set.hpp>
#include <qat/ops/range.hpp>

#include <algorithm>
#include <array>
#include <vector>

namespace qat {

/// What was seen so far. min > max: nothing yet.
struct HistogramTensors {
    torch::Tensor counts;    // [B] float32
    torch::Tensor min, max;  // [] float32: the lower edge of the first bin, the upper edge of the last
};

namespace detail {

// bins[i] = the bin of x[i]; last + 1 for none.
struct BinKernel {
    [[gnu::always_inline]] static void run(float const* x, std::int64_t n, float lo, float per_unit, int last,
                                           std::int32_t* bins) {
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i) {
            int const bin = bin_of(x[i], lo, per_unit, last);
            bins[i] = bin < 0 ? last + 1 : bin;
        }
    }
};

// Whole numbers, so that neither the order nor the number of threads matters.
inline torch::Tensor count_on_cpu(torch::Tensor const& x, float lo, float hi, std::int64_t bins) {
    constexpr std::int64_t at_once = 1024,
                           lanes = 4;  // neighbours often share a bin: four tables, so that none waits
    auto const dense = x.is_non_overlapping_and_dense() ? x : x.contiguous();  // any order will do
    auto const* const in = dense.data_ptr<float>();
    auto const last = static_cast<int>(bins - 1);
    float const per_unit = hi > lo ? static_cast<float>(bins) / (hi - lo) : 0.0f;
    auto const row = static_cast<std::size_t>(bins + 1);  // one more for what lies in no bin
    auto const size = dense.numel();
    auto const parts = std::clamp<std::int64_t>(size >> 16, 1, std::max(at::get_num_threads(), 1));
    std::vector<std::vector<std::uint32_t>> tables(static_cast<std::size_t>(parts));
    auto const set = best_instruction_set();
    at::parallel_for(0, parts, 1, [&](std::int64_t first_part, std::int64_t end_part) {
        for (auto part = first_part; part < end_part; ++part) {
            auto& table = tables[static_cast<std::size_t>(part)];
            table.resize(lanes * row);
            std::array<std::int32_t, at_once> place;
            auto const end = size * (part + 1) / parts;
            for (auto start = size * part / parts; start < end; start += at_once) {
                auto const n = std::min(at_once, end - start);
                run_with<BinKernel>(set, in + start, n, lo, per_unit, last, place.data());
                for (std::int64_t i = 0; i < n; ++i)
                    ++table[static_cast<std::size_t>(i % lanes) * row +
                            static_cast<std::size_t>(place[static_cast<std::size_t>(i)])];
            }
        }
    });
    auto counts = torch::zeros({bins}, torch::kDouble);
    auto* const out = counts.data_ptr<double>();
    for (auto const& table : tables)
        for (std::size_t i = 0; i < table.size(); ++i)
            if (i % row < row - 1) out[i % row] += table[i];
    return counts.to(torch::kFloat);
}

inline torch::Tensor count_on_device(torch::Tensor const& x, torch::Tensor const& lo, torch::Tensor const& hi,
                                     std::int64_t bins) {
    auto const flat = x.reshape({-1});
    auto const place = ((flat - lo) * (static_cast<double>(bins) / (hi - lo))).nan_to_num(0, 0, 0).floor();
    auto const inside = torch::isfinite(flat) & (flat >= lo) & (flat <= hi);
    auto const index = torch::where(inside, place.clamp(0, static_cast<double>(bins - 1)),
                                    torch::full_like(place, static_cast<double>(bins)))
                           .to(torch::kLong);
    auto const whole = flat.options().dtype(torch::kLong);  // whole numbers: any order gives the same sum
    return torch::zeros({bins + 1}, whole)
        .scatter_add(0, index, torch::ones({1}, whole).expand_as(index))
        .slice(0, 0, bins)
        .to(torch::kFloat);
}

}  // namespace detail

/// How many values of x fall into each of equally wide bins from lo to hi; not finite or outside: not counted.
/// x: float32, any strides. lo, hi: [] float32. lo == hi: values equal to lo are in the first bin.      [bins] float32
inline torch::Tensor count(torch::Tensor const& x, torch::Tensor const& lo, torch::Tensor const& hi,
                           std::int64_t bins) {
    torch::NoGradGuard no_grad;
    if (x.numel() == 0) return torch::zeros({bins}, x.options());
    if (!x.is_cpu()) return detail::count_on_device(x.detach(), lo, hi, bins);
    return detail::count_on_cpu(x.detach(), lo.item<float>(), hi.item<float>(), bins);
}

/// Counts of old bins from old_min on, old_width each, as those of bins between new edges. edges: in units of old bins
/// from old_min on, rising. The values of a bin are taken to be spread evenly.                     [B] float64
inline torch::Tensor spread(torch::Tensor const& counts, torch::Tensor const& edges) {
    auto const bins = counts.size(0);
    auto const old = counts.to(torch::kDouble);
    auto const below = torch::cat({torch::zeros({1}, old.options()), old.cumsum(0)});  // [B + 1]
    auto const at = edges.clamp(0, static_cast<double>(bins));
    auto const bin = at.floor().clamp_max(static_cast<double>(bins - 1)).to(torch::kLong);
    auto const sums = below.index_select(0, bin) + (at - bin) * old.index_select(0, bin);
    return sums.diff();
}

/// The histogram with the values of x in it. seen: the extremes of x. h is not changed.
template <Counting How>
HistogramTensors add(HistogramTensors const& h, torch::Tensor const& x, RangeTensors const& seen) {
    torch::NoGradGuard no_grad;
    auto const bins = h.counts.size(0);
    auto const number = [](torch::Tensor const& t) { return t.to(torch::kDouble); };
    auto const e = finite_range(x.detach(), seen);
    if (x.numel() == 0 || (e.min.is_cpu() && !torch::isfinite(e.min).item<bool>())) return h;
    auto const known = torch::isfinite(h.min);
    auto const old_min = number(torch::where(known, h.min, e.min)),
               old_max = number(torch::where(known, h.max, e.max));
    auto const index = torch::arange(bins + 1, h.counts.options().dtype(torch::kDouble));
    if constexpr (How == Counting::exact) {
        auto const min = torch::minimum(h.min, e.min), max = torch::maximum(h.max, e.max);
        auto const old_width = ((old_max - old_min) / bins).clamp_min(1e-300);  // all the same: a point
        auto const width = (number(max) - number(min)) / bins;
        auto edges = (number(min) + width * index - old_min) / old_width;
        edges.slice(0, 0, 1).fill_(0);  // the old range lies within the new: nothing is lost to rounding
        edges.slice(0, bins).fill_(static_cast<double>(bins));
        auto const same = (min == h.min) & (max == h.max);
        auto const moved =
            torch::where(same, number(h.counts), spread(h.counts, edges.nan_to_num(0, bins, 0)));
        return {moved.to(torch::kFloat) + count(x, min, max, bins), min, max};
    } else {
        constexpr double parts = 128;                  // of an old bin, at which edges may meet
        auto const fresh = ~known | (h.min == h.max);  // what was one value so far is forgotten
        auto const min = torch::where(fresh, e.min, torch::minimum(h.min, e.min));
        auto const max = torch::where(fresh, e.max, torch::maximum(h.max, e.max));
        auto const part = (old_max - old_min) / (static_cast<double>(bins) * parts);
        auto const parts_per_bin = ((number(max) - number(min)) / (static_cast<double>(bins) * part)).ceil();
        auto const start = ((old_min - number(min)) / part).round();
        auto const edges = (index * parts_per_bin - start) / parts;
        auto const moved = spread(h.counts, edges.nan_to_num(0, 0, 0));
        auto const end = (number(min) + parts_per_bin * static_cast<double>(bins) * part).to(torch::kFloat);
        auto const new_max = torch::where(fresh, max, end);
        auto lo = torch::trunc(min), hi = torch::trunc(new_max);
        auto const point =
            lo == hi;  // as histc: then the tensor's own extremes, and one to either side of those
        lo = torch::where(point, e.min, lo), hi = torch::where(point, e.max, hi);
        auto const still = (lo == hi).to(torch::kFloat);
        lo = lo - still, hi = hi + still;
        auto const kept = torch::where(fresh, torch::zeros_like(moved), moved).to(torch::kFloat);
        return {kept + count(x, lo, hi, bins), min, new_max};
    }
}

}  // namespace qat
