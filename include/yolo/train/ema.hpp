#pragma once
// A moving average of a model's state, which is what float training validates and keeps.

#include <qat/nn/grid.hpp>
#include <yolo/train/schedule.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace yolo {

/// Keeps `average` an average of another module of the same structure, by name:
///     average += (1 - decay) * (model - average)        decay = ema_decay(number of updates)
/// for parameters and floating buffers; integer buffers are copied. Of scales the logarithm is averaged, so that
/// the average of two scales is the one as many octaves from either (Gupta and Asthana 2024, arXiv:2311.05109,
/// average weights and scales for YOLO), and a power of two is rounded to the nearest one. Zero points and what
/// observers remember are copied.
/// The caller makes the second module (construct, bind, copy by name: a clone knows nothing of shared grids)
/// and gives it the starting values; it must outlive this object.
class Ema {
public:
    explicit Ema(torch::nn::Module& average) : average_(&average) {
        for (auto& parameter : average.parameters()) parameter.set_requires_grad(false);
    }

    /// One update after an optimizer step. Throws if the modules have different names or shapes.
    void update(torch::nn::Module const& model) {
        torch::NoGradGuard no_grad;
        auto const weight = 1 - ema_decay(static_cast<double>(++updates_));
        auto const buffers = average_->named_buffers();
        for_each_pair(average_->named_parameters(), model.named_parameters(),
                      [&](auto const& key, auto& to, auto& from) {
            if (of_grid(key))
                move_learned(key, to, from, weight, buffers);
            else
                to.lerp_(from, weight);
        });
        for_each_pair(buffers, model.named_buffers(), [&](auto const& key, auto& to, auto& from) {
            if (to.is_floating_point() && !of_grid(key))
                to.lerp_(from, weight);
            else
                to.copy_(from);
        });
        for (auto const& module : average_->named_modules({}, /*include_self=*/false)) {
            auto* const grid = dynamic_cast<qat::nn::Grid*>(module.value().get());
            if (!grid || !grid->quantized()) continue;
            if (grid->learned().defined())
                grid->refresh();  // its scale follows what it has learned; a power of two is rounded again
            else
                average_scale(module.key(), *grid, weight);
        }
    }

    /// From the next update on the average of every scale begins anew: ranges have just been found, or have jumped
    /// because the number of bits has.
    void restart_scales() { log2_scales_.clear(); }

    /// log2 of the averaged scales, by grid, before they are rounded: what a resumed run goes on with.
    std::map<std::string, torch::Tensor> const& log2_scales() const { return log2_scales_; }
    void set_log2_scales(std::map<std::string, torch::Tensor> scales) { log2_scales_ = std::move(scales); }

    torch::nn::Module& average() const { return *average_; }
    std::int64_t updates() const { return updates_; }
    void set_updates(std::int64_t updates) { updates_ = updates; }  // of a resumed run

private:
    using State = torch::OrderedDict<std::string, torch::Tensor>;

    // Scale, zero point and range belong together, and a power of two must stay one: only what is learned is
    // averaged.
    static bool of_grid(std::string const& key) {
        return key.find("output.") != key.npos || key.find("weight_grid.") != key.npos;
    }

    template <class F> static void for_each_pair(State average, State const& model, F&& f) {
        TORCH_CHECK(average.size() == model.size(), "ema: the model has ", model.size(),
                    " tensors, the average ", average.size(), "; make both from the same options");
        for (auto& item : average) {
            auto const* source = model.find(item.key());
            TORCH_CHECK(source && source->sizes() == item.value().sizes(), "ema: the model has no '",
                        item.key(), "' of shape ", item.value().sizes(), "; make both from the same options");
            f(item.key(), item.value(), *source);
        }
    }

    // scale: the model's, which was copied.
    void average_scale(std::string const& path, qat::nn::Grid& grid, double weight) {
        auto const log2 = torch::log2(grid.scale);
        auto& average = log2_scales_[path];
        if (!average.defined()) average = log2;
        average.lerp_(log2, weight);
        if (grid.power_of_two())
            grid.scale.copy_(torch::exp2(average.round()));
        else
            grid.scale.copy_(torch::where(average == log2, grid.scale, torch::exp2(average)));
    }

    // Logarithms and offsets are averaged as they are, steps and clips by their logarithm. Before the
    // average's grid has started, and where training has pushed a step below 0 (which means the smallest),
    // the model's value is taken.
    static void move_learned(std::string const& key, torch::Tensor& average, torch::Tensor const& model,
                             double weight, State const& buffers) {
        auto const dot = key.rfind('.');
        auto const name = key.substr(dot + 1);
        torch::Tensor between;
        auto usable = buffers[key.substr(0, dot + 1) + "started"];
        if (name == "log2_threshold" || name == "offset") {
            between = torch::lerp(average, model, weight);
        } else {
            between = torch::exp2(torch::lerp(torch::log2(average), torch::log2(model), weight));
            usable = usable & (average > 0) & (model > 0);
        }
        average.copy_(torch::where(usable, between, model));
    }

    torch::nn::Module* average_;
    std::int64_t updates_ = 0;
    std::map<std::string, torch::Tensor> log2_scales_;
};

}  // namespace yolo
