#pragma once
// Precision, recall and mean average precision of a validation run, as YOLOv5 reports them.

#include <qat/torch.hpp>
#include <yolo/metrics/curve.hpp>
#include <yolo/metrics/evaluation.hpp>
#include <yolo/metrics/rows.hpp>

namespace yolo {

/// Are the curves part of an Evaluation? They take 24 kB a class.
enum class KeepCurves { no, yes };

/// Collects a validation run image by image. One object for one thread.
class DetectionMetrics {
public:
    explicit DetectionMetrics(int classes) : classes_(static_cast<std::size_t>(classes)) {
        TORCH_CHECK(classes > 0, "metrics: ", classes, " classes, want at least 1");
    }

    /// One image; boxes in pixels of the original image.
    /// @param detections  [n, 6]: x1, y1, x2, y2, confidence, class
    /// @param labels      [m, 5]: class, x1, y1, x2, y2
    void add(torch::Tensor const& detections, torch::Tensor const& labels) {
        auto const classes = static_cast<int>(classes_.size());
        auto sorted = detected_boxes(detections, classes);
        auto const wanted = labelled_boxes(labels, classes);
        ++images_;
        std::vector<char> present(classes_.size());
        for (auto const& label : wanted) {
            auto const c = static_cast<std::size_t>(label.cls);
            ++classes_[c].labels;
            present[c] = 1;
        }
        for (std::size_t c = 0; c < present.size(); ++c) classes_[c].images += present[c];

        std::stable_sort(sorted.begin(), sorted.end(),
                         [](auto const& a, auto const& b) { return a.confidence > b.confidence; });
        std::vector<ClassBox> found;
        for (auto const& detection : sorted) found.push_back(detection.box);
        auto const correct = match_detections(found, wanted);
        for (std::size_t d = 0; d < found.size(); ++d)
            classes_[static_cast<std::size_t>(found[d].cls)].detections.push_back(
                {sorted[d].confidence, correct[d]});
    }

    /// The figures of everything added so far.
    Evaluation compute(KeepCurves keep = KeepCurves::no) const {
        Evaluation out;
        out.images = images_;
        std::vector<ClassCurves> curves;
        std::vector<double> f1(points);
        for (std::size_t c = 0; c < classes_.size(); ++c) {
            auto const& cls = classes_[c];
            if (cls.labels == 0) continue;
            auto& result = out.per_class.emplace_back();
            result.cls = static_cast<int>(c);
            result.images = cls.images;
            result.labels = cls.labels;
            out.labels += cls.labels;
            auto const& curve = curves.emplace_back(evaluate(cls, result, keep));
            for (std::size_t i = 0; i < points; ++i) f1[i] += f1_score(curve.precision[i], curve.recall[i]);
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
        if (keep == KeepCurves::yes) out.curves = std::move(curves);
        return out;
    }

private:
    static constexpr std::size_t points = curve_points;

    struct Detection {
        float confidence;
        std::uint16_t correct;  // bit t: at iou_thresholds[t]
    };
    struct Class {
        std::int64_t images = 0, labels = 0;
        std::vector<Detection> detections;
    };

    /// The average precisions of a class into `result`; its curves, the envelope where it is kept.
    static ClassCurves evaluate(Class const& cls, ClassResult& result, KeepCurves keep) {
        ClassCurves curves;
        curves.precision.resize(points), curves.recall.resize(points);
        if (keep == KeepCurves::yes) curves.envelope.resize(points);
        if (cls.detections.empty()) return curves;
        auto sorted = cls.detections;
        std::stable_sort(sorted.begin(), sorted.end(),
                         [](auto const& a, auto const& b) { return a.confidence > b.confidence; });
        std::vector<double> falling(sorted.size()), recall(sorted.size()), precision(sorted.size());
        for (std::size_t i = 0; i < sorted.size(); ++i)
            falling[i] = -static_cast<double>(sorted[i].confidence);  // rises

        for (std::size_t t = 0; t < iou_thresholds.size(); ++t) {
            double hits = 0;
            for (std::size_t i = 0; i < sorted.size(); ++i) {
                hits += sorted[i].correct >> t & 1;
                recall[i] = hits / static_cast<double>(cls.labels);
                precision[i] = hits / static_cast<double>(i + 1);
            }
            PrecisionEnvelope const envelope(recall, precision);
            auto const ap = envelope.area();
            result.map += ap / static_cast<double>(iou_thresholds.size());
            if (t > 0) continue;
            result.map50 = ap;
            for (std::size_t i = 0; i < points; ++i) {
                auto const x = static_cast<double>(i) / static_cast<double>(points - 1);
                curves.recall[i] = interpolate(-x, falling, recall, 0);
                curves.precision[i] = interpolate(-x, falling, precision, 1);
                if (keep == KeepCurves::yes) curves.envelope[i] = envelope(x);
            }
        }
        return curves;
    }

    std::vector<Class> classes_;
    std::int64_t images_ = 0;
};

}  // namespace yolo
