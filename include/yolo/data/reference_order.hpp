#pragma once
// The order in which the reference sorts images by aspect ratio. Many images share a ratio, and which of them end up in
// which rectangular batch decides their padding; equal figures need the same order among equals. It is that of the
// median-of-three quicksort behind numpy.argsort (before its SIMD versions): Hoare partitions, short runs by insertion.

#include <cstddef>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace yolo {

/// Indices of `keys` in ascending order. Deterministic, not stable. No NaN.
inline std::vector<std::size_t> reference_order(std::span<double const> keys) {
    std::vector<std::size_t> order(keys.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (keys.size() < 2) return order;
    auto const less = [&](std::size_t a, std::size_t b) { return keys[order[a]] < keys[order[b]]; };
    auto const exchange = [&](std::size_t a, std::size_t b) { std::swap(order[a], order[b]); };

    std::vector<std::pair<std::size_t, std::size_t>> open{{0, keys.size() - 1}};  // first and last position
    while (!open.empty()) {
        auto [first, last] = open.back();
        open.pop_back();
        while (last > first + 15) {
            auto const middle = first + (last - first) / 2;
            if (less(middle, first)) exchange(middle, first);
            if (less(last, middle)) exchange(last, middle);
            if (less(middle, first)) exchange(middle, first);
            double const pivot = keys[order[middle]];
            exchange(middle, last - 1);
            auto low = first, high = last - 1;
            for (;;) {
                do ++low;
                while (keys[order[low]] < pivot);
                do --high;
                while (pivot < keys[order[high]]);
                if (low >= high) break;
                exchange(low, high);
            }
            exchange(low, last - 1);
            bool const left_is_smaller = low - first < last - low;  // the larger part waits
            if (left_is_smaller)
                open.emplace_back(low + 1, last), last = low - 1;
            else
                open.emplace_back(first, low - 1), first = low + 1;
        }
        for (auto i = first + 1; i <= last; ++i) {
            auto const moving = order[i];
            auto j = i;
            for (; j > first && keys[moving] < keys[order[j - 1]]; --j) order[j] = order[j - 1];
            order[j] = moving;
        }
    }
    return order;
}

}  // namespace yolo
