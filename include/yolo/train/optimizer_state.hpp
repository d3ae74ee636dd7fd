#pragma once
// What an optimizer remembers, as named tensors: momenta and counts of every parameter. LibTorch's own serialization
// depends on the order of parameters and writes TorchScript archives, which our checkpoints do not read.

#include <yolo/io/state_dict.hpp>

#include <map>
#include <sstream>
#include <type_traits>

namespace yolo {

/// A tensor by its name, in no order.
using TensorsByName = std::map<std::string, torch::Tensor, std::less<>>;

/// Those whose name begins with the prefix, without it.
inline TensorsByName with_prefix(TensorsByName const& tensors, std::string_view prefix) {
    TensorsByName found;
    for (auto at = tensors.lower_bound(prefix); at != tensors.end() && at->first.starts_with(prefix); ++at)
        found.emplace(at->first.substr(prefix.size()), at->second);
    return found;
}

namespace detail {

// LibTorch 1.13 finds a parameter's state by its address as a text, 2.x by the address.
template <class Optimizer> auto optimizer_key(Optimizer& optimizer, torch::Tensor const& parameter) {
    using Key = typename std::remove_reference_t<decltype(optimizer.state())>::key_type;
    if constexpr (std::is_same_v<Key, std::string>) {
        std::ostringstream text;
        text << parameter.unsafeGetTensorImpl();
        return Key(text.str());
    } else {
        return Key(parameter.unsafeGetTensorImpl());
    }
}

template <class State> void write_adam(StateDict& to, std::string const& name, State& state) {
    to.emplace_back(name + ".step", torch::tensor(state.step(), torch::kLong));
    to.emplace_back(name + ".exp_avg", state.exp_avg());
    to.emplace_back(name + ".exp_avg_sq", state.exp_avg_sq());
}
}  // namespace detail

/// "KEY.momentum_buffer" (SGD), "KEY.step", "KEY.exp_avg", "KEY.exp_avg_sq" (Adam, AdamW) of every parameter that has
/// taken a step. The tensors are the optimizer's own.
/// parameters: by the key that the names begin with.
inline StateDict optimizer_state(torch::optim::Optimizer& optimizer, StateDict const& parameters) {
    StateDict result;
    for (auto const& [key, parameter] : parameters) {
        auto const found = optimizer.state().find(detail::optimizer_key(optimizer, parameter));
        if (found == optimizer.state().end()) continue;
        auto* const state = found->second.get();
        if (auto* sgd = dynamic_cast<torch::optim::SGDParamState*>(state)) {
            if (sgd->momentum_buffer().defined())
                result.emplace_back(key + ".momentum_buffer", sgd->momentum_buffer());
        } else if (auto* adam = dynamic_cast<torch::optim::AdamParamState*>(state)) {
            detail::write_adam(result, key, *adam);
        } else if (auto* adamw = dynamic_cast<torch::optim::AdamWParamState*>(state)) {
            detail::write_adam(result, key, *adamw);
        }
    }
    return result;
}

/// The optimizer remembers what it did when `saved` was taken; parameters that saved knows nothing of start anew.
/// throws std::runtime_error where a tensor does not fit its parameter.
inline void restore_optimizer(torch::optim::Optimizer& optimizer, StateDict const& parameters,
                              TensorsByName const& saved) {
    auto const adam = [&](auto state, std::string const& key, auto const& take) {
        auto const step = saved.find(key + ".step");
        if (step == saved.end()) return std::unique_ptr<torch::optim::OptimizerParamState>{};
        state->step(step->second.template item<std::int64_t>());
        state->exp_avg(take(".exp_avg")), state->exp_avg_sq(take(".exp_avg_sq"));
        return std::unique_ptr<torch::optim::OptimizerParamState>(std::move(state));
    };
    for (auto const& [key, parameter] : parameters) {
        auto const take = [&, &name = key, &like = parameter](char const* part) {
            auto const found = saved.find(name + part);
            if (found == saved.end()) return torch::Tensor();
            if (found->second.sizes() != like.sizes())
                throw std::runtime_error("what the optimizer remembers of " + name +
                                         " has another shape than the parameter; resume another checkpoint");
            return found->second.to(like.options()).detach().clone();
        };
        std::unique_ptr<torch::optim::OptimizerParamState> state;
        if (dynamic_cast<torch::optim::SGD*>(&optimizer)) {
            if (auto buffer = take(".momentum_buffer"); buffer.defined()) {
                auto sgd = std::make_unique<torch::optim::SGDParamState>();
                sgd->momentum_buffer(buffer);
                state = std::move(sgd);
            }
        } else if (dynamic_cast<torch::optim::AdamW*>(&optimizer)) {
            state = adam(std::make_unique<torch::optim::AdamWParamState>(), key, take);
        } else {
            state = adam(std::make_unique<torch::optim::AdamParamState>(), key, take);
        }
        if (state) optimizer.state()[detail::optimizer_key(optimizer, parameter)] = std::move(state);
    }
}

}  // namespace yolo
