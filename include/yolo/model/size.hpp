#pragma once
// The sizes of YOLOv5: how wide and how deep (depth_multiple and width_multiple of its YAML files).

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace yolo {

struct Size {
    double depth, width;

    /// Output channels of a layer that has `c` in the large network: a multiple of 8, at least that many.
    std::int64_t channels(std::int64_t c) const { return std::llround(std::ceil(double(c) * width / 8)) * 8; }
    /// Bottlenecks of a C3 that has `n` in the large network (Python's round: half to even), at least one.
    std::int64_t repeats(std::int64_t n) const {
        return std::max<std::int64_t>(1, std::llrint(double(n) * depth));
    }

    friend constexpr bool operator==(Size, Size) = default;
};
inline constexpr Size nano{0.33, 0.25}, small{0.33, 0.50}, medium{0.67, 0.75}, large{1, 1},
    extra_large{1.33, 1.25};

}  // namespace yolo
