#pragma once
// A picture on its way into a batch, with its boxes and polygons in pixels.

#include <yolo/data/image.hpp>
#include <yolo/data/labels.hpp>

namespace yolo {

/// A box by its corners, in pixels.
struct PixelBox {
    float cls = 0, x1 = 0, y1 = 0, x2 = 0, y2 = 0;
    float width() const { return x2 - x1; }
    float height() const { return y2 - y1; }
    bool operator==(PixelBox const&) const = default;
};

/// A picture (BGR [H, W, 3]) with its boxes.
struct Sample {
    cv::Mat image;
    std::vector<PixelBox> boxes;
    std::vector<Segment> segments =
        {};  // pixels; none, or one a box (without points: the box alone is known)
};

/// x1 = width * (cx - w / 2) + left, ...: where boxes are once the picture has width x height pixels and is
/// moved.
inline std::vector<PixelBox> to_pixels(std::vector<Box> const& boxes, double width, double height,
                                       double left = 0, double top = 0) {
    auto const at = [](double fraction, double side, double offset) {
        return static_cast<float>(fraction * side + offset);
    };
    std::vector<PixelBox> result;
    result.reserve(boxes.size());
    for (Box const& box : boxes) {
        double const half_w = box.w / 2.0, half_h = box.h / 2.0;
        result.push_back({box.cls, at(box.cx - half_w, width, left), at(box.cy - half_h, height, top),
                          at(box.cx + half_w, width, left), at(box.cy + half_h, height, top)});
    }
    return result;
}

/// The same of a polygon's points.
inline Segment to_pixels(Segment const& segment, double width, double height, double left = 0,
                         double top = 0) {
    Segment result;
    result.reserve(segment.size());
    for (Point const& point : segment)
        result.push_back(
            {static_cast<float>(point.x * width + left), static_cast<float>(point.y * height + top)});
    return result;
}

/// The inverse, after clipping to the picture less a thousandth of a pixel.
inline Box to_fraction(PixelBox const& box, int width, int height) {
    float const w = static_cast<float>(width), h = static_cast<float>(height), margin = 1e-3f;
    float const x1 = std::clamp(box.x1, 0.0f, w - margin), x2 = std::clamp(box.x2, 0.0f, w - margin);
    float const y1 = std::clamp(box.y1, 0.0f, h - margin), y2 = std::clamp(box.y2, 0.0f, h - margin);
    return {box.cls, (x1 + x2) / 2 / w, (y1 + y2) / 2 / h, (x2 - x1) / w, (y2 - y1) / h};
}

/// The part of a box that lies in [0, width] x [0, height].
inline PixelBox clipped(PixelBox const& box, float width, float height) {
    return {box.cls, std::clamp(box.x1, 0.0f, width), std::clamp(box.y1, 0.0f, height),
            std::clamp(box.x2, 0.0f, width), std::clamp(box.y2, 0.0f, height)};
}

}  // namespace yolo
