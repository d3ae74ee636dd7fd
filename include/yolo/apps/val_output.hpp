#pragma once
// What yolo-val prints and saves: the table, label files, the lines of a study.

#include <yolo/apps/save_labels.hpp>
#include <yolo/apps/val_arguments.hpp>
#include <yolo/io/results_json.hpp>

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

}  // namespace yolo::apps
