#pragma once
// Precision, recall and mean average precision of a validation run, as YOLOv5 reports them.

#include <qat/torch.hpp>
#include <yolo/metrics/curve.hpp>
#include <yolo/metrics/matching.hpp>

#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace yolo {

/// One class. Precision and recall are taken where the mean F1 over the classes is highest, at IoU 0.5.
struct ClassResult {
    int cls = 0;
    std::int64_t images = 0;  // that hold a label of the class
    std::int64_t labels = 0;
    double precision = 0, recall = 0;
    double map50 = 0;  // average precision at IoU 0.5
    double map = 0;    // mean over the ten thresholds
};

/// Means over the classes that have labels; all zero where there are none.
struct Evaluation {
    double precision = 0, recall = 0, map50 = 0, map = 0;
    std::int64_t images = 0, labels = 0;
    std::vector<ClassResult> per_class;  // classes with labels, by number

    /// What the best checkpoint is chosen by.
    double fitness() const { return 0.1 * map50 + 0.9 * map; }
};

/// Collects a validation run image by image. One object for one thread.
class DetectionMetrics {
public:
    explicit DetectionMetrics(int classes) : classes_(static_cast<std::size_t>(classes)) {
        TORCH_CHECK(classes > 0, "metrics: ", classes, " classes, want at least 1");
    }

    /// One image; boxes in pixels of the original image.
    /// @param detections  [n, 6]: x1, y1, x2, y2, confidence, class
    /// @param labels      [m, 5]: class, x1, y1, x2, y2
    void add(torch::Tensor detections, torch::Tensor labels) {
        detections = rows(detections, 6, "detections");
        labels = rows(labels, 5, "labels");
        ++images_;
        std::vector<ClassBox> wanted;
        std::vector<char> present(classes_.size());
        for (std::int64_t i = 0; i < labels.size(0); ++i) {
            auto const* row = labels.data_ptr<float>() + i * 5;
            auto const c = class_number(row[0], "label");
            wanted.push_back({static_cast<int>(c), row[1], row[2], row[3], row[4]});
            ++classes_[c].labels;
            present[c] = 1;
        }
        for (std::size_t c = 0; c < present.size(); ++c) classes_[c].images += present[c];

        auto const* data = detections.data_ptr<float>();
        std::vector<std::int64_t> order(static_cast<std::size_t>(detections.size(0)));
        std::iota(order.begin(), order.end(), std::int64_t{0});
        std::stable_sort(order.begin(), order.end(),
                         [&](auto a, auto b) { return data[a * 6 + 4] > data[b * 6 + 4]; });
        std::vector<ClassBox> found;
        for (auto i : order) {
            auto const* row = data + i * 6;
            auto const c = static_cast<int>(class_number(row[5], "detection"));
            found.push_back({c, row[0], row[1], row[2], row[3]});
        }
        auto const correct = match_detections(found, wanted);
        for (std::size_t d = 0; d < found.size(); ++d)
            classes_[static_cast<std::size_t>(found[d].cls)].detections.push_back(
                {data[order[d] * 6 + 4], correct[d]});
    }

    /// The figures of everything added so far.
    Evaluation compute() const {
        Evaluation out;
        out.images = images_;
        std::vector<Curves> curves;
        std::vector<double> f1(points);
        for (std::size_t c = 0; c < classes_.size(); ++c) {
            auto const& cls = classes_[c];
            if (cls.labels == 0) continue;
            auto& result = out.per_class.emplace_back();
            result.cls = static_cast<int>(c);
            result.images = cls.images;
            result.labels = cls.labels;
            out.labels += cls.labels;
            auto const& curve = curves.emplace_back(evaluate(cls, result));
            for (std::size_t i = 0; i < points; ++i)
                f1[i] +=
                    2 * curve.precision[i] * curve.recall[i] / (curve.precision[i] + curve.recall[i] + 1e-16);
        }
        if (curves.empty()) return out;
        auto const classes = static_cast<double>(curves.size());
        auto const smooth = smoothed(f1, points / 10 + 1);
        auto const best =
            static_cast<std::size_t>(std::max_element(smooth.begin(), smooth.end()) - smooth.begin());
        for (std::size_t i = 0; i < curves.size(); ++i) {
            auto& result = out.per_class[i];
            result.precision = curves[i].precision[best];
            result.recall = curves[i].recall[best];
            out.precision += result.precision / classes;
            out.recall += result.recall / classes;
            out.map50 += result.map50 / classes;
            out.map += result.map / classes;
        }
        return out;
    }

private:
    static constexpr std::size_t points = 1000;  // of the curves over confidence, from 0 to 1

    struct Detection {
        float confidence;
        std::uint16_t correct;  // bit t: at iou_thresholds[t]
    };
    struct Class {
        std::int64_t images = 0, labels = 0;
        std::vector<Detection> detections;
    };
    struct Curves {  // at IoU 0.5, over confidence
        std::vector<double> precision = std::vector<double>(points), recall = precision;
    };

    static torch::Tensor rows(torch::Tensor const& t, std::int64_t columns, char const* what) {
        if (t.numel() == 0) return torch::empty({0, columns});
        TORCH_CHECK(t.dim() == 2 && t.size(1) == columns, "metrics: the ", what, " have shape ", t.sizes(),
                    ", want [n, ", columns, "]");
        return t.detach().to(torch::kCPU, torch::kFloat).contiguous();
    }

    std::size_t class_number(float number, char const* what) const {
        if (!(number >= 0 && number < static_cast<float>(classes_.size())))
            throw std::runtime_error("metrics: a " + std::string(what) + " of class " +
                                     std::to_string(number) + ", but there are " +
                                     std::to_string(classes_.size()) + " classes");
        return static_cast<std::size_t>(number);
    }

    /// The average precisions of a class into `result`; its curves over confidence.
    static Curves evaluate(Class const& cls, ClassResult& result) {
        Curves curves;
        if (cls.detections.empty()) return curves;
        auto sorted = cls.detections;
        std::stable_sort(sorted.begin(), sorted.end(),
                         [](auto const& a, auto const& b) { return a.confidence > b.confidence; });
        std::vector<double> falling(sorted.size()), recall(sorted.size()), precision(sorted.size());
        for (std::size_t i = 0; i < sorted.size(); ++i)
            falling[i] = -static_cast<double>(sorted[i].confidence);

        for (std::size_t t = 0; t < iou_thresholds.size(); ++t) {
            double hits = 0;
            for (std::size_t i = 0; i < sorted.size(); ++i) {
                hits += sorted[i].correct >> t & 1;
                recall[i] = hits / static_cast<double>(cls.labels);
                precision[i] = hits / static_cast<double>(i + 1);
            }
            auto const ap = average_precision(recall, precision);
            result.map += ap / static_cast<double>(iou_thresholds.size());
            if (t > 0) continue;
            result.map50 = ap;
            for (std::size_t i = 0; i < points; ++i) {  // x falls from 0 to -1 as the confidence rises
                auto const x = -static_cast<double>(i) / static_cast<double>(points - 1);
                curves.recall[i] = interpolate(x, falling, recall, 0);
                curves.precision[i] = interpolate(x, falling, precision, 1);
            }
        }
        return curves;
    }

    std::vector<Class> classes_;
    std::int64_t images_ = 0;
};

}  // namespace yolo
