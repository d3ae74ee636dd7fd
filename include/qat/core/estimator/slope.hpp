#pragma once
// What estimators that train a parameter have in common: the grid that a parameter means, and what an element of x
// contributes to the parameter's gradient.

#include <qat/core/arithmetic.hpp>

#include <cstdint>

namespace qat {

/// Scales are never larger than this, so that a parameter that has run away gives no infinities.
inline constexpr float largest_scale = 1.2676506002282294e30f;  // 2^100

/// x limited to [smallest_scale, largest_scale]; NaN becomes the smallest.
QAT_HOST_DEVICE constexpr float legal_scale(float x) { return clamp(x, smallest_scale, largest_scale); }

/// A parameter's grid as kernels want it.
struct LearnedGrid {
    float inverse;     // 1 / s
    Bounds codes;      // lo - z, hi - z
    float zero_point;  // z
    float clip;        // the real number where PACT clips; other estimators: not used
};

/// Of one element. The parameter's gradient is factor * sum of dy * parameter.
struct Slope {
    float input;      // dy/dx: 1 or 0
    float parameter;  // dy/dp / factor
    float offset;     // dy/d(offset) / factor
};

/// round(x / s), at most one beyond either end of the codes: what slopes are made of. NaN gives one below the lowest.
template <class Rounding> QAT_HOST_DEVICE constexpr float code_or_beyond(float x, LearnedGrid const& g) {
    return quantize<Rounding>(x, g.inverse, {g.codes.low - 1.0f, g.codes.high + 1.0f}).value;
}

// How slopes are written below, so that GCC's loops vectorise and every processor gives the same bits: conditions are
// numbers, 1 or 0, that are multiplied; nothing is computed in only one case; and x / s is clamped before anything is
// subtracted from it, else compilers may fuse the product with the difference.

}  // namespace qat
