#pragma once
// Where a run stands, as a checkpoint keeps it beside the tensors: enough for --resume to go on with the very next step.

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

namespace yolo {

struct Progress {
    int epoch = 0, batch = 0;  // the next micro-batch
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
};

/// The key in Manifest::extra.
inline constexpr char const* progress_key = "progress";

inline std::string to_json(Progress const& p) {
    return nlohmann::ordered_json{{"epoch", p.epoch},
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
                                  {"steps_at_scale", p.steps_at_scale}}
        .dump();
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
        if (p.epoch < 0 || p.batch < 0 || p.batches < 1 || p.since_update < 0 || !(p.loss_scale > 0))
            throw std::runtime_error("a number is outside of its range");
        return p;
    } catch (std::exception const& error) {
        throw std::runtime_error(std::string("what it says about the run's progress is damaged (") +
                                 error.what() + "); resume another checkpoint");
    }
}

}  // namespace yolo
