#pragma once
// What keeps long quantized training stable, and what shows whether it is. One object for a run of the
// trainer; what it remembers is no state of the network, but part of a checkpoint that can be resumed.

#include <qat/nn/drift.hpp>
#include <qat/nn/oscillation.hpp>
#include <yolo/model/detector.hpp>
#include <yolo/train/optimizer_state.hpp>
#include <yolo/train/results.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

namespace yolo {

class StabilityTools {
public:
    /// The detector must outlive it.
    StabilityTools(Detector& detector, Stability options)
        : detector_(detector), o_(options), oscillation_(detector.module(), averages(options)) {}

    /// Between the backward pass and the optimizer's step. progress: of the training, 0 to 1. images: whose
    /// gradients were summed up; the detection loss is a sum over images, so the dampening's strength is
    /// meant for one.
    void before_update(double progress, std::int64_t images) {
        qat::nn::for_each_grid(detector_.module(), [](qat::nn::Grid& g) { g.before_update(); });
        if (o_.dampening <= 0) return;
        auto const share = qat::nn::dampening_share(progress);
        qat::nn::dampen(detector_.module(), o_.dampening * share * static_cast<double>(images));
    }

    void after_update() {
        qat::nn::for_each_grid(detector_.module(), [](qat::nn::Grid& g) { g.after_update(); });
        oscillation_.follow();
    }

    std::int64_t frozen_weights() const { return oscillation_.frozen(); }

    /// What is remembered, by name, for restore() in the run that goes on. Clones where they may change.
    StateDict state() const {
        StateDict tensors;
        for (auto const& [name, tensor] : oscillation_.state())
            tensors.emplace_back("oscillation/" + name, tensor);
        if (drift_)
            for (auto const& [path, range] : drift_->ranges()) tensors.emplace_back("range/" + path, range);
        return tensors;
    }
    void restore(TensorsByName const& saved) {
        oscillation_.restore(with_prefix(saved, "oscillation/"));
        auto const ranges = with_prefix(saved, "range/");
        if (ranges.empty()) return;
        std::map<std::string, torch::Tensor> on_device;
        for (auto const& [path, range] : ranges) on_device[path] = range.to(detector_.device());
        drift_.emplace(detector_.module(), std::move(on_device));
    }

    /// images: of one batch, on which clipping is measured. say: told what runs away.
    template <class Say> GridHealth end_of_epoch(torch::Tensor const& images, Say&& say) {
        GridHealth health;
        // The first epoch has no end of another one to compare with, and finds the ranges in the first place.
        auto const drift = drift_ ? drift_->step() : qat::nn::Drift{};
        if (!drift_) drift_.emplace(detector_.module());
        health.scale_drift = drift.mean, health.scale_drift_max = drift.largest;
        if (!(drift.largest < runaway_octaves))
            say("the range of " + drift.path + " has moved by " + text("%.1f", drift.largest) +
                " octaves within an epoch; try a smaller lr0 or quantizer_lr, or StopObservers earlier");
        health.oscillation = oscillation_.share();

        std::int64_t values = 0, outside = 0;
        qat::nn::Clipped worst;
        int too_many = 0;
        for (auto const& grid : qat::nn::clip_rates(detector_.module(), [&] { detector_(images); })) {
            values += grid.values, outside += grid.outside;
            health.clip_rate_max = std::max(health.clip_rate_max, grid.rate());
            if (grid.fixed || grid.rate() <= runaway_clip_rate) continue;  // a fixed range clips on purpose
            ++too_many;
            if (grid.rate() > worst.rate()) worst = grid;
        }
        if (values > 0) health.clip_rate = static_cast<double>(outside) / static_cast<double>(values);
        if (too_many > 0)
            say(worst.path + " clips " + text("%.0f", 100 * worst.rate()) + " % of its values" +
                (too_many > 1 ? ", and " + std::to_string(too_many - 1) + " other grids more than " +
                                    text("%.0f", 100 * runaway_clip_rate) + " %"
                              : "") +
                "; what is clipped has no gradient: let observers run longer, or try a smaller lr0");
        return health;
    }

private:
    static constexpr double runaway_clip_rate = 0.1;
    static constexpr double runaway_octaves = 3;

    static qat::nn::OscillationOptions averages(Stability const& o) {
        qat::nn::OscillationOptions options;
        options.freeze_threshold = o.freeze_threshold;
        if (o.freeze_threshold > 0) options.momentum = o.freeze_momentum;
        return options;
    }
    static std::string text(char const* format, double value) {
        char buffer[32];
        std::snprintf(buffer, sizeof buffer, format, value);
        return buffer;
    }

    Detector& detector_;
    Stability o_;
    qat::nn::WeightOscillation oscillation_;
    std::optional<qat::nn::ScaleDrift> drift_;
};

}  // namespace yolo
