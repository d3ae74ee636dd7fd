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
    bool input;       // dy/dx is 1, else 0
    float parameter;  // dy/dp / factor
    float offset;     // dy/d(offset) / factor
};

}  // namespace qat
