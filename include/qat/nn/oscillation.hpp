#pragma once
// Weights that jump to and fro between two integers: how many they are, a loss that draws them to the middle
// of their bins, and freezing. Nagel et al. 2022, arXiv:2203.11086. Works on what the grid sees (weight *
// batch norm's factor), per tensor and per channel.

#include <qat/nn/producer.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numbers>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace qat::nn {

/// x on the grid as it is now, without gradient: nothing is observed, nothing moves, no probe sees it.
inline torch::Tensor on_grid(Grid& grid, torch::Tensor const& x) {
    torch::NoGradGuard no_grad;
    struct Still {
        Grid& grid;
        bool training = grid.is_training();
        decltype(grid.probe) probe = std::exchange(grid.probe, nullptr);
        ~Still() { grid.train(training), grid.probe = std::move(probe); }
    } const still{grid};
    grid.eval();
    return grid.forward(x);
}

namespace detail {
// [] or [C] so that it broadcasts over the first dimension of a weight.
inline torch::Tensor by_row(torch::Tensor const& per_channel) {
    return per_channel.dim() == 0 ? per_channel : per_channel.view({-1, 1, 1, 1});
}

inline bool follows_grid(std::optional<QuantizedWeight> const& w) {
    return w && w->grid->quantized() && w->grid->mode == GridMode::quantize && !w->grid->unseen();
}
}  // namespace detail

/// Strength of the dampening once `progress` of the training is done, 0 to 1: from 0 along a cosine.
inline double dampening_share(double progress) {
    return (1 - std::cos(std::clamp(progress, 0.0, 1.0) * std::numbers::pi)) / 2;
}

/// Adds the gradient of   L = strength * sum over weights of (Q(w) - clip(w))^2   to every convolution's
/// weight, where clip limits to the grid's range, Q(w) counts as a constant and w is what the grid sees:
///     dL/dw = 2 strength (w - Q(w)) inside the range, 0 outside          section 4.2
/// Weights that need no gradient are left out. Returns L, a scalar.
inline torch::Tensor dampen(torch::nn::Module& model, double strength) {
    torch::NoGradGuard no_grad;
    torch::Tensor loss;
    for_each_producer(model, [&](Producer const& producer) {
        auto const w = producer.quantized_weight();
        if (!detail::follows_grid(w) || !w->weight.requires_grad()) return;
        auto const [scale, zero] = w->grid->by_channel();
        auto const seen = w->seen();
        auto const low = detail::by_row(scale * (w->grid->levels.lo - zero));
        auto const high = detail::by_row(scale * (w->grid->levels.hi - zero));
        auto distance = torch::minimum(torch::maximum(seen, low), high).sub_(on_grid(*w->grid, seen));
        auto const term = distance.square().sum() * strength;
        loss = loss.defined() ? loss + term : term;
        distance.mul_(2 * strength);
        if (w->factor.defined()) distance.mul_(w->factor.view({-1, 1, 1, 1}));
        auto& gradient = w->weight.mutable_grad();
        if (gradient.defined())
            gradient.add_(distance);
        else
            gradient = distance;
    });
    return loss.defined() ? loss : torch::zeros({});
}

struct OscillationOptions {
    double momentum = 0.01;       // of the moving averages; the paper's
    double freeze_threshold = 0;  // weights that flip back more often are frozen; 0: none are
};

/// Follows the integers of all weights of a model, which must outlive it. A change of integer against the
/// direction of the one before is an oscillation; its frequency is the moving average, from 0 to 1 (section
/// 4.3). Memory: 5 bytes a weight, 10 where weights may freeze. It is no state of the network: state() and
/// restore() are for a run that is interrupted. A change of the number of bits starts it anew.
class WeightOscillation {
public:
    explicit WeightOscillation(torch::nn::Module& model, OscillationOptions options = {}) : o_(options) {
        for_each_producer(model, [&](Producer& producer) {
            if (producer.quantized_weight()) histories_.push_back({&producer});
        });
    }

    /// After every step of the optimizer, which has moved frozen weights too: they are put back.
    void follow() {
        torch::NoGradGuard no_grad;
        for (auto& history : histories_)
            if (auto const w = history.producer->quantized_weight(); detail::follows_grid(w))
                follow(history, *w);
    }

    /// The share of weights that oscillate. threshold: of the frequency; with a momentum of 0.01 a single
    /// change back counts for 70 steps.
    double share(double threshold = 0.005) const {
        torch::Tensor count;
        std::int64_t weights = 0;
        for (auto const& h : histories_) {
            if (!h.frequency.defined()) continue;
            auto const found = (h.frequency > threshold).sum();
            count = count.defined() ? count + found : found;
            weights += h.frequency.numel();
        }
        return weights ? count.item<double>() / static_cast<double>(weights) : 0;
    }

