#pragma once
// Where yolo-detect's findings go: pictures, videos, label files, cut-outs, JSON.

#include <yolo/apps/annotate.hpp>
#include <yolo/apps/detect_sources.hpp>
#include <yolo/apps/save_labels.hpp>
#include <yolo/io/results_json.hpp>

#include <map>

namespace yolo::apps {

struct DetectOutputs {
    bool pictures = true, labels = false, crops = false;
    SaveConfidence label_confidence = SaveConfidence::no;
    BoxStyle style{};
};

/// "3 cats, 1 dog", as YOLOv5 says it; "nothing" without a box.
inline std::string counts(torch::Tensor const& boxes, std::vector<std::string> const& names) {
    std::map<int, int> count;
    auto const value = boxes.accessor<float, 2>();
    for (std::int64_t i = 0; i < boxes.size(0); ++i) ++count[static_cast<int>(value[i][5])];
    std::string text;
    for (auto const& [cls, n] : count)
        text += (text.empty() ? "" : ", ") + std::to_string(n) + " " + class_name(names, cls) +
                (n > 1 ? "s" : "");
    return text.empty() ? "nothing" : text;
}

class DetectionWriter {
public:
    DetectionWriter(std::filesystem::path folder, std::vector<std::string> names, DetectOutputs outputs)
        : folder_(std::move(folder)), names_(std::move(names)), outputs_(outputs),
          labels_(folder_ / "labels", outputs.label_confidence) {}

    /// boxes: [n, 6] in pixels of the frame, the most confident first. Draws into the frame's picture.
    void write(Frame& frame, torch::Tensor const& boxes) {
        auto const least_first = boxes.flip({0});
        if (outputs_.labels) labels_.save(frame.stem(), least_first, frame.image.rows, frame.image.cols);
        if (outputs_.crops)
            save_crops(folder_ / "crops", frame.path.stem().string(), frame.image, boxes, names_);
        remember(frame, boxes);
        if (!outputs_.pictures) return;
        draw_boxes(frame.image, boxes, names_, outputs_.style);
        if (!frame.of_video()) {
            auto name = frame.path.filename();
            if (!cv::haveImageWriter(name.string())) name.replace_extension(".jpg");
            write_image(folder_ / name, frame.image);
            return;
        }
        if (frame.number == 1)
            video_ = std::make_unique<VideoWriter>(folder_ / frame.path.filename(), frame.frames_per_second);
        video_->write(frame.image);
    }

    /// {"images": [{"image", "frame" of a video, "boxes": [{class, name, confidence, box}]}]}
    nlohmann::ordered_json json() const { return {{"images", found_}}; }

private:
    void remember(Frame const& frame, torch::Tensor const& boxes) {
        auto const value = boxes.accessor<float, 2>();
        auto list = nlohmann::ordered_json::array();
        for (std::int64_t i = 0; i < boxes.size(0); ++i) {
            auto const at = [&](std::int64_t column) { return static_cast<double>(value[i][column]); };
            auto const cls = static_cast<int>(value[i][5]);
            list.push_back({{"class", cls},
                            {"name", class_name(names_, cls)},
                            {"confidence", at(4)},
                            {"box", {at(0), at(1), at(2), at(3)}}});
        }
        nlohmann::ordered_json entry{{"image", frame.path.string()}};
        if (frame.of_video()) entry["frame"] = frame.number;
        entry["boxes"] = std::move(list);
        found_.push_back(std::move(entry));
    }

    std::filesystem::path folder_;
    std::vector<std::string> names_;
    DetectOutputs outputs_;
    LabelFiles labels_;
    std::unique_ptr<VideoWriter> video_;
    nlohmann::ordered_json found_ = nlohmann::ordered_json::array();
};

}  // namespace yolo::apps
