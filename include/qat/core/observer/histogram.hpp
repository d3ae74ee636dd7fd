#pragma once
// A histogram of everything seen, and in it the range whose grid has the least squared error.
// torch.ao: HistogramObserver (after caffe2's norm minimisation).

#include <qat/core/slots.hpp>
#include <qat/core/squared_error.hpp>

#include <limits>
#include <string_view>
#include <vector>

namespace qat {

/// How a histogram takes in a tensor that reaches beyond its ends.
/// exact:    the new ends are the extremes; older counts are spread by linear interpolation of their cumulative sum.
/// as_torch: what PyTorch 1.10 to 2.0 do, to be compared with them: the upper end is moved out so that old edges meet new
///           ones at 1/128 of a bin, and a tensor is counted between the ends cut to whole numbers: what lies beyond those is
///           not counted, and the others are stretched. Values up to 1.9 lose everything above 1.
enum class Counting { exact, as_torch };

/// Starting with the whole range, cuts 1e-5 of the values away, from the end where that moves the range further, as long as
/// the squared error does not grow. The first cut is always made, and the search stops at the first one that does not pay:
/// MeanSquaredError looks further.
template <int Count = 2048, Counting How = Counting::exact> struct Histogram {
    using slot = slot::observer;
    static constexpr std::string_view name = How == Counting::exact
                                                 ? "histogram, least squared error"
                                                 : "histogram as torch.ao, least squared error";
    static constexpr bool fixed = false, per_tensor = true, one_threshold = false;
    static constexpr int bins = Count;
    static constexpr Counting counting = How;

    /// The range that a grid of so many levels should cover.
    template <class Spec> static Interval cover(Bins const& h, Levels levels) {
        if (h.one_value()) return {h.min, h.max};
        auto const cumulative = [&] {
            std::vector<double> sums(h.counts.begin(), h.counts.end());
            std::partial_sum(sums.begin(), sums.end(), sums.begin());
            return sums;
        }();
        auto const total = cumulative.back();
        auto const steps = static_cast<double>(levels.hi - levels.lo + 1);
        // Error of `steps` levels at the centres of equal parts of bins first..last, in units of a bin.
        auto const error = [&](int first, int last) {
            double const step = (last - first + 1) / steps;  // bins
            double sum = 0, before = 0;
            for (int i = 0; i <= bins; ++i) {
                double const after = squared_error_integral((i - first) / step - 0.5, 0, steps - 1);
                if (i > 0)
                    sum += static_cast<double>(h.counts[static_cast<std::size_t>(i - 1)]) * (after - before);
                before = after;
            }
            return sum * step * step * step;
        };
        constexpr double share = 1e-5;
        double from = 0, to = 1, least = std::numeric_limits<double>::infinity();
        int first = 0, last = bins - 1;
        while (from < to) {
            auto const sum = [&](int i) { return cumulative[static_cast<std::size_t>(i)]; };
            int l = first, r = last;
            while (l < last && sum(l) < (from + share) * total) ++l;
            while (r > first && sum(r) > (to - share) * total) --r;
            bool const lower = l - first > last - r;
            (lower ? from : to) += lower ? share : -share;
            int const next_first = lower ? l : first, next_last = lower ? last : r;
            if (next_first == first && next_last == last) continue;
            double const e = error(next_first, next_last);
            if (e > least) break;
            least = e, first = next_first, last = next_last;
        }
        return {h.edge(static_cast<std::size_t>(first)), h.edge(static_cast<std::size_t>(last + 1))};
    }
    static_assert(Count >= 2, "qat::Histogram: at least two bins");
};

}  // namespace qat
