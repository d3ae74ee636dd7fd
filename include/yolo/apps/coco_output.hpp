#pragma once
// COCO's result file of a run, and its twelve figures.

#include <spdlog/spdlog.h>
#include <yolo/data/dataset.hpp>
#include <yolo/io/coco_json.hpp>
#include <yolo/io/dataset_yaml.hpp>
#include <yolo/io/results_json.hpp>
#include <yolo/metrics/coco.hpp>
#include <yolo/train/validate.hpp>

#include <algorithm>
#include <iostream>
#include <numeric>
#include <optional>
#include <set>

namespace yolo::apps {

/// Whether the data set is validated on COCO's own list, for which YOLOv5 writes a result file without being asked.
inline bool is_coco(DatasetOptions const& data) {
    return std::any_of(data.val.begin(), data.val.end(),
                       [](std::filesystem::path const& path) { return path.filename() == "val2017.txt"; });
}

/// Where COCO keeps the annotations of that list; empty: they are not there.
inline std::filesystem::path coco_annotations(DatasetOptions const& data) {
    auto const file = data.root / "annotations" / "instances_val2017.json";
    return std::filesystem::exists(file) ? file : "";
}

/// Prints the twelve lines.
inline nlohmann::ordered_json print_coco(CocoGroundTruth const& truth,
                                         std::vector<CocoDetection> const& detections,
                                         CocoOptions const& options = {}) {
    auto const stats = coco_evaluate(truth, detections, options);
    auto const text = coco_summary(stats);
    std::cout << text << (text.ends_with('\n') ? "" : "\n");
    return to_json(stats);
}

class CocoOutput {
public:
    /// annotations: a COCO file of the images, and perhaps of more; empty: no figures.
    /// throws std::runtime_error if it cannot be read or lacks an image.
    CocoOutput(DatasetOptions const& data, Dataset const& images, std::filesystem::path const& annotations) {
        for (auto const& item : images.items()) images_.push_back(coco_image_id(item.image));
        if (!annotations.empty()) truth_ = read_coco_annotations(annotations);
        categories_ = categories_of(data);
        if (!truth_) return;
        std::set<CocoImageId> known;
        for (auto const& image : truth_->images) known.insert(image.id);
        for (std::size_t i = 0; i < images_.size(); ++i)
            if (!known.contains(images_[i]))
                throw std::runtime_error(annotations.string() + " lacks image " + coco_text(images_[i]) +
                                         " (" + images.items()[i].image.string() +
                                         "); give the annotations of the images that are looked at");
    }

    /// Boxes and scores are rounded as in the file, so that the figures are those of the file.
    void add(BatchFindings const& found) {
        auto const rounded = [](float x, double steps) { return std::nearbyint(double{x} * steps) / steps; };
        for (std::size_t i = 0; i < found.detections.size(); ++i) {
            auto const id = coco_image_id(found.batch.infos[i].path);
            auto const rows = found.detections[i].contiguous();
            for (auto const *row = rows.data_ptr<float>(), *end = row + rows.numel(); row < end; row += 6) {
                float const w = row[2] - row[0], h = row[3] - row[1];
                float const x = (row[0] + row[2]) / 2 - w / 2, y = (row[1] + row[3]) / 2 - h / 2;
                detections_.push_back({id,
                                       categories_.at(static_cast<std::size_t>(row[5])),
                                       {rounded(x, 1e3), rounded(y, 1e3), rounded(w, 1e3), rounded(h, 1e3)},
                                       rounded(row[4], 1e5)});
            }
        }
    }

    /// The result file; with annotations the twelve lines are printed and returned.
    std::optional<nlohmann::ordered_json> write(std::filesystem::path const& file) const {
        write_coco_results(file, detections_);
        if (!truth_) return std::nullopt;
        CocoOptions only;
        only.images = images_;
        return print_coco(*truth_, detections_, only);
    }

private:
    // The categories of the annotations; without annotations those of COCO for its list, and the classes' numbers for
    // other data sets, as YOLOv5 writes them.
    std::vector<std::int64_t> categories_of(DatasetOptions const& data) const {
        if (truth_) return coco_category_ids(*truth_, data.names.size());
        auto const known = coco_category_ids();
        if (is_coco(data) && known.size() == data.names.size()) return {known.begin(), known.end()};
        std::vector<std::int64_t> ids(data.names.size());
        std::iota(ids.begin(), ids.end(), std::int64_t{0});
        return ids;
    }

    std::vector<CocoImageId> images_;
    std::optional<CocoGroundTruth> truth_;
    std::vector<std::int64_t> categories_;
    std::vector<CocoDetection> detections_;
};

/// With the annotations that lie beside COCO's list. Nobody asked for them: where they do not fit, a warning says so and
/// there are no figures, as in YOLOv5.
inline CocoOutput coco_output(DatasetOptions const& data, Dataset const& images) {
    try {
        return {data, images, coco_annotations(data)};
    } catch (std::exception const& error) {
        spdlog::warn("{}; COCO's figures are left out", error.what());
        return {data, images, ""};
    }
}

}  // namespace yolo::apps
