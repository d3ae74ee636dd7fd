#pragma once
// The optimizer with YOLOv5's three parameter groups and one of learned scales, and the schedule that sets their rates at
// every step.

#include <qat/nn/grid.hpp>
#include <yolo/train/schedule.hpp>

#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

namespace yolo {

enum class OptimizerKind { sgd, adam, adamw };

struct OptimizerOptions {
    OptimizerKind kind = OptimizerKind::sgd;  // SGD is Nesterov's
    double lr = 0.01;                         // of the first step without a schedule
    double momentum = 0.937;                  // or Adam's beta1
    double weight_decay = 0.0005;             // of the weights, as used: see scaled_weight_decay
};

/// Biases are not decayed and have a warm-up of their own; the weights of batch norm are not decayed; what a grid learns
/// is not decayed and has a rate of its own. The values are the positions of the groups in the optimizer, of the rates in
/// StepRates and, but for the last, of lr/pg0..2 in results.csv. The last is there only if something is learned.
enum class ParameterGroup : std::size_t { bias = 0, weight = 1, norm = 2, quantizer = 3 };

/// The group of a module's own parameter. A module counts as batch norm by its type's name.
inline ParameterGroup group_of(torch::nn::Module const& module, std::string const& parameter) {
    if (dynamic_cast<qat::nn::Grid const*>(&module)) return ParameterGroup::quantizer;
    if (parameter == "bias") return ParameterGroup::bias;
    if (parameter == "weight" && module.name().starts_with("torch::nn::BatchNorm"))
        return ParameterGroup::norm;
    return ParameterGroup::weight;
}

/// All parameters by group, each once however many modules refer to it.
inline std::array<std::vector<torch::Tensor>, 4> parameter_groups(torch::nn::Module& model) {
    std::array<std::vector<torch::Tensor>, 4> groups;
    std::unordered_set<void const*> seen;
    auto const sort = [&](torch::nn::Module const& module) {
        for (auto const& item : module.named_parameters(/*recurse=*/false))
            if (seen.insert(item.value().unsafeGetTensorImpl()).second)
                groups[static_cast<std::size_t>(group_of(module, item.key()))].push_back(item.value());
    };
    sort(model);
    for (auto const& module : model.modules(/*include_self=*/false)) sort(*module);
    return groups;
}

inline std::unique_ptr<torch::optim::Optimizer> make_optimizer(torch::nn::Module& model,
                                                               OptimizerOptions const& o) {
    auto const make = [&](double decay) -> std::unique_ptr<torch::optim::OptimizerOptions> {
        switch (o.kind) {
        case OptimizerKind::adam:
            return std::make_unique<torch::optim::AdamOptions>(
                torch::optim::AdamOptions(o.lr).betas({o.momentum, 0.999}).weight_decay(decay));
        case OptimizerKind::adamw:
            return std::make_unique<torch::optim::AdamWOptions>(
                torch::optim::AdamWOptions(o.lr).betas({o.momentum, 0.999}).weight_decay(decay));
        case OptimizerKind::sgd:
            break;
        }
        return std::make_unique<torch::optim::SGDOptions>(
            torch::optim::SGDOptions(o.lr).momentum(o.momentum).nesterov(o.momentum > 0).weight_decay(decay));
    };
    auto parameters = parameter_groups(model);
    std::vector<torch::optim::OptimizerParamGroup> groups;
    for (std::size_t g = 0; g < parameters.size(); ++g) {
        auto const group = static_cast<ParameterGroup>(g);
        if (group == ParameterGroup::quantizer && parameters[g].empty()) continue;
        groups.emplace_back(std::move(parameters[g]),
                            make(group == ParameterGroup::weight ? o.weight_decay : 0.0));
    }
    switch (o.kind) {
    case OptimizerKind::adam:
        return std::make_unique<torch::optim::Adam>(std::move(groups));
    case OptimizerKind::adamw:
        return std::make_unique<torch::optim::AdamW>(std::move(groups));
    case OptimizerKind::sgd:
        break;
    }
    return std::make_unique<torch::optim::SGD>(std::move(groups), torch::optim::SGDOptions(o.lr));
}

/// Scales gradients so that the norm of all of them together is at most `largest`: g *= min(1, largest / (norm + 1e-6)).
/// Returns the norm from before. If it is not finite, the gradients are left as they are, so that one can see which it is:
/// torch::nn::utils::clip_grad_norm_ would have made all of them NaN.
inline double clip_gradients(std::vector<torch::Tensor> const& parameters, double largest) {
    torch::NoGradGuard no_grad;
    std::vector<torch::Tensor> gradients, norms;
    for (auto const& parameter : parameters)
        if (auto const& gradient = parameter.grad(); gradient.defined()) gradients.push_back(gradient);
    for (auto const& gradient : gradients) norms.push_back(gradient.norm());
    if (norms.empty()) return 0;
    auto const norm = torch::stack(norms).norm().item<double>();
    auto const factor = largest / (norm + 1e-6);
    if (std::isfinite(norm) && factor < 1)
        for (auto& gradient : gradients) gradient.mul_(factor);
    return norm;
}

/// The gradients of an optimizer made by make_optimizer, of norm 10 at most as YOLOv5's. Learned scales by themselves: a
/// threshold's gradient is a sum over millions of values and would leave nothing of the weights' own. Returns the norm
/// from before; not finite if any gradient is not.
inline double clip_gradients(torch::optim::Optimizer& optimizer) {
    constexpr double largest = 10;
    auto& groups = optimizer.param_groups();
    std::vector<torch::Tensor> network;
    for (auto group : {ParameterGroup::bias, ParameterGroup::weight, ParameterGroup::norm}) {
        auto const& own = groups[static_cast<std::size_t>(group)].params();
        network.insert(network.end(), own.begin(), own.end());
    }
    double const norm = clip_gradients(network, largest);
    if (groups.size() <= static_cast<std::size_t>(ParameterGroup::quantizer)) return norm;
    return norm + clip_gradients(groups.back().params(), largest);
}

/// Sets the rates of an optimizer made by make_optimizer, which must outlive it.
class StepSchedule {
public:
    StepSchedule(torch::optim::Optimizer& optimizer, ScheduleOptions options)
        : optimizer_(&optimizer), options_(options) {}

    /// Call before every micro-batch; returns what was set and how many micro-batches make a step.
    StepRates operator()(int epoch, int batch) const {
        auto const rates = rates_at(options_, epoch, batch);
        std::array<double, 4> const by_group{rates.bias_lr, rates.weight_lr, rates.norm_lr,
                                             rates.quantizer_lr};
        auto& groups = optimizer_->param_groups();
        TORCH_CHECK(groups.size() == 3 || groups.size() == 4, "schedule: the optimizer has ", groups.size(),
                    " parameter groups, want those of make_optimizer");
        for (std::size_t g = 0; g < groups.size(); ++g) {
            groups[g].options().set_lr(by_group[g]);
            if (auto* sgd = dynamic_cast<torch::optim::SGDOptions*>(&groups[g].options()))
                sgd->momentum(rates.momentum);
        }
        return rates;
    }

    ScheduleOptions const& options() const { return options_; }

private:
    torch::optim::Optimizer* optimizer_;
    ScheduleOptions options_;
};

}  // namespace yolo
