#pragma once
// Boxes as tensors: between centre and corner form, and from a letterbox back to the original picture. Boxes
// are in the last dimension's first four columns; further columns are kept.

#include <yolo/data/loader.hpp>

namespace yolo {

/// x1 = cx - w / 2, ... ; [..., >= 4] -> the same shape
inline torch::Tensor xywh_to_xyxy(torch::Tensor const& boxes) {
    auto result = boxes.clone();
    auto const half = boxes.slice(-1, 2, 4) / 2;
    result.slice(-1, 0, 2) = boxes.slice(-1, 0, 2) - half;
    result.slice(-1, 2, 4) = boxes.slice(-1, 0, 2) + half;
    return result;
}

/// cx = (x1 + x2) / 2, w = x2 - x1, ... ; [..., >= 4] -> the same shape
inline torch::Tensor xyxy_to_xywh(torch::Tensor const& boxes) {
    auto result = boxes.clone();
    auto const low = boxes.slice(-1, 0, 2), high = boxes.slice(-1, 2, 4);
    result.slice(-1, 0, 2) = (low + high) / 2;
    result.slice(-1, 2, 4) = high - low;
    return result;
}

/// Centre form in fractions of width x height pixels to corners in pixels, moved by the pads.
inline torch::Tensor xywhn_to_xyxy(torch::Tensor const& boxes, double width, double height, double pad_w = 0,
                                   double pad_h = 0) {
    auto result = xywh_to_xyxy(boxes);
    for (int const i : {0, 2}) result.select(-1, i).mul_(width).add_(pad_w);
    for (int const i : {1, 3}) result.select(-1, i).mul_(height).add_(pad_h);
    return result;
}

/// Corners limited to [0, width] x [0, height] pixels, in place.
inline torch::Tensor& clip_boxes(torch::Tensor& boxes, int height, int width) {
    for (int const i : {0, 2}) boxes.select(-1, i).clamp_(0, width);
    for (int const i : {1, 3}) boxes.select(-1, i).clamp_(0, height);
    return boxes;
}

/// Corners in pixels of a letterboxed picture to corners in pixels of the original, clipped. As in YOLOv5
/// both axes are divided by ratio_h, which rounding may let differ from ratio_w.
inline torch::Tensor scale_boxes(torch::Tensor const& boxes, ImageInfo const& info) {
    auto result = boxes.clone();
    for (int const i : {0, 2}) result.select(-1, i).sub_(info.pad_w).div_(info.ratio_h);
    for (int const i : {1, 3}) result.select(-1, i).sub_(info.pad_h).div_(info.ratio_h);
    return clip_boxes(result, info.height0, info.width0);
}

/// The same where only the letterbox's size is known, height x width pixels: the picture fills it in one direction and
/// stands in the middle of the other. What detection uses; in a letterbox of whole strides its ratio may differ a little
/// from the one that the picture was made with.
inline torch::Tensor scale_boxes(torch::Tensor const& boxes, int height, int width, int height0, int width0) {
    ImageInfo info;
    info.height0 = height0, info.width0 = width0;
    info.ratio_h = std::min(static_cast<double>(height) / height0, static_cast<double>(width) / width0);
    info.ratio_w = info.ratio_h;
    info.pad_w = (width - width0 * info.ratio_h) / 2;
    info.pad_h = (height - height0 * info.ratio_h) / 2;
    return scale_boxes(boxes, info);
}

}  // namespace yolo
