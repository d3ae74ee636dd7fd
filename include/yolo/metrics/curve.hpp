#pragma once
// Curves over confidence and recall: interpolation, smoothing, average precision. No LibTorch.

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace yolo {

/// The value at x of the piecewise linear curve through (xs[i], ys[i]). xs rises; where it repeats, the last
/// point counts. Beyond the ends the value is `left` and ys.back().
/// Requires: xs and ys of one length, not empty.
inline double interpolate(double x, std::span<double const> xs, std::span<double const> ys, double left) {
    auto const after = static_cast<std::size_t>(std::upper_bound(xs.begin(), xs.end(), x) - xs.begin());
    if (after == 0) return left;
    if (after == xs.size()) return ys.back();
    auto const i = after - 1;
    return (ys[after] - ys[i]) / (xs[after] - xs[i]) * (x - xs[i]) + ys[i];
}

/// The highest precision at a recall of r or more; at recall 1 it falls to 0.
class PrecisionEnvelope {
public:
    /// @param recall     after each detection, rising     @param precision  after each detection
    PrecisionEnvelope(std::span<double const> recall, std::span<double const> precision) {
        recall_.insert(recall_.end(), recall.begin(), recall.end());
        precision_.insert(precision_.end(), precision.begin(), precision.end());
        recall_.push_back(1);
        precision_.push_back(0);
        for (auto i = precision_.size() - 1; i-- > 0;)
            precision_[i] = std::max(precision_[i], precision_[i + 1]);
    }

    double operator()(double r) const { return interpolate(r, recall_, precision_, precision_.front()); }

    /// Average precision: the area below, by trapezia on 101 recall points (COCO's grid).
    double area() const {
        constexpr int points = 101;
        double area = 0, last = 0;
        for (int i = 0; i < points; ++i) {
            auto const value = (*this)(i / 100.0);
            if (i > 0) area += (value + last) / 2 * 0.01;
            last = value;
        }
        return area;
    }

private:
    std::vector<double> recall_{0}, precision_{1};
};

inline double average_precision(std::span<double const> recall, std::span<double const> precision) {
    return PrecisionEnvelope(recall, precision).area();
}

/// A running mean over `width` points (odd), the ends repeated outwards.
inline std::vector<double> smoothed(std::span<double const> y, std::size_t width) {
    auto const half = static_cast<std::ptrdiff_t>(width / 2), size = static_cast<std::ptrdiff_t>(y.size());
    std::vector<double> out(y.size());
    for (std::ptrdiff_t i = 0; i < size; ++i) {
        double sum = 0;
        for (auto j = i - half; j <= i + half; ++j)
            sum += y[static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(j, 0, size - 1))];
        out[static_cast<std::size_t>(i)] = sum / static_cast<double>(width);
    }
    return out;
}

}  // namespace yolo
