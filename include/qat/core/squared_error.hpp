#pragma once
// What quantization costs: the squared distance between a value and its place on the grid, of one value and of a histogram.

#include <qat/core/arithmetic.hpp>
#include <qat/core/bins.hpp>

#include <limits>

namespace qat {

/// (y - x)^2, y the value of x on the grid. inverse: 1 / scale. 0 where x is not finite: such values say nothing.
template <class Rounding>
QAT_HOST_DEVICE constexpr float squared_error(float x, float scale, float inverse, Bounds b) {
    float const e = dequantize(quantize<Rounding>(x, inverse, b).value, scale) - x;
    constexpr float largest = std::numeric_limits<float>::max();
    return x >= -largest && x <= largest ? e * e : 0.0f;
}

/// A(t), the integral of (t - c(t))^2 from 0 to t, c(t) = clamp(round(t), low, high): t in steps of the grid.
///     A(t) = c / 12 + (t - c)^3 / 3, since every whole step adds 1/12; it goes on through the ties and beyond both ends.
QAT_HOST_DEVICE constexpr double squared_error_integral(double t, double low, double high) {
    double const inside = t > low ? (t < high ? t : high) : low;
    double const shifted = inside + 0.5;
    auto c = static_cast<double>(static_cast<std::int64_t>(shifted));
    if (c > shifted) c -= 1;  // the conversion rounds towards zero; this makes it floor
    c = c > high ? high : c;
    double const rest = t - c;
    return c / 12 + rest * rest * rest / 3;
}

/// The sum over a histogram, values spread evenly within a bin, rounded to the nearest.
inline double squared_error(Bins const& h, double scale, Bounds b) {
    double const low = b.low, high = b.high;
    if (h.one_value()) {
        double const t = h.min / scale;
        double const inside = t > low ? (t < high ? t : high) : low;
        double const e = static_cast<double>(round_half_even(static_cast<float>(inside))) - t;
        return h.total() * e * e * scale * scale;
    }
    double const first = h.min / scale, step = h.width() / scale;
    double sum = 0, before = squared_error_integral(first, low, high);
    for (std::size_t i = 0; i < h.counts.size(); ++i) {
        auto const after = squared_error_integral(first + step * static_cast<double>(i + 1), low, high);
        sum += h.counts[i] * (after - before);
        before = after;
    }
    return sum * scale * scale / step;
}

/// s = 2^k / (hi + 1) with the least error of a histogram, k out of the candidates of PowerOfTwo<LeastError>; of several,
/// the finest grid. requires a symmetric scheme.
template <class Spec> float least_error_scale(Bins const& h, Levels levels) {
    float const least_reach = smallest_scale * static_cast<float>(levels.hi + 1);
    double const end = Spec::format::is_signed && -h.min > h.max ? -h.min : h.max;
    float const reach = end > least_reach ? static_cast<float>(end) : least_reach;
    int const top = exponent(reach, Ceil) + 1;
    float best = 0;
    double least = 0;
    for (int k = top; k > top - Spec::scale::candidates; --k) {
        float const scale = exp2(k) / static_cast<float>(levels.hi + 1);
        if (best > 0 && scale < smallest_scale) break;
        double const e = squared_error(h, scale, bounds(levels.lo, levels.hi, 0));
        if (best == 0 || e <= least) best = scale, least = e;
    }
    return best;
}

}  // namespace qat
