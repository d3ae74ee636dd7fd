#pragma once
// What yolo-train and yolo-val draw of a validation: curves, confusion matrix, the first three batches with their labels
// and with what was found.

#include <spdlog/spdlog.h>
#include <yolo/data/draw.hpp>
#include <yolo/metrics/rows.hpp>
#include <yolo/plot/evaluation_plots.hpp>
#include <yolo/train/validate.hpp>

namespace yolo::apps {

/// A picture is never worth a run: what cannot be written is a warning.
template <class Draw> void draw_or_warn(Draw&& draw) {
    try {
        draw();
    } catch (std::exception const& error) { spdlog::warn(error.what()); }
}

class ValidationPictures {
public:
    ValidationPictures(std::filesystem::path folder, std::vector<std::string> names)
        : folder_(std::move(folder)), names_(std::move(names)), confusion_(static_cast<int>(names_.size())) {}

    /// To be told of every batch, by a validation that keeps its curves. This object must outlive it.
    BatchObserver observer() {
        return [this](BatchFindings const& b) { add(b); };
    }

    /// After it. What cannot be drawn is a warning: the figures are there all the same.
    void draw(Evaluation const& evaluation) const {
        if (auto const why = plot_evaluation(evaluation, confusion_, names_, folder_); !why.empty())
            spdlog::warn(why);
    }

private:
    void add(BatchFindings const& b) {
        int const classes = confusion_.classes();
        for (std::size_t i = 0; i < b.detections.size(); ++i)
            confusion_.add(detected_boxes(b.detections[i], classes), labelled_boxes(b.labels[i], classes));
        if (batches_ >= 3) return;
        auto const name = "val_batch" + std::to_string(batches_++);
        draw_or_warn([&] {
            write_batch_picture(folder_ / (name + "_labels.jpg"), b.batch, names_);
            write_batch_picture(folder_ / (name + "_pred.jpg"), b.batch, b.in_batch, names_);
        });
    }

    std::filesystem::path folder_;
    std::vector<std::string> names_;
    ConfusionMatrix confusion_;
    int batches_ = 0;
};

}  // namespace yolo::apps
