#pragma once
// What a validation run comes to: figures, and curves where they were asked for. No LibTorch.

#include <cstddef>
#include <cstdint>
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

/// One class's curves at IoU 0.5, on a grid of curve_points from 0 to 1.
struct ClassCurves {
    std::vector<double> precision, recall;  // of the detections that are at least this confident
    std::vector<double> envelope;           // highest precision at this recall or a higher one
};
inline constexpr std::size_t curve_points = 1000;

/// Harmonic mean of precision and recall.
inline double f1_score(double precision, double recall) {
    return 2 * precision * recall / (precision + recall + 1e-16);
}

/// Means over the classes that have labels; all zero where there are none.
struct Evaluation {
    double precision = 0, recall = 0, map50 = 0, map = 0;
    std::int64_t images = 0, labels = 0;
    std::vector<ClassResult> per_class;  // classes with labels, by number
    std::vector<ClassCurves> curves;     // one for each of per_class, or none where they were not kept

    /// What the best checkpoint is chosen by.
    double fitness() const { return 0.1 * map50 + 0.9 * map; }
};

}  // namespace yolo
