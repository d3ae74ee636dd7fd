#pragma once
// A histogram as observers search it: how many values fell into each of equally wide bins.

#include <qat/core/host_device.hpp>

#include <cstddef>
#include <numeric>
#include <span>

namespace qat {

/// The two ends of a range.
struct Interval {
    double min, max;
};

/// counts[i]: of values in [edge(i), edge(i + 1)), the last bin with its upper edge. min == max: all values are the same.
struct Bins {
    std::span<float const> counts;
    double min, max;

    double width() const { return (max - min) / static_cast<double>(counts.size()); }
    double edge(std::size_t i) const {
        return i == counts.size() ? max : min + width() * static_cast<double>(i);
    }
    double total() const { return std::accumulate(counts.begin(), counts.end(), 0.0); }
    bool one_value() const { return !(max > min); }
};

/// The bin of x; per_unit: bins per unit of x. Below 0 or above `last` where x lies outside, -1 if it is no number.
QAT_HOST_DEVICE constexpr int bin_of(float x, float lo, float per_unit, int last) {
    float const t = (x - lo) * per_unit;  // x == hi belongs to the last bin
    float const end = static_cast<float>(last) + 1;
    return t >= 0 && t <= end ? (t < end ? static_cast<int>(t) : last) : -1;
}

}  // namespace qat
