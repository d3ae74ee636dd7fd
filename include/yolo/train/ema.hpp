#pragma once
// A moving average of a model's state, which is what float training validates and keeps.

#include <qat/torch.hpp>
#include <yolo/train/schedule.hpp>

#include <cstdint>

namespace yolo {

/// Keeps `average` an average of another module of the same structure, by name:
///     average += (1 - decay) * (model - average)        decay = ema_decay(number of updates)
/// for parameters and floating buffers; integer buffers are copied. The caller makes the second module
/// (construct, bind, copy by name: a clone knows nothing of shared grids) and gives it the starting values;
/// it must outlive this object.
class Ema {
public:
    explicit Ema(torch::nn::Module& average) : average_(&average) {
        for (auto& parameter : average.parameters()) parameter.set_requires_grad(false);
    }

    /// One update after an optimizer step. Throws if the modules have different names or shapes.
    void update(torch::nn::Module const& model) {
        torch::NoGradGuard no_grad;
        auto const weight = 1 - ema_decay(static_cast<double>(++updates_));
        move(average_->named_parameters(), model.named_parameters(), weight);
        move(average_->named_buffers(), model.named_buffers(), weight);
    }

    torch::nn::Module& average() const { return *average_; }
    std::int64_t updates() const { return updates_; }
    void set_updates(std::int64_t updates) { updates_ = updates; }  // of a resumed run

private:
    using State = torch::OrderedDict<std::string, torch::Tensor>;

    // Scale, zero point and range belong together, and a power of two must stay one: grids are copied.
    static bool of_grid(std::string const& key) {
        return key.find("output.") != key.npos || key.find("weight_grid.") != key.npos;
    }

    static void move(State average, State const& model, double weight) {
        TORCH_CHECK(average.size() == model.size(), "ema: the model has ", model.size(),
                    " tensors, the average ", average.size(), "; make both from the same options");
        for (auto& item : average) {
            auto const* source = model.find(item.key());
            TORCH_CHECK(source && source->sizes() == item.value().sizes(), "ema: the model has no '",
                        item.key(), "' of shape ", item.value().sizes(), "; make both from the same options");
            if (item.value().is_floating_point() && !of_grid(item.key()))
                item.value().lerp_(*source, weight);
            else
                item.value().copy_(*source);
        }
    }

    torch::nn::Module* average_;
    std::int64_t updates_ = 0;
};

}  // namespace yolo
