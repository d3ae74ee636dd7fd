#pragma once
// What a YOLOv5 is built from, as values: size, classes, anchors. The arithmetic is its type.

#include <yolo/model/size.hpp>

#include <array>

namespace yolo {

/// Width and height of the anchors in pixels, by level (strides 8, 16, 32).
struct AnchorBox {
    float width, height;
};
using Anchors = std::array<std::array<AnchorBox, 3>, 3>;

inline constexpr Anchors coco_anchors{{{{{10, 13}, {16, 30}, {33, 23}}},
                                       {{{30, 61}, {62, 45}, {59, 119}}},
                                       {{{116, 90}, {156, 198}, {373, 326}}}}};
inline constexpr std::array<int, 3> strides{8, 16, 32};  // pixels per cell, by level

struct YoloV5Options {
    Size size = nano;  // depth and width
    std::int64_t classes = 80;
    Anchors anchors = coco_anchors;

    static constexpr std::int64_t anchors_per_cell = 3;
    std::int64_t per_anchor() const { return classes + 5; }  // x, y, w, h, objectness, classes
    std::int64_t per_cell() const { return anchors_per_cell * per_anchor(); }
};

}  // namespace yolo
