#pragma once
// Which detections of an image count as correct, at every IoU threshold. No LibTorch.

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace yolo {

/// .5, .55, ... .95: the thresholds that mAP50-95 is a mean over.
inline constexpr std::array<float, 10> iou_thresholds{0.50f, 0.55f, 0.60f, 0.65f, 0.70f,
                                                      0.75f, 0.80f, 0.85f, 0.90f, 0.95f};

/// A labelled or detected box, corners in pixels.
struct ClassBox {
    int cls;
    float x1, y1, x2, y2;
};

/// Intersection over union of two boxes given by corners.
inline float box_iou(ClassBox const& a, ClassBox const& b) {
    auto const width = std::max(0.f, std::min(a.x2, b.x2) - std::max(a.x1, b.x1));
    auto const height = std::max(0.f, std::min(a.y2, b.y2) - std::max(a.y1, b.y1));
    auto const inter = width * height;
    return inter / ((a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - inter + 1e-7f);
}

/// Bit t of the result is set where a detection is correct at iou_thresholds[t]. YOLOv5's rule: a detection
/// can only claim the label of its class that it overlaps most; among the detections that claim a label and
/// reach the threshold, the first one has it.
/// @param detections  the most confident first
inline std::vector<std::uint16_t> match_detections(std::span<ClassBox const> detections,
                                                   std::span<ClassBox const> labels) {
    std::vector<std::uint16_t> correct(detections.size()), taken(labels.size());
    for (std::size_t d = 0; d < detections.size(); ++d) {
        std::size_t best = 0;
        float best_iou = -1;
        for (std::size_t l = 0; l < labels.size(); ++l) {
            if (labels[l].cls != detections[d].cls) continue;
            auto const iou = box_iou(labels[l], detections[d]);
            if (iou >= best_iou) best = l, best_iou = iou;
        }
        if (best_iou < iou_thresholds.front()) continue;
        std::uint16_t reached = 0;
        for (std::size_t t = 0; t < iou_thresholds.size(); ++t)
            if (best_iou >= iou_thresholds[t]) reached = static_cast<std::uint16_t>(reached | 1u << t);
        correct[d] = static_cast<std::uint16_t>(reached & ~taken[best]);
        taken[best] = static_cast<std::uint16_t>(taken[best] | reached);
    }
    return correct;
}

}  // namespace yolo
