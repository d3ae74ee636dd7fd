#pragma once
// results.csv with YOLOv5's columns and widths, so that its readers work.

#include <yolo/train/validate.hpp>

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace yolo {

/// What is known at the end of an epoch.
struct EpochReport {
    int epoch = 0, epochs = 0;     // this one, counted from 0, of so many
    std::array<double, 3> loss{};  // box, obj, cls: means over the epoch
    Validation validation{};       // of nothing if it was not validated
    bool validated = false, best = false;
    std::array<double, 3> rates{};  // learning rates: biases, weights, batch norm
    double seconds = 0;
};

/// Appends one line; the first one is preceded by the header. throws std::runtime_error if it cannot be written.
inline void append_results(std::filesystem::path const& file, EpochReport const& r) {
    constexpr char const* columns[] = {"epoch",
                                       "train/box_loss",
                                       "train/obj_loss",
                                       "train/cls_loss",
                                       "metrics/precision",
                                       "metrics/recall",
                                       "metrics/mAP_0.5",
                                       "metrics/mAP_0.5:0.95",
                                       "val/box_loss",
                                       "val/obj_loss",
                                       "val/cls_loss",
                                       "x/lr0",
                                       "x/lr1",
                                       "x/lr2"};
    auto const& e = r.validation.evaluation;
    auto const& v = r.validation.loss;
    double const values[] = {static_cast<double>(r.epoch),
                             r.loss[0],
                             r.loss[1],
                             r.loss[2],
                             e.precision,
                             e.recall,
                             e.map50,
                             e.map,
                             v[0],
                             v[1],
                             v[2],
                             r.rates[0],
                             r.rates[1],
                             r.rates[2]};
    auto const row = [](auto const& cells, char const* format) {
        std::string text;
        char cell[32];
        for (auto const& c : cells) {
            std::snprintf(cell, sizeof cell, format, c);
            text += (text.empty() ? "" : ",") + std::string(cell);
        }
        return text + "\n";
    };
    bool const fresh = !std::filesystem::exists(file);
    std::ofstream out(file, std::ios::app);
    if (fresh) out << row(columns, "%20s");
    out << row(values, "%20.5g");
    if (!out.flush()) throw std::runtime_error(file.string() + " cannot be written; is the disk full?");
}

}  // namespace yolo