    std::int64_t frozen() const {  // weights
        std::int64_t count = 0;
        for (auto const& h : histories_)
            if (h.frozen.defined()) count += h.frozen.sum().item<std::int64_t>();
        return count;
    }

    /// The histories by name ("3.code": of the third weight), for a checkpoint: these very tensors.
    std::vector<std::pair<std::string, torch::Tensor>> state() const {
        std::vector<std::pair<std::string, torch::Tensor>> tensors;
        for (std::size_t i = 0; i < histories_.size(); ++i) {
            auto const& h = histories_[i];
            if (!h.code.defined()) continue;
            auto const name = std::to_string(i);
            tensors.emplace_back(name + ".levels", torch::tensor({h.levels.lo, h.levels.hi}, torch::kLong));
            for (auto const& [part, member] : parts)
                if ((h.*member).defined()) tensors.emplace_back(name + part, h.*member);
        }
        return tensors;
    }

    /// saved: what state() gave, in the same network. Weights that it does not name start anew.
    void restore(std::map<std::string, torch::Tensor, std::less<>> const& saved) {
        for (std::size_t i = 0; i < histories_.size(); ++i) {
            auto& h = histories_[i];
            auto const name = std::to_string(i);
            auto const levels = saved.find(name + ".levels");
            auto const w = h.producer->quantized_weight();
            if (levels == saved.end() || !w) continue;
            h.levels = {levels->second[0].item<std::int64_t>(), levels->second[1].item<std::int64_t>()};
            for (auto const& [part, member] : parts)
                if (auto const found = saved.find(name + part); found != saved.end())
                    h.*member = found->second.to(w->weight.device()).clone();
        }
    }

private:
    struct History {
        Producer* producer;
        Levels levels{0, 0};
        torch::Tensor code = {};       // after the last step, relative to zero; int16 or int32
        torch::Tensor direction = {};  // of its last change; 0: none so far                      int8
        torch::Tensor frequency = {};  // of changes back                                         float16
        torch::Tensor frozen = {};     // where weights may freeze                                bool
        torch::Tensor average = {};    // of the code, where weights may freeze                   float32
    };

    static constexpr std::pair<char const*, torch::Tensor History::*> parts[] = {
        {".code", &History::code},
        {".direction", &History::direction},
        {".frequency", &History::frequency},
        {".frozen", &History::frozen},
        {".average", &History::average}};

    void follow(History& h, QuantizedWeight const& w) const {
        auto const scale = detail::by_row(w.grid->by_channel().first);
        auto code = on_grid(*w.grid, w.seen()).div_(scale).round_();
        if (!h.code.defined() || h.levels != w.grid->levels) return begin(h, code, w.grid->levels);

        if (h.frozen.defined()) code = torch::where(h.frozen, h.code.to(torch::kFloat), code);
        auto const direction = torch::sign(code - h.code).to(torch::kChar);
        auto const back = (direction * h.direction) < 0;
        h.frequency.copy_(h.frequency.to(torch::kFloat).lerp_(back.to(torch::kFloat), o_.momentum));
        h.direction.copy_(torch::where(direction != 0, direction, h.direction));
        if (h.frozen.defined()) {
            h.average.lerp_(code, o_.momentum);
            auto const freezes = (h.frequency > o_.freeze_threshold).logical_and_(~h.frozen);
            code = torch::where(freezes, h.average.round(), code);
            h.frozen.logical_or_(freezes);
            auto value = code * scale;
            if (w.factor.defined())
                value.div_(w.factor.view({-1, 1, 1, 1}));  // a factor of 0: nothing to pin
            w.weight.detach().copy_(torch::where(h.frozen & value.isfinite(), value, w.weight));
        }
        h.code.copy_(code);
    }

    void begin(History& h, torch::Tensor const& code, Levels levels) const {
        h.levels = levels;
        h.code = code.to(levels.hi - levels.lo < 32768 ? torch::kShort : torch::kInt);
        h.direction = torch::zeros_like(code, code.options().dtype(torch::kChar));
        h.frequency = torch::zeros_like(code, code.options().dtype(torch::kHalf));
        if (o_.freeze_threshold <= 0) return;
        h.frozen = torch::zeros_like(code, code.options().dtype(torch::kBool));
        h.average = code.clone();
    }

    OscillationOptions o_;
    std::vector<History> histories_;
};

}  // namespace qat::nn
