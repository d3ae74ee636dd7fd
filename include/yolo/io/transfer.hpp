#pragma once
// Between a detector and a state dictionary with YOLOv5's keys, in both directions.

#include <qat/nn/grid.hpp>
#include <yolo/io/state_dict.hpp>
#include <yolo/model/detector.hpp>
#include <yolo/model/keys.hpp>

#include <algorithm>
#include <set>
#include <stdexcept>

namespace yolo {

/// exact: a checkpoint of this very experiment; everything must be there and fit.
/// adapt: the start of another training. Batch norm is folded if the network has none; quantizers may start fresh, and
///        those whose range the experiment fixes keep it; a head for another number of classes is left as it is.
/// restart: as adapt, and all quantizers start fresh: another experiment's ranges and zero points are not this one's.
enum class Fit { exact, adapt, restart };

struct Transfer {
    std::int64_t transferred = 0, total = 0;            // of YOLOv5's own tensors; "transferred 343/349"
    std::int64_t quantizers = 0, fresh_quantizers = 0;  // tensors of quantizers that were read, or start anew
};

namespace detail {

struct NamedState {
    std::string key;       // YOLOv5's
    torch::Tensor tensor;  // the detector's own
    bool fixed = false;    // of a quantizer whose range the experiment fixes
};

inline int layer_of(std::string_view key) {  // "model.17.m.0" -> 17; other keys first
    if (!key.starts_with("model.")) return -1;
    return std::atoi(std::string(key.substr(6)).c_str());
}

/// Parameters and buffers, layer by layer, each module's own before its children's, as in a state_dict of torch.
inline std::vector<NamedState> named_state(Detector& detector) {
    std::vector<NamedState> state;
    std::set<void const*> seen;
    for (auto const& module : detector.module().named_modules()) {
        auto const prefix = module.key().empty() ? std::string() : module.key() + ".";
        auto const* grid = dynamic_cast<qat::nn::Grid const*>(module.value().get());
        bool const fixed = grid != nullptr && grid->fixed();
        auto const add = [&](auto const& items) {
            for (auto const& item : items)
                if (seen.insert(item.value().unsafeGetTensorImpl()).second)
                    state.push_back({reference_key(prefix + item.key()), item.value(), fixed});
        };
        add(module.value()->named_parameters(/*recurse=*/false));
        add(module.value()->named_buffers(/*recurse=*/false));
    }
    std::stable_sort(state.begin(), state.end(),
                     [](auto const& a, auto const& b) { return layer_of(a.key) < layer_of(b.key); });
    return state;
}

inline bool of_quantizer(std::string_view key) {
    return key.find("weight_grid.") != key.npos || key.find("output.") != key.npos;
}

inline std::string size_text(torch::Tensor const& t) {
    std::string text = "[";
    for (auto size : t.sizes()) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    return text + "]";
}

/// Anchors in cells, as YOLOv5 stores them: model.24.anchors                                              [3, 3, 2]
inline torch::Tensor anchors_in_cells(YoloV5Options const& o) {
    auto t = torch::empty({3, 3, 2});
    auto at = t.accessor<float, 3>();
    for (std::size_t level = 0; level < 3; ++level)
        for (std::size_t a = 0; a < 3; ++a) {
            auto const l = static_cast<std::int64_t>(level), k = static_cast<std::int64_t>(a);
            at[l][k][0] = o.anchors[level][a].width / static_cast<float>(strides[level]);
            at[l][k][1] = o.anchors[level][a].height / static_cast<float>(strides[level]);
        }
    return t;
}
inline constexpr std::string_view anchors_key = "model.24.anchors";
}  // namespace detail

/// Convolution and batch norm become one convolution with bias: w * f, beta - mean * f, f = gamma / sqrt(var + 1e-3).
inline StateDict fold_batch_norm(StateDict const& state) {
    StateDict folded;
    for (auto const& [key, tensor] : state) {
        constexpr std::string_view leaf = "conv.weight";
        if (key.find(".bn.") != key.npos) continue;
        auto const stem = key.ends_with(leaf) ? key.substr(0, key.size() - leaf.size()) : std::string();
        auto const* gamma = stem.empty() ? nullptr : find(state, stem + "bn.weight");
        if (gamma == nullptr) {
            folded.emplace_back(key, tensor);
            continue;
        }
        auto const part = [&](char const* name) {
            auto const* t = find(state, stem + "bn." + name);
            if (t == nullptr)
                throw std::runtime_error("there is " + stem + "bn.weight but no " + stem + "bn." + name);
            return t->to(torch::kFloat);
        };
        auto const f = part("weight") * torch::rsqrt(part("running_var") + 1e-3);
        folded.emplace_back(key, tensor.to(torch::kFloat) * f.view({-1, 1, 1, 1}));
        folded.emplace_back(stem + "conv.bias", part("bias") - part("running_mean") * f);
    }
    return folded;
}

/// Copies what fits into the detector. source: named in errors.
/// throws std::runtime_error that names key, expected and found.
inline Transfer load_state(Detector& detector, StateDict const& given, Fit fit, std::string const& source) {
    torch::NoGradGuard no_grad;
    auto const ours = detail::named_state(detector);
    auto const has = [](auto const& keys, std::string_view part) {
        return std::any_of(keys.begin(), keys.end(),
                           [&](auto const& k) { return k.find(part) != std::string::npos; });
    };
    std::vector<std::string> our_keys, their_keys;
    for (auto const& s : ours) our_keys.push_back(s.key);
    for (auto const& s : given) their_keys.push_back(s.first);
    bool const we_have_bn = has(our_keys, ".bn."), they_have_bn = has(their_keys, ".bn.");
    if (we_have_bn && !they_have_bn)
        throw std::runtime_error(
            source + " holds folded batch norm, and this experiment trains it; start from a checkpoint "
                     "of a float experiment (silu, relu, relu6)");
    StateDict const state = they_have_bn && !we_have_bn && fit != Fit::exact ? fold_batch_norm(given) : given;
    std::map<std::string_view, torch::Tensor const*> by_key;
    for (auto const& [key, tensor] : state) by_key.emplace(key, &tensor);

    Transfer result;
    auto const classes_of_head = by_key.find("model.24.m.0.bias");
    bool const other_classes = fit != Fit::exact && classes_of_head != by_key.end() &&
                               classes_of_head->second->numel() != detector.options().per_cell();
    for (auto const& [key, tensor, fixed] : ours) {
        bool const quantizer = detail::of_quantizer(key);
        bool const head = key.starts_with("model.24.");
        if (!quantizer) ++result.total;
        if (quantizer && (fit == Fit::restart || (fixed && fit != Fit::exact))) {
            ++result.fresh_quantizers;
            continue;
        }
        auto const found = by_key.find(key);
        if (found == by_key.end()) {
            if (fit != Fit::exact && quantizer) {
                ++result.fresh_quantizers;
                continue;
            }
            throw std::runtime_error(source + " has no " + key + " (expected " + detail::size_text(tensor) +
                                     "); is it a checkpoint of another network or experiment?");
        }
        auto const& theirs = *found->second;
        if (theirs.sizes() != tensor.sizes()) {
            if (head && other_classes) {
                if (quantizer) ++result.fresh_quantizers;
                continue;
            }
            throw std::runtime_error(source + ": " + key + " is " + detail::size_text(theirs) +
                                     ", expected " + detail::size_text(tensor) +
                                     "; size or class count of the network differ");
        }
        torch::Tensor target = tensor;
        target.copy_(theirs);
        ++(quantizer ? result.quantizers : result.transferred);
    }
    ++result.total;  // the anchors are a tensor of YOLOv5's, and values of ours
    if (by_key.contains(detail::anchors_key)) ++result.transferred;
    return result;
}

/// Everything the detector knows, on the CPU, with YOLOv5's keys and anchors.
inline StateDict state_of(Detector& detector) {
    torch::NoGradGuard no_grad;
    StateDict state;
    for (auto const& [key, tensor, _] : detail::named_state(detector))
        state.emplace_back(key, tensor.detach().to(torch::kCPU).clone());
    state.emplace_back(detail::anchors_key, detail::anchors_in_cells(detector.options()));
    return state;
}

}  // namespace yolo
