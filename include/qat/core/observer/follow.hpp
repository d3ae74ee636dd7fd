#pragma once
// How a range takes in what is seen, as values: one scalar rule for CPU loops and CUDA kernels.

#include <qat/core/host_device.hpp>

#include <cstdint>

namespace qat {

enum class Takes : std::uint8_t { extreme, average, latest };
struct FollowRule {
    Takes takes;
    float momentum = 1;  // of an average: the share of what is new
};

/// r + m * (seen - r)
QAT_HOST_DEVICE constexpr float moving_average(float range, float seen, float momentum) {
    return range + momentum * (seen - range);
}

QAT_HOST_DEVICE constexpr bool is_finite(float x) { return x - x == 0; }

/// An end of a range after `seen` came in. What is not finite is ignored; the first that is finite is taken as it is.
QAT_HOST_DEVICE constexpr float follow(FollowRule rule, float end, float seen, bool lower) {
    if (!is_finite(seen)) return end;
    bool const first = end == end && !is_finite(end);
    if (first || rule.takes == Takes::latest) return seen;
    if (rule.takes == Takes::average) return moving_average(end, seen, rule.momentum);
    return (lower ? seen < end : end < seen) ? seen : end;
}

}  // namespace qat
