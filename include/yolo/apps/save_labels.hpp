#pragma once
// Detections as label files: YOLOv5's --save-txt.

#include <qat/torch.hpp>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string>

namespace yolo::apps {

enum class SaveConfidence { no, yes };

/// One line a detection: "class cx cy w h", in fractions of the picture, and the confidence if it is wanted; 6 digits.
/// detections: [n, 6] x1, y1, x2, y2 in pixels of the picture, confidence, class
inline std::string label_lines(torch::Tensor const& detections, int height, int width,
                               SaveConfidence confidence) {
    auto const rows = detections.to(torch::kCPU, torch::kFloat).contiguous();
    auto const w = static_cast<float>(width), h = static_cast<float>(height);
    std::string text;
    for (auto const *row = rows.data_ptr<float>(), *end = row + rows.numel(); row < end; row += 6) {
        char line[128];
        auto const number = [](float x) { return static_cast<double>(x); };
        std::snprintf(line, sizeof line, "%g %g %g %g %g", number(row[5]), number((row[0] + row[2]) / 2 / w),
                      number((row[1] + row[3]) / 2 / h), number((row[2] - row[0]) / w),
                      number((row[3] - row[1]) / h));
        text += line;
        if (confidence == SaveConfidence::yes) {
            std::snprintf(line, sizeof line, " %g", number(row[4]));
            text += line;
        }
        text += '\n';
    }
    return text;
}

/// The label files of a run: folder/STEM.txt. Pictures with the same stem share one, as in YOLOv5.
class LabelFiles {
public:
    LabelFiles(std::filesystem::path folder, SaveConfidence confidence)
        : folder_(std::move(folder)), confidence_(confidence) {}

    /// Without detections there is no file, as in YOLOv5; makes the folder. A file of another run is written over.
    /// throws std::runtime_error naming the file where it cannot be written.
    void save(std::string const& stem, torch::Tensor const& detections, int height, int width) {
        if (detections.size(0) == 0) return;
        std::error_code ignored;
        std::filesystem::create_directories(folder_, ignored);
        auto const file = folder_ / (stem + ".txt");
        std::ofstream out(file, written_.insert(stem).second ? std::ios::trunc : std::ios::app);
        out << label_lines(detections, height, width, confidence_);
        if (!out.flush())
            throw std::runtime_error(
                file.string() + ": the labels cannot be written; is the disk full or the folder read-only?");
    }

private:
    std::filesystem::path folder_;
    SaveConfidence confidence_;
    std::set<std::string> written_;
};

}  // namespace yolo::apps
