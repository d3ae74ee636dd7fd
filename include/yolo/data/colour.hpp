#pragma once
// Colours of the generated data set, and how they differ.

#include <yolo/data/random.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace yolo::data {
namespace detail {
inline float real(Random& random, double low, double high) {
    return static_cast<float>(random.uniform(low, high));
}
}  // namespace detail

using Colour = std::array<float, 3>;  // BGR, 0..255

inline float difference(Colour const& a, Colour const& b) {
    return std::sqrt((a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1]) +
                     (a[2] - b[2]) * (a[2] - b[2]));
}
inline Colour blend(Colour const& a, Colour const& b, float t) {
    return {a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t};
}
/// Another one, each part of it at most `reach` away.
inline Colour near(Colour const& colour, Random& random, double reach) {
    Colour result{};
    for (std::size_t c = 0; c < 3; ++c)
        result[c] = std::clamp(colour[c] + detail::real(random, -reach, reach), 0.0f, 255.0f);
    return result;
}

/// The one of twelve random colours that is farthest from all that are used.
inline Colour contrasting(std::vector<Colour> const& used, Random& random) {
    Colour best{};
    float best_difference = -1;
    for (int i = 0; i < 12; ++i) {
        Colour const colour{detail::real(random, 0, 255), detail::real(random, 0, 255),
                            detail::real(random, 0, 255)};
        float nearest = 1e9f;
        for (Colour const& other : used) nearest = std::min(nearest, difference(colour, other));
        if (nearest > best_difference) best = colour, best_difference = nearest;
    }
    return best;
}

}  // namespace yolo::data
