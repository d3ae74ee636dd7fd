#pragma once
// The threshold at which the quantized distribution of |x| says most about the real one: least Kullback-Leibler divergence.
// S. Migacz, 8-bit inference with TensorRT, GTC 2017.

#include <qat/core/observer/histogram.hpp>

#include <algorithm>
#include <cmath>

namespace qat {

/// For every threshold T at a bin's edge: P = the counts below T, all that is above added to the last bin; Q = the
/// counts below T merged into as many levels as the grid has on one side, then spread evenly over the bins that are not
/// empty. The T with the least KL(P || Q). Where P's last bin holds nothing but what is above, Q has one value there, lest
/// the divergence be infinite. Zeros lie on every grid: the first bin counts as the second at most.
template <int Count = 2048> struct Entropy {
    using slot = slot::observer;
    static constexpr std::string_view name = "entropy";
    static constexpr bool fixed = false, per_tensor = true, one_threshold = true;
    static constexpr bool chooses_ends = true;  // by a criterion of its own
    static constexpr int bins = Count;
    static constexpr Counting counting = Counting::exact;

    template <class Spec> static Interval cover(Bins const& h, Levels levels) {
        if (h.one_value()) return {h.min, h.max};
        auto const counts = magnitudes(h);
        double const reach = std::max(-h.min, h.max);
        int const edges = threshold(counts, static_cast<int>(levels.hi) + 1);
        double const t = reach * edges / bins;
        return {std::max(h.min, -t), std::min(h.max, t)};
    }

    /// Counts of |x| from 0 to max|x|; the values of a bin are spread evenly over those it meets.
    static std::vector<double> magnitudes(Bins const& h) {
        std::vector<double> sums(static_cast<std::size_t>(bins));
        double const per_unit = bins / std::max(-h.min, h.max);
        auto const spread = [&](double from, double to, double n) {  // from <= to, in units of the new bins
            if (!(to > from)) return;
            auto const first = static_cast<int>(from), last = std::min(static_cast<int>(to), bins - 1);
            for (int i = first; i <= last; ++i)
                sums[static_cast<std::size_t>(i)] +=
                    n * std::max(0.0, std::min<double>(to, i + 1) - std::max<double>(from, i)) / (to - from);
        };
        for (std::size_t i = 0; i < h.counts.size(); ++i) {
            double const from = h.edge(i) * per_unit, to = h.edge(i + 1) * per_unit, n = h.counts[i];
            if (from >= 0)
                spread(from, to, n);
            else if (to <= 0)
                spread(-to, -from, n);
            else
                spread(0, -from, n * -from / (to - from)), spread(0, to, n * to / (to - from));
        }
        sums[0] = std::min(sums[0], sums[1]);
        return sums;
    }

    /// How many of these bins to keep. Sums over a run of bins come from prefix sums: `levels` terms for each threshold.
    static int threshold(std::vector<double> const& counts, int levels) {
        auto const size = static_cast<int>(counts.size());
        if (levels >= size) return size;
        struct Sums {
            double n = 0, n_log_n = 0;
            int filled = 0;
        };
        std::vector<Sums> prefix(counts.size() + 1);
        for (std::size_t i = 0; i < counts.size(); ++i) {
            auto const n = counts[i];
            prefix[i + 1] = {prefix[i].n + n, prefix[i].n_log_n + (n > 0 ? n * std::log(n) : 0),
                             prefix[i].filled + (n > 0 ? 1 : 0)};
        }
        double const total = prefix.back().n;
        int best = size;
        double least = std::numeric_limits<double>::infinity();
        for (int kept = levels; kept <= size; ++kept) {
            auto const at = [&](int i) -> Sums const& { return prefix[static_cast<std::size_t>(i)]; };
            double const last = counts[static_cast<std::size_t>(kept - 1)], below = at(kept).n;
            double const beyond = total - below;
            if (!(below > 0)) continue;
            int const one = beyond > 0 && !(last > 0) ? 1 : 0;  // in Q's last bin
            // KL = sum p log(p / q), p = n / total, q = (mean of the level) / below; the last bin by itself.
            double sum = 0;
            for (int level = 0; level < levels; ++level) {
                auto const from = static_cast<int>(std::int64_t{level} * kept / levels);
                auto const to = static_cast<int>(std::int64_t{level + 1} * kept / levels);
                bool const end = level == levels - 1;
                double const n = at(to).n - at(from).n, n_q = n + (end ? one : 0);
                int const filled = at(to).filled - at(from).filled + (end ? one : 0);
                if (filled == 0) continue;
                double const log_mean = std::log(n_q / filled);
                sum += at(to).n_log_n - at(from).n_log_n - n * log_mean;
                if (end && beyond > 0)
                    sum += (last + beyond) * std::log(last + beyond) - beyond * log_mean -
                           (last > 0 ? last * std::log(last) : 0);
            }
            double const divergence = sum / total + std::log((below + one) / total);
            if (divergence < least) least = divergence, best = kept;
        }
        return best;
    }
    static_assert(Count >= 2, "qat::Entropy: at least two bins");
};

}  // namespace qat
