#pragma once
// Which tensor was the first to leave the numbers, for a message that helps.

#include <yolo/io/transfer.hpp>

#include <array>
#include <string>

namespace yolo {

/// "model.2.conv.weight", "the gradient of model.2.conv.weight", "the logits of stride 8", "the box loss"; empty where all
/// is finite. In the order in which one makes the next not finite: state, logits, loss, gradients from the last layer.
inline std::string first_not_finite(Detector& detector, Logits const* logits = nullptr,
                                    torch::Tensor const& loss_items = {}) {
    torch::NoGradGuard no_grad;
    auto const bad = [](torch::Tensor const& t) {
        return t.defined() && t.is_floating_point() && !torch::isfinite(t).all().item<bool>();
    };
    auto const state = detail::named_state(detector);
    // The range of a grid that has seen nothing is infinite on purpose.
    auto const counts = [](std::string const& key) {
        return !key.ends_with(".min") && !key.ends_with(".max");
    };
    for (auto const& [key, tensor, _] : state)
        if (counts(key) && bad(tensor)) return key;
    if (logits)
        for (std::size_t level = 0; level < logits->size(); ++level)
            if (bad((*logits)[level])) return "the logits of stride " + std::to_string(strides[level]);
    static constexpr std::array<char const*, 3> parts{"box", "objectness", "class"};
    if (loss_items.defined())
        for (std::size_t i = 0; i < parts.size(); ++i)
            if (bad(loss_items[static_cast<std::int64_t>(i)]))
                return std::string("the ") + parts[i] + " loss";
    for (auto at = state.rbegin(); at != state.rend(); ++at)
        if (bad(at->tensor.grad())) return "the gradient of " + at->key;
    return {};
}

}  // namespace yolo
