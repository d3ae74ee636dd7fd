#pragma once
// Which class is taken for which. No LibTorch; rows.hpp makes boxes from tensors.

#include <yolo/metrics/matching.hpp>

#include <cstddef>
#include <stdexcept>
#include <string>

namespace yolo {

/// A detection.
struct ScoredBox {
    ClassBox box;
    float confidence;
};

/// Counts of (predicted class, labelled class); the number behind the last class is background: a label that
/// nothing was found for, or a detection without a label. Pairs are made as in YOLOv5 v7.0, whatever the
/// classes: each detection claims the label that it overlaps most, each label keeps the claim that overlaps
/// most. As there, detections without a label count only in images in which some pair was made.
class ConfusionMatrix {
public:
    /// @param confidence  detections count above it     @param iou  pairs overlap by more
    explicit ConfusionMatrix(int classes, double confidence = 0.25, double iou = 0.45)
        : classes_(classes), confidence_(static_cast<float>(confidence)), iou_(static_cast<float>(iou)) {
        if (classes <= 0)
            throw std::runtime_error("confusion matrix: " + std::to_string(classes) +
                                     " classes, want at least 1");
        counts_.resize(side() * side());
    }

    /// One image.
    void add(std::span<ScoredBox const> detections, std::span<ClassBox const> labels) {
        constexpr auto none = static_cast<std::size_t>(-1);
        std::vector<std::size_t> partner(labels.size(), none);  // the detection that a label keeps
        std::vector<float> overlap(labels.size());
        std::vector<char> paired(detections.size());
        for (std::size_t d = 0; d < detections.size(); ++d) {
            if (!(detections[d].confidence > confidence_)) continue;
            std::size_t best = none;
            float best_iou = iou_;
            for (std::size_t l = 0; l < labels.size(); ++l) {
                auto const iou = box_iou(labels[l], detections[d].box);
                if (iou > iou_ && iou >= best_iou) best = l, best_iou = iou;
            }
            if (best == none || (partner[best] != none && best_iou < overlap[best])) continue;
            if (partner[best] != none) paired[partner[best]] = 0;
            partner[best] = d, overlap[best] = best_iou, paired[d] = 1;
        }
        bool any = false;
        for (std::size_t l = 0; l < labels.size(); ++l) {
            any |= partner[l] != none;
            ++count(partner[l] != none ? detections[partner[l]].box.cls : classes_, labels[l].cls);
        }
        for (std::size_t d = 0; any && d < detections.size(); ++d)
            if (detections[d].confidence > confidence_ && !paired[d])
                ++count(detections[d].box.cls, classes_);
    }

    int classes() const { return classes_; }

    /// How often `actual` was taken for `predicted`; classes() is background.
    std::int64_t operator()(int predicted, int actual) const { return counts_[place(predicted, actual)]; }

    /// The same as a share of its column, which is all of `actual`; [0, 1].
    double share(int predicted, int actual) const {
        std::int64_t column = 0;
        for (int row = 0; row <= classes_; ++row) column += (*this)(row, actual);
        return column == 0 ? 0
                           : static_cast<double>((*this)(predicted, actual)) / static_cast<double>(column);
    }

private:
    std::size_t side() const { return static_cast<std::size_t>(classes_) + 1; }
    std::size_t place(int predicted, int actual) const {
        if (std::min(predicted, actual) < 0 || std::max(predicted, actual) > classes_)
            throw std::runtime_error("confusion matrix: class " + std::to_string(predicted) + " or " +
                                     std::to_string(actual) + ", but there are " + std::to_string(classes_) +
                                     " classes");
        return static_cast<std::size_t>(predicted) * side() + static_cast<std::size_t>(actual);
    }
    std::int64_t& count(int predicted, int actual) { return counts_[place(predicted, actual)]; }

    int classes_;
    float confidence_, iou_;
    std::vector<std::int64_t> counts_;  // [classes + 1, classes + 1], rows: predicted
};

}  // namespace yolo
