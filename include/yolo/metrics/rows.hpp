#pragma once
// Detections and labels as tensors hold them, to boxes.

#include <qat/torch.hpp>
#include <yolo/metrics/confusion.hpp>

namespace yolo {
namespace detail {

inline torch::Tensor metric_rows(torch::Tensor const& t, std::int64_t columns, char const* what) {
    if (t.numel() == 0) return torch::empty({0, columns});
    TORCH_CHECK(t.dim() == 2 && t.size(1) == columns, "metrics: the ", what, " have shape ", t.sizes(),
                ", want [n, ", columns, "]");
    return t.detach().to(torch::kCPU, torch::kFloat).contiguous();
}

inline int class_number(float number, int classes, char const* what) {
    if (!(number >= 0 && number < static_cast<float>(classes)))
        throw std::runtime_error("metrics: a " + std::string(what) + " of class " + std::to_string(number) +
                                 ", but there are " + std::to_string(classes) + " classes");
    return static_cast<int>(number);
}

}  // namespace detail

/// @param detections  [n, 6]: x1, y1, x2, y2, confidence, class
/// throws std::runtime_error where a class is not in [0, classes)
inline std::vector<ScoredBox> detected_boxes(torch::Tensor const& detections, int classes) {
    auto const rows = detail::metric_rows(detections, 6, "detections");
    std::vector<ScoredBox> boxes;
    auto const* row = rows.data_ptr<float>();
    for (std::int64_t i = 0; i < rows.size(0); ++i, row += 6)
        boxes.push_back(
            {{detail::class_number(row[5], classes, "detection"), row[0], row[1], row[2], row[3]}, row[4]});
    return boxes;
}

/// @param labels  [m, 5]: class, x1, y1, x2, y2
/// throws std::runtime_error where a class is not in [0, classes)
inline std::vector<ClassBox> labelled_boxes(torch::Tensor const& labels, int classes) {
    auto const rows = detail::metric_rows(labels, 5, "labels");
    std::vector<ClassBox> boxes;
    auto const* row = rows.data_ptr<float>();
    for (std::int64_t i = 0; i < rows.size(0); ++i, row += 5)
        boxes.push_back({detail::class_number(row[0], classes, "label"), row[1], row[2], row[3], row[4]});
    return boxes;
}

}  // namespace yolo
