#pragma once
// results.csv with YOLOv5's columns and widths, so that its readers work; quantized runs add columns of their own behind.

#include <yolo/io/atomic_file.hpp>
#include <yolo/io/progress.hpp>
#include <yolo/train/validate.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace yolo {

/// What is known at the end of an epoch.
struct EpochReport {
    int epoch = 0, epochs = 0;     // this one, counted from 0, of so many
    std::array<double, 3> loss{};  // box, obj, cls: means over the epoch
    Validation validation{};       // of nothing if it was not validated
    bool validated = false, best = false;
    std::array<double, 3> rates{};  // learning rates: biases, weights, batch norm
    double seconds = 0;
    std::optional<GridHealth> grids{};  // of quantized runs
    std::int64_t skipped = 0;           // steps that were not finite, of the run so far
};

/// Removes the lines of `epoch` and later ones: a run that goes on there writes them again. No file: nothing to do.
inline void truncate_results(std::filesystem::path const& file, int epoch) {
    std::ifstream in(file);
    if (!in) return;
    std::string kept, line;
    for (bool header = true; std::getline(in, line); header = false)
        if (header || std::strtol(line.c_str(), nullptr, 10) < epoch) kept += line + "\n";
    write_atomically(file, kept);
}

/// YOLOv5's columns and what stands in them, but for the epoch; of quantized runs also ours.
inline std::vector<std::pair<std::string, double>> result_columns(EpochReport const& r) {
    auto const& e = r.validation.evaluation;
    auto const& v = r.validation.loss;
    std::vector<std::pair<std::string, double>> columns{{"train/box_loss", r.loss[0]},
                                                        {"train/obj_loss", r.loss[1]},
                                                        {"train/cls_loss", r.loss[2]},
                                                        {"metrics/precision", e.precision},
                                                        {"metrics/recall", e.recall},
                                                        {"metrics/mAP_0.5", e.map50},
                                                        {"metrics/mAP_0.5:0.95", e.map},
                                                        {"val/box_loss", v[0]},
                                                        {"val/obj_loss", v[1]},
                                                        {"val/cls_loss", v[2]},
                                                        {"x/lr0", r.rates[0]},
                                                        {"x/lr1", r.rates[1]},
                                                        {"x/lr2", r.rates[2]}};
    if (r.grids) {
        auto const& g = *r.grids;
        columns.insert(columns.end(), {{"qat/scale_drift", g.scale_drift},
                                       {"qat/scale_drift_max", g.scale_drift_max},
                                       {"qat/clip_rate", g.clip_rate},
                                       {"qat/clip_rate_max", g.clip_rate_max},
                                       {"qat/oscillation", g.oscillation}});
    }
    return columns;
}

/// Appends one line; the first one is preceded by the header. A file without columns for grids (of an older run that is
/// resumed) gets none. throws std::runtime_error if it cannot be written.
inline void append_results(std::filesystem::path const& file, EpochReport const& r) {
    bool const fresh = !std::filesystem::exists(file);
    std::string header;
    if (std::ifstream in(file); !fresh) std::getline(in, header);
    std::vector<char const*> names{"epoch"};
    std::vector<double> values{static_cast<double>(r.epoch)};
    auto const columns = result_columns(r);
    for (auto const& [name, value] : columns) {
        if (!fresh && name.starts_with("qat/") && header.find("qat/") == header.npos) continue;
        names.push_back(name.c_str()), values.push_back(value);
    }
    auto const row = [](auto const& cells, char const* format) {
        std::string text;
        char cell[32];
        for (auto const& c : cells) {
            std::snprintf(cell, sizeof cell, format, c);
            text += (text.empty() ? "" : ",") + std::string(cell);
        }
        return text + "\n";
    };
    std::ofstream out(file, std::ios::app);
    if (fresh) out << row(names, "%20s");
    out << row(values, "%20.5g");
    if (!out.flush()) throw std::runtime_error(file.string() + " cannot be written; is the disk full?");
}

}  // namespace yolo
