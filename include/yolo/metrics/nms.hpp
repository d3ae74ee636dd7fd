#pragma once
// Non-maximum suppression of decoded predictions, with YOLOv5's meaning of every option.
// Candidates are taken in order of confidence and compared only with the boxes kept so far of their class, so
// the work ends when max_detections boxes are kept; torchvision's form compares every candidate with every
// later one.

#include <qat/torch.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

namespace yolo {

struct NmsOptions {
    double confidence = 0.001;   // a box needs more, in objectness and in objectness * class; [0, 1)
    double iou = 0.6;            // a box that overlaps a better one by more is dropped; [0, 1]
    int max_detections = 300;    // per image
    bool multi_label = true;     // a box may be reported once per class; no effect with one class
    bool agnostic = false;       // boxes of different classes suppress each other
    std::vector<int> classes{};  // report only these; empty: all

    static constexpr std::size_t max_candidates = 30000;  // per image, the most confident
    static constexpr float class_offset = 7680;           // px; keeps the classes apart
};

namespace detail {

struct NmsCandidate {
    float confidence;
    std::uint32_t row;  // of the prediction
    std::uint16_t cls;
};

struct NmsBox {
    float x1, y1, x2, y2;

    float area() const { return (x2 - x1) * (y2 - y1); }
};

/// Whether the boxes' intersection over union is above `limit`, rounded as in torchvision's CPU kernel. Most
/// pairs are far below, and settled without a division.
inline bool overlap(NmsBox const& a, NmsBox const& b, double limit) {
    auto const width = std::max(0.f, std::min(a.x2, b.x2) - std::max(a.x1, b.x1));
    auto const height = std::max(0.f, std::min(a.y2, b.y2) - std::max(a.y1, b.y1));
    auto const inter = width * height, both = a.area() + b.area() - inter;
    if (inter < static_cast<float>(limit) * 0.999f * both) return false;
    return static_cast<double>(inter / both) > limit;
}

/// Every (row, class) that is confident enough, by row, then class. `rows` is [count, columns].
inline std::vector<NmsCandidate> candidates(float const* rows, std::int64_t count, std::int64_t columns,
                                            NmsOptions const& options) {
    auto const threshold = static_cast<float>(options.confidence);
    auto const classes = columns - 5;
    std::vector<char> wanted(static_cast<std::size_t>(classes), options.classes.empty());
    for (auto c : options.classes)
        if (c >= 0 && c < classes) wanted[static_cast<std::size_t>(c)] = 1;

    constexpr int block = 16;
    std::vector<NmsCandidate> found;
    auto const take = [&](float confidence, std::int64_t row, std::int64_t c) {
        if (confidence > threshold && wanted[static_cast<std::size_t>(c)])
            found.push_back({confidence, static_cast<std::uint32_t>(row), static_cast<std::uint16_t>(c)});
    };
    for (std::int64_t i = 0; i < count; ++i) {
        auto const* row = rows + i * columns;
        auto const objectness = row[4];
        if (!(objectness > threshold)) continue;
        if (options.multi_label) {
            std::int64_t c = 0;
            for (; c + block <= classes; c += block) {  // without a branch per class: few are confident
                int any = 0;
                for (int k = 0; k < block; ++k) any |= row[5 + c + k] * objectness > threshold;
                for (int k = 0; any && k < block; ++k) take(row[5 + c + k] * objectness, i, c + k);
            }
            for (; c < classes; ++c) take(row[5 + c] * objectness, i, c);
        } else {
            std::int64_t best = 0;
            for (std::int64_t c = 1; c < classes; ++c)
                if (row[5 + c] * objectness > row[5 + best] * objectness) best = c;
            take(row[5 + best] * objectness, i, best);
        }
    }
    return found;
}

/// Hands out the positions of the candidates, the most confident first, equals in their order; at most
/// max_candidates. Sorts in portions, because the kept boxes are usually found among the first.
/// Confidences are positive, so their bits sort as they do: one integer holds both.
class ByConfidence {
public:
    explicit ByConfidence(std::vector<NmsCandidate> const& found) : keys_(found.size()) {
        for (std::size_t i = 0; i < keys_.size(); ++i)
            keys_[i] = std::uint64_t{~std::bit_cast<std::uint32_t>(found[i].confidence)} << 32 | i;
        limit_ = std::min(keys_.size(), NmsOptions::max_candidates);
    }

    bool empty() const { return next_ == limit_; }

