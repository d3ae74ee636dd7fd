#pragma once
// Mirrored pictures.

#include <yolo/data/sample.hpp>

namespace yolo {

inline void flip_boxes_left_right(std::vector<PixelBox>& boxes, float width) {
    for (PixelBox& box : boxes) box = {box.cls, width - box.x2, box.y1, width - box.x1, box.y2};
}
inline void flip_boxes_up_down(std::vector<PixelBox>& boxes, float height) {
    for (PixelBox& box : boxes) box = {box.cls, box.x1, height - box.y2, box.x2, height - box.y1};
}

// The pixels may be shared, so they are written anew. Polygons are not followed: they have served by then.
inline void flip_left_right(Sample& sample) {
    cv::Mat flipped;
    cv::flip(sample.image, flipped, 1);
    sample.image = flipped;
    flip_boxes_left_right(sample.boxes, static_cast<float>(flipped.cols));
}
inline void flip_up_down(Sample& sample) {
    cv::Mat flipped;
    cv::flip(sample.image, flipped, 0);
    sample.image = flipped;
    flip_boxes_up_down(sample.boxes, static_cast<float>(flipped.rows));
}

}  // namespace yolo
