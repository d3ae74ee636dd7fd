#pragma once
// What yolo-val prints and saves: the table, label files, COCO's result file and figures, the lines of a study.

#include <yolo/apps/save_labels.hpp>
#include <yolo/apps/val_arguments.hpp>
#include <yolo/io/coco_json.hpp>
#include <yolo/io/results_json.hpp>
#include <yolo/metrics/coco.hpp>

#include <numeric>
#include <optional>

namespace yolo::apps {

inline constexpr char const* table_head =
    "                 Class     Images  Instances          P          R      mAP50   mAP50-95";

inline std::string table_row(std::string const& name, std::int64_t images, std::int64_t labels, double p,
                             double r, double map50, double map) {
    char line[160];
    std::snprintf(line, sizeof line, "%22s%11lld%11lld%11.3g%11.3g%11.3g%11.3g", name.c_str(),
                  static_cast<long long>(images), static_cast<long long>(labels), p, r, map50, map);
    return line;
}

inline void print_table(Evaluation const& e, std::vector<std::string> const& names, bool per_class) {
    std::cout << table_head << "\n"
              << table_row("all", e.images, e.labels, e.precision, e.recall, e.map50, e.map) << "\n";
    if (per_class)
        for (auto const& c : e.per_class)
            std::cout << table_row(names.at(static_cast<std::size_t>(c.cls)), c.images, c.labels, c.precision,
                                   c.recall, c.map50, c.map)
                      << "\n";
}

inline std::string speed_line(Validation const& v, int batch_size, int side) {
    char text[160];
    std::snprintf(
        text, sizeof text,
        "Speed: %.1f ms pre-process, %.1f ms inference, %.1f ms NMS per image at shape (%d, 3, %d, %d)",
        v.preprocess_ms, v.inference_ms, v.nms_ms, batch_size, side, side);
    return text;
}

/// One line of a study: P, R, mAP50, mAP50-95, three losses, ms for pre-process, inference and NMS.
inline std::string study_line(Validation const& v) {
    auto const& e = v.evaluation;
    std::string line;
    for (double const x : {e.precision, e.recall, e.map50, e.map, v.loss[0], v.loss[1], v.loss[2],
                           v.preprocess_ms, v.inference_ms, v.nms_ms}) {
        char number[32];
        std::snprintf(number, sizeof number, "%s%10.4g", line.empty() ? "" : " ", x);
        line += number;
    }
    return line + "\n";
}

/// Collects the detections of a run as COCO wants them. Boxes and scores are rounded as in the file, so that the figures
/// are those of the file.
class CocoResults {
public:
    /// categories: the id of each class
    explicit CocoResults(std::vector<std::int64_t> categories) : categories_(std::move(categories)) {}

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

    std::vector<CocoDetection> const& detections() const { return detections_; }

private:
    std::vector<std::int64_t> categories_;
    std::vector<CocoDetection> detections_;
};

/// The categories of the annotations; without annotations those of COCO for its val2017.txt and the classes' numbers for
/// other data sets, as YOLOv5 writes them.
inline std::vector<std::int64_t> categories_of(std::optional<CocoGroundTruth> const& truth,
                                               DatasetOptions const& set) {
    if (truth) return coco_category_ids(*truth, set.names.size());
    bool const coco = std::any_of(set.val.begin(), set.val.end(), [](std::filesystem::path const& path) {
        return path.filename() == "val2017.txt";
    });
    auto const known = coco_category_ids();
    if (coco && known.size() == set.names.size()) return {known.begin(), known.end()};
    std::vector<std::int64_t> ids(set.names.size());
    std::iota(ids.begin(), ids.end(), std::int64_t{0});
    return ids;
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

}  // namespace yolo::apps