    std::size_t pop() {
        if (next_ == sorted_) {
            auto const at = [&](std::size_t i) { return keys_.begin() + static_cast<std::ptrdiff_t>(i); };
            sorted_ = std::min(sorted_ + portion, keys_.size());
            std::nth_element(at(next_), at(sorted_), keys_.end());
            std::sort(at(next_), at(sorted_));
        }
        return static_cast<std::uint32_t>(keys_[next_++]);
    }

private:
    static constexpr std::size_t portion = 1024;
    std::vector<std::uint64_t> keys_;
    std::size_t next_ = 0, sorted_ = 0, limit_ = 0;
};

/// One image: rows of x1, y1, x2, y2, confidence, class.
inline std::vector<float> nms_image(float const* rows, std::int64_t count, std::int64_t columns,
                                    NmsOptions const& options) {
    auto const found = candidates(rows, count, columns, options);
    auto const limit = static_cast<std::size_t>(std::max(0, options.max_detections));
    // Overlaps are those of boxes moved by their class, as in YOLOv5: the rounding is part of the result.
    std::vector<std::vector<NmsBox>> groups(options.agnostic ? 1 : static_cast<std::size_t>(columns - 5));
    std::vector<float> out;
    std::size_t kept = 0;
    for (ByConfidence order(found); kept < limit && !order.empty();) {
        auto const& candidate = found[order.pop()];
        auto const* row = rows + candidate.row * columns;
        auto const half_width = row[2] / 2, half_height = row[3] / 2;
        NmsBox const box{row[0] - half_width, row[1] - half_height, row[0] + half_width,
                         row[1] + half_height};
        auto const move =
            options.agnostic ? 0.f : static_cast<float>(candidate.cls) * NmsOptions::class_offset;
        NmsBox const moved{box.x1 + move, box.y1 + move, box.x2 + move, box.y2 + move};
        auto& group = groups[options.agnostic ? 0 : candidate.cls];
        auto const covers = [&](NmsBox const& better) { return overlap(better, moved, options.iou); };
        if (std::any_of(group.begin(), group.end(), covers)) continue;
        group.push_back(moved);
        out.insert(out.end(),
                   {box.x1, box.y1, box.x2, box.y2, candidate.confidence, static_cast<float>(candidate.cls)});
        ++kept;
    }
    return out;
}

/// The rows of all images on the CPU, [rows, 5 + C]; image i has those from first[i] up to first[i + 1].
struct NmsRows {
    torch::Tensor rows;
    std::vector<std::int64_t> first;
};

/// Only the rows that can be reported: what a device hands over.
inline NmsRows confident_rows(torch::Tensor const& prediction, double confidence) {
    auto const confident = prediction.select(2, 4) > confidence;  // [N, boxes]
    auto const counts = confident.sum(1).cpu();
    NmsRows out{prediction.index({confident}).to(torch::kFloat).cpu().contiguous(), {0}};
    for (std::int64_t i = 0; i < counts.size(0); ++i)
        out.first.push_back(out.first.back() + counts.data_ptr<std::int64_t>()[i]);
    return out;
}

inline NmsRows all_rows(torch::Tensor const& prediction) {
    NmsRows out{prediction.to(torch::kFloat).contiguous().view({-1, prediction.size(2)}), {}};
    for (std::int64_t i = 0; i <= prediction.size(0); ++i) out.first.push_back(i * prediction.size(1));
    return out;
}

/// Every image on a thread of its own, as far as there are threads.
inline std::vector<torch::Tensor> nms(NmsRows const& batch, NmsOptions const& options) {
    auto const images = static_cast<std::int64_t>(batch.first.size()) - 1, columns = batch.rows.size(1);
    std::vector<std::vector<float>> kept(static_cast<std::size_t>(images));
    at::parallel_for(0, images, 1, [&](std::int64_t begin, std::int64_t end) {
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
            auto const first = batch.first[i];
            kept[i] = nms_image(batch.rows.data_ptr<float>() + first * columns, batch.first[i + 1] - first,
                                columns, options);
        }
    });
    std::vector<torch::Tensor> out;
    out.reserve(kept.size());
    for (auto& rows : kept)
        out.push_back(torch::from_blob(rows.data(), {static_cast<std::int64_t>(rows.size() / 6), 6}).clone());
    return out;
}

}  // namespace detail

/// The detections of every image, the most confident first.
/// @param prediction  [N, boxes, 5 + C] as decode() gives: centre, size in pixels, objectness, class
///                    probabilities; any device: rows above the confidence are copied to the CPU
/// @returns           N float32 CPU tensors [n, 6]: x1, y1, x2, y2, confidence (objectness * class), class
inline std::vector<torch::Tensor> nms(torch::Tensor const& prediction, NmsOptions const& options = {}) {
    torch::NoGradGuard no_grad;
    TORCH_CHECK(prediction.dim() == 3 && prediction.size(2) > 5, "nms: the prediction has shape ",
                prediction.sizes(), ", want [N, boxes, 5 + classes]");
    TORCH_CHECK(options.confidence >= 0 && options.confidence <= 1 && options.iou >= 0 && options.iou <= 1,
                "nms: confidence ", options.confidence, " and IoU ", options.iou, ", want [0, 1] each");
    return detail::nms(prediction.is_cpu() ? detail::all_rows(prediction)
                                           : detail::confident_rows(prediction, options.confidence),
                       options);
}

}  // namespace yolo
