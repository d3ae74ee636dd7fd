#pragma once
// What a training is told, and what it tells.

#include <yolo/data/batch.hpp>
#include <yolo/train/mixed_precision.hpp>
#include <yolo/train/optimizer.hpp>
#include <yolo/train/results.hpp>

#include <functional>

namespace yolo {

struct TrainerOptions {
    std::filesystem::path folder;  // of the run: results.csv, weights/last.pt, weights/best.pt
    Hyperparameters hyp;
    int epochs = 100;
    int image_size = 640, batch_size = 16;  // pixels, images
    OptimizerKind optimizer = OptimizerKind::sgd;
    RateDecay decay = RateDecay::linear;
    int patience = 100;       // epochs without a better one before training stops; 0: never
    std::vector<int> freeze;  // numbered layers whose parameters stay as they are; {10}: the first ten
    bool ema = true;          // validate and keep the moving average of the state
    bool validate = true, save = true;  // false: only after the last epoch
    bool multi_scale = false;           // batches of changing size
    bool image_weights = false;         // pictures with rare or badly detected classes are shown more often
    int save_period = 0;                // epochs between checkpoints that stay, weights/epochN.pt; 0: none
    bool half = false;                  // the kept checkpoints in float16
    Precision precision = Precision::float32;  // of convolutions; others than float32 on CUDA only
    int most_skipped = 10;      // steps in a row that may be skipped because they were not finite
    int stop_after_epoch = -1;  // the run ends once this epoch is saved, to be resumed; -1: never
};

struct StepReport {
    int epoch, batch, batches;
    std::array<double, 3> loss;  // means over the epoch so far
    std::int64_t instances;      // labels in this batch
    double seconds;              // since the epoch began
};

/// Where training tells what it does. Every member may be empty.
struct TrainingEvents {
    std::function<void(std::string const&)> message{};  // a switch of the schedule, early stopping, ...
    std::function<void(StepReport const&)> step{};
    std::function<void(Batch const&, std::int64_t)>
        batch{};  // before it is trained on, and the number of its step
    std::function<void(EpochReport const&)> epoch{};
};

/// Training that leads nowhere: its numbers are not finite.
struct Diverged : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// paused: after stop_after_epoch. interrupted: by `stop`.
enum class Outcome { finished, stopped_early, paused, interrupted };

}  // namespace yolo
