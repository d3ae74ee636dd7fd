#pragma once
// Where a run stands, as a checkpoint keeps it beside the tensors: enough for --resume to go on with the very next step.

#include <nlohmann/json.hpp>

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>

namespace yolo {

/// How the grids of a quantized network fare.
struct GridHealth {
    double scale_drift = 0, scale_drift_max = 0;  // octaves since the last epoch: mean, largest of grids
    double clip_rate = 0, clip_rate_max = 0;      // values outside the range: of all, and of the worst grid
    double oscillation = 0;                       // share of weights that jump between two integers

    friend bool operator==(GridHealth const&, GridHealth const&) = default;
};

struct Progress {
    int epoch = 0, batch = 0;  // the next micro-batch; none is left: the epoch is to be validated
    int batches = 0;           // of an epoch; another data set or batch size cannot be gone on with
    int best_epoch = 0;        // whose fitness is the checkpoint's best_fitness
    int since_update = 0;      // micro-batches whose gradients wait for the optimizer
    std::int64_t images_since_update = 0;  // in them
    std::int64_t ema_updates = 0;
    std::int64_t skipped = 0;  // steps that were not finite, so far
    int skipped_in_a_row = 0;
    int counted = 0;         // micro-batches in this epoch's mean loss
    double loss_scale = 1;   // of mixed precision
    int steps_at_scale = 0;  // optimizer steps since it changed
    // Of the epoch, once it is trained:
    std::array<double, 3> rates{};      // learning rates: biases, weights, batch norm
    std::optional<GridHealth> grids{};  // of quantized runs
    bool reestimated = false;           // batch norm's statistics, after the last epoch

    bool kept_best = false;  // best.pt is the run's, not that of another which was in the folder before

    friend bool operator==(Progress const&, Progress const&) = default;
};

/// The key in Manifest::extra.
inline constexpr char const* progress_key = "progress";

inline std::string to_json(Progress const& p) {
    nlohmann::ordered_json json{{"epoch", p.epoch},
                                {"batch", p.batch},
                                {"batches", p.batches},
                                {"best_epoch", p.best_epoch},
                                {"since_update", p.since_update},
                                {"images_since_update", p.images_since_update},
                                {"ema_updates", p.ema_updates},
                                {"skipped", p.skipped},
                                {"skipped_in_a_row", p.skipped_in_a_row},
                                {"counted", p.counted},
                                {"loss_scale", p.loss_scale},
                                {"steps_at_scale", p.steps_at_scale},
                                {"rates", p.rates},
                                {"reestimated", p.reestimated},
                                {"kept_best", p.kept_best}};
    if (auto const& g = p.grids)
        json["grids"] = {g->scale_drift, g->scale_drift_max, g->clip_rate, g->clip_rate_max, g->oscillation};
    return json.dump();
}

/// throws std::runtime_error if the text is none of to_json's.
inline Progress progress_from_json(std::string const& text) {
    try {
        auto const json = nlohmann::json::parse(text);
        Progress p;
        json.at("epoch").get_to(p.epoch), json.at("batch").get_to(p.batch);
        json.at("batches").get_to(p.batches), json.at("best_epoch").get_to(p.best_epoch);
        json.at("since_update").get_to(p.since_update);
        json.at("images_since_update").get_to(p.images_since_update);
        json.at("ema_updates").get_to(p.ema_updates);
        json.at("skipped").get_to(p.skipped), json.at("skipped_in_a_row").get_to(p.skipped_in_a_row);
        json.at("counted").get_to(p.counted);
        json.at("loss_scale").get_to(p.loss_scale), json.at("steps_at_scale").get_to(p.steps_at_scale);
        // An older checkpoint lacks what follows.
        p.rates = json.value("rates", p.rates), p.reestimated = json.value("reestimated", false);
        p.kept_best = json.value("kept_best", true);
        if (json.contains("grids")) {
            auto const& g = json.at("grids");
            auto const number = [&](std::size_t i) {  // JSON has no NaN: null
                return g.at(i).is_null() ? std::numeric_limits<double>::quiet_NaN() : g.at(i).get<double>();
            };
            p.grids = {number(0), number(1), number(2), number(3), number(4)};
        }
        if (p.epoch < 0 || p.batch < 0 || p.batches < 1 || p.since_update < 0 || !(p.loss_scale > 0))
            throw std::runtime_error("a number is outside of its range");
        return p;
    } catch (std::exception const& error) {
        throw std::runtime_error(std::string("what it says about the run's progress is damaged (") +
                                 error.what() + "); resume another checkpoint");
    }
}

}  // namespace yolo
