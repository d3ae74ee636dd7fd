#pragma once
// How well anchors fit boxes, by the rule with which the loss gives boxes to anchors. No LibTorch.

#include <yolo/model/options.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

namespace yolo {

/// Pixels at the network's input.
struct BoxSize {
    float width = 0, height = 0;
};

/// An anchor fits a box if their widths and their heights differ by less than the factor `threshold`. With the
/// fit  x = min(w / a, a / w, h / b, b / h)  of a box (w, h) and an anchor (a, b):  x > 1 / threshold.
struct AnchorReport {
    double recall = 0;      // share of boxes that some anchor fits: best possible recall (BPR)
    double per_target = 0;  // anchors that fit a box, on average
    double mean_fit = 0;    // x over all pairs,
    double best_fit = 0;    // over boxes with their best anchor,
    double past_fit = 0;    // and over pairs that fit
    std::size_t boxes = 0;
};

namespace detail {

inline std::array<BoxSize, 9> in_one_row(Anchors const& anchors) {
    std::array<BoxSize, 9> row;
    for (std::size_t i = 0; i < row.size(); ++i) {
        AnchorBox const& anchor = anchors[i / 3][i % 3];
        row[i] = {anchor.width, anchor.height};
    }
    return row;
}
inline Anchors by_level(std::span<BoxSize const, 9> row) {
    Anchors anchors;
    for (std::size_t i = 0; i < row.size(); ++i) anchors[i / 3][i % 3] = {row[i].width, row[i].height};
    return anchors;
}

}  // namespace detail

/// threshold: hyper-parameter anchor_t. Of no boxes everything is 0.
inline AnchorReport evaluate_anchors(std::span<BoxSize const> anchors, std::span<BoxSize const> boxes,
                                     double threshold) {
    AnchorReport report;
    report.boxes = boxes.size();
    if (boxes.empty() || anchors.empty()) return report;
    auto const limit = static_cast<float>(1 / threshold);
    std::size_t reached = 0, fitting = 0;
    for (BoxSize const& box : boxes) {
        float best = 0;
        for (BoxSize const& anchor : anchors) {
            float const w = box.width / anchor.width, h = box.height / anchor.height;
            float const x = std::min(std::min(w, 1 / w), std::min(h, 1 / h));
            best = std::max(best, x);
            report.mean_fit += x;
            if (x > limit) ++fitting, report.past_fit += x;
        }
        report.best_fit += best;
        reached += best > limit;
    }
    auto const n = static_cast<double>(boxes.size());
    report.recall = static_cast<double>(reached) / n;
    report.per_target = static_cast<double>(fitting) / n;
    report.mean_fit /= n * static_cast<double>(anchors.size()), report.best_fit /= n;
    report.past_fit /= static_cast<double>(std::max<std::size_t>(fitting, 1));
    return report;
}
inline AnchorReport evaluate_anchors(Anchors const& anchors, std::span<BoxSize const> boxes,
                                     double threshold) {
    return evaluate_anchors(detail::in_one_row(anchors), boxes, threshold);
}

/// Are the last level's anchors smaller than the first one's, by their mean area?
inline bool in_reversed_order(Anchors const& anchors) {
    auto const area = [](std::array<AnchorBox, 3> const& level) {
        float sum = 0;
        for (AnchorBox const& anchor : level) sum += anchor.width * anchor.height;
        return sum;
    };
    return area(anchors.back()) < area(anchors.front());
}

/// Anchors must grow with the strides; where they do not the levels are turned round.
inline Anchors check_anchor_order(Anchors anchors) {
    if (in_reversed_order(anchors)) std::swap(anchors.front(), anchors.back());
    return anchors;
}

/// What the search for anchors makes large: the mean fit of boxes with their best anchor, counted as 0 where that
/// does not fit. Many times as fast as evaluate_anchors; the order of the sum is fixed.
class AnchorFitness {
public:
    AnchorFitness(std::span<BoxSize const> boxes, double threshold)
        : limit_(static_cast<float>(1 / threshold)), boxes_(boxes.size()),
          blocks_((boxes.size() + length - 1) / length) {
        for (std::size_t i = 0; i < boxes.size(); ++i) {
            Block& block = blocks_[i / length];
            std::size_t const at = i % length;
            block.width[at] = boxes[i].width, block.height[at] = boxes[i].height;
            block.per_width[at] = 1 / boxes[i].width, block.per_height[at] = 1 / boxes[i].height;
        }
    }

    double operator()(std::span<BoxSize const> anchors) const {
        double sum = 0;
        for (Block const& block : blocks_) {
            std::array<float, length> best{};
            for (BoxSize const& anchor : anchors) {
                float const w = anchor.width, h = anchor.height, per_w = 1 / w, per_h = 1 / h;
                for (std::size_t i = 0; i < length; ++i) {
                    float const x = smaller(block.width[i] * per_w, block.per_width[i] * w);
                    float const y = smaller(block.height[i] * per_h, block.per_height[i] * h);
                    float const fit = smaller(x, y);
                    best[i] = best[i] < fit ? fit : best[i];
                }
            }
            std::array<float, lanes> parts{};
            for (std::size_t i = 0; i < length; i += lanes)
                for (std::size_t k = 0; k < lanes; ++k) parts[k] += best[i + k] > limit_ ? best[i + k] : 0.0f;
            for (float const part : parts) sum += part;
        }
        return boxes_ == 0 ? 0 : sum / static_cast<double>(boxes_);
    }

private:
    static constexpr std::size_t length = 64, lanes = 8;  // known to the compiler: it makes the loops wide
    struct Block {                                        // what is not used fits nothing
        std::array<float, length> width{}, height{}, per_width{}, per_height{};
    };
    static float smaller(float a, float b) { return a < b ? a : b; }

    float limit_;
    std::size_t boxes_;
    std::vector<Block> blocks_;
};

}  // namespace yolo
