#pragma once
// What yolo-train shows while it trains.

#include <yolo/apps/val.hpp>
#include <yolo/train/trainer.hpp>

namespace yolo::apps {

/// Resident memory of the process, as "1.2G".
inline std::string memory_in_use() {
    std::ifstream statm("/proc/self/statm");
    double total = 0, resident = 0;
    statm >> total >> resident;
    char text[32];
    std::snprintf(text, sizeof text, "%.3gG", resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e9);
    return text;
}

/// Prints what YOLOv5 prints while it trains.
class TrainingPrinter {
public:
    TrainingPrinter(int image_size, int epochs) : image_size_(image_size), epochs_(epochs) {}

    TrainingEvents events() {
        return {.message = [this](std::string const& text) { progress_.end(), spdlog::info(text); },
                .step = [this](StepReport const& r) { step(r); },
                .epoch = [this](EpochReport const& r) { epoch(r); }};
    }

private:
    static constexpr char const* head =
        "      Epoch     Memory   box_loss   obj_loss   cls_loss  Instances       Size";

    std::string row(int epoch, int epochs, std::array<double, 3> const& loss, std::int64_t instances) const {
        char line[160];
        std::snprintf(line, sizeof line, "%11s%11s%11.4g%11.4g%11.4g%11lld%11d",
                      (std::to_string(epoch) + "/" + std::to_string(epochs - 1)).c_str(),
                      memory_in_use().c_str(), loss[0], loss[1], loss[2], static_cast<long long>(instances),
                      image_size_);
        return line;
    }

    void step(StepReport const& r) {
        instances_ = r.instances;
        auto const left = r.seconds / (r.batch + 1) * (r.batches - r.batch - 1);
        char rest[64];
        std::snprintf(rest, sizeof rest, "  %d/%d %.0fs<%.0fs", r.batch + 1, r.batches, r.seconds, left);
        progress_(row(r.epoch, epochs_, r.loss, r.instances) + rest);
    }

    void epoch(EpochReport const& r) {
        progress_.end();
        std::cout << head << "\n"
                  << row(r.epoch, r.epochs, r.loss, instances_) << "  " << std::lround(r.seconds) << " s\n";
        auto const& e = r.validation.evaluation;
        if (r.validated)
            std::cout << table_head << "\n"
                      << table_row("all", e.images, e.labels, e.precision, e.recall, e.map50, e.map)
                      << (r.best ? "  best" : "") << "\n";
        if (r.skipped > skipped_) {
            std::cout << r.skipped << " steps were skipped so far because they were not finite\n";
            skipped_ = r.skipped;
        }
        std::cout << std::flush;
    }

    int image_size_, epochs_;
    std::int64_t instances_ = 0, skipped_ = 0;
    ProgressLine progress_;
};

}  // namespace yolo::apps
