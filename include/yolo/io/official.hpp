#pragma once
// What files that are not ours say about their network: official YOLOv5 checkpoints by the attributes of the
// pickled model, bare state dictionaries by the shapes of their tensors.

#include <yolo/io/manifest.hpp>
#include <yolo/io/state_dict.hpp>

#include <bit>
#include <optional>

namespace yolo::detail {

/// Depth and width multiples from the first convolution and the number of bottlenecks in layers 2, 4 and 6.
/// throws std::runtime_error naming what is missing.
inline Size size_from_shapes(StateDict const& tensors) {
    auto const* stem = find(tensors, "model.0.conv.weight");
    if (!stem || stem->dim() != 4)
        throw std::runtime_error(
            "it has no convolution model.0.conv.weight, so it is no YOLOv5 network of version 6 "
            "or 7; give a YOLOv5 checkpoint or a saved state_dict()");
    auto const bottlenecks = [&](int layer) {
        std::int64_t count = 0;
        auto const key = [&] {
            return "model." + std::to_string(layer) + ".m." + std::to_string(count) + ".cv1.conv.weight";
        };
        while (find(tensors, key())) ++count;
        return count;
    };
    std::array<std::int64_t, 3> const found{bottlenecks(2), bottlenecks(4), bottlenecks(6)};
    auto const fits = [&](Size size) {
        return size.channels(64) == stem->size(0) && size.repeats(3) == found[0] &&
               size.repeats(6) == found[1] && size.repeats(9) == found[2];
    };
    auto const width = double(stem->size(0)) / 64, depth = double(found[2]) / 9;
    for (auto const size : {nano, small, medium, large, extra_large, Size{depth, width}})
        if (fits(size)) return size;
    throw std::runtime_error("its size cannot be told from the shapes: " + std::to_string(stem->size(0)) +
                             " channels in model.0, " + std::to_string(found[0]) + ", " +
                             std::to_string(found[1]) + " and " + std::to_string(found[2]) +
                             " bottlenecks in model.2, model.4 and model.6; save it with its manifest");
}

/// From the head's outputs, 3 anchors * (classes + 5); throws when there is no head.
inline std::int64_t classes_from_shapes(StateDict const& tensors) {
    auto const* head = find(tensors, "model.24.m.0.weight");
    if (!head || head->dim() != 4 || head->size(0) % 3 != 0 || head->size(0) < 18)
        throw std::runtime_error(
            "it has no head model.24.m.0.weight with 3 * (classes + 5) outputs, so the number of "
            "classes is not known; save the whole state_dict()");
    return head->size(0) / 3 - 5;
}

/// model.24.anchors [3,3,2] is in cells: times the strides it is in pixels. Null without it.
inline std::optional<Anchors> anchors_from_tensor(StateDict const& tensors,
                                                  std::array<int, 3> const& stride) {
    auto const* stored = find(tensors, "model.24.anchors");
    if (!stored) return std::nullopt;
    if (stored->sizes() != at::IntArrayRef({3, 3, 2}))
        throw std::runtime_error(
            "model.24.anchors is not 3 levels of 3 anchors; other heads are not supported");
    auto const cells = stored->to(torch::kFloat).contiguous();  // [3, 3, 2]
    auto const* value = cells.data_ptr<float>();
    Anchors anchors;
    for (std::size_t level = 0; level < 3; ++level)
        for (auto& box : anchors[level]) {
            box.width = *value++ * float(stride[level]);
            box.height = *value++ * float(stride[level]);
        }
    return anchors;
}

inline Manifest bare_manifest(StateDict const& tensors) {
    Manifest manifest;
    manifest.size = size_from_shapes(tensors);
    manifest.classes = classes_from_shapes(tensors);
    for (std::int64_t i = 0; i < manifest.classes && i < 100'000; ++i)
        manifest.names.push_back(std::to_string(i));
    if (auto const anchors = anchors_from_tensor(tensors, manifest.strides)) manifest.anchors = *anchors;
    return manifest;
}

/// A number that may also be a numpy scalar or one-element array of float64 (little-endian).
inline std::optional<double> number(pickle::Value const& value) {
    if (auto const plain = pickle::as_number(value)) return plain;
    auto const* object = pickle::as<pickle::Object>(value);
    if (!object || !object->type || !object->type->module.starts_with("numpy")) return std::nullopt;
    auto const* items =
        pickle::as_sequence(object->type->name == "scalar" ? object->arguments : object->state);
    if (!items || items->empty()) return std::nullopt;
    pickle::Object const* kind = nullptr;  // numpy.dtype('f8')
    for (auto const& item : *items)
        if (auto const* candidate = pickle::as<pickle::Object>(item)) kind = candidate;
    auto const* bytes = pickle::as<pickle::Bytes>(items->back());
    auto const* arguments = kind ? pickle::as_sequence(kind->arguments) : nullptr;
    auto const* name =
        arguments && !arguments->empty() ? pickle::as<pickle::Text>(arguments->front()) : nullptr;
    if (!name || name->value != "f8" || !bytes || bytes->value.size() != 8) return std::nullopt;
    return std::bit_cast<double>(little_endian<std::uint64_t>(std::as_bytes(std::span(bytes->value)), 0));
}

/// A list of names, or a dictionary from 0, 1, ... to names.
inline std::vector<std::string> class_names(pickle::Value const* value) {
    std::map<std::int64_t, std::string> names;
    auto const add = [&](std::int64_t index, pickle::Value const& item) {
        if (auto const* text = pickle::as<pickle::Text>(item)) names[index] = text->value;
    };
    if (!value) return {};
    if (auto const* items = pickle::as_sequence(*value))
        for (auto const& item : *items) add(std::int64_t(names.size()), item);
    else if (auto const* dictionary = pickle::as<pickle::Dict>(*value))
        for (auto const& [key, item] : dictionary->items)
            if (auto const* index = std::get_if<std::int64_t>(&key)) add(*index, item);
    std::vector<std::string> result;
    for (auto const& [index, name] : names) {
        if (index != std::int64_t(result.size()))
            throw std::runtime_error("its class names have no number " + std::to_string(result.size()));
        result.push_back(name);
    }
    return result;
}

/// Anchors of the model's YAML, three lists of six pixels; null when it only gives their number.
inline std::optional<Anchors> yaml_anchors(pickle::Value const* value) {
    auto const* levels = value ? pickle::as_sequence(*value) : nullptr;
    if (!levels || levels->size() != 3) return std::nullopt;
    Anchors anchors;
    for (std::size_t level = 0; level < 3; ++level) {
        auto const* sizes = pickle::as_sequence((*levels)[level]);
        if (!sizes || sizes->size() != 6) return std::nullopt;
        for (std::size_t i = 0; i < 6; ++i) {
            auto const pixels = pickle::as_number((*sizes)[i]);
            if (!pixels) return std::nullopt;
            auto& box = anchors[level][i / 2];
            (i % 2 == 0 ? box.width : box.height) = float(*pixels);
        }
    }
    return anchors;
}

/// True when both are the same but for the rounding of float16.
inline bool nearly_equal(Anchors const& a, Anchors const& b) {
    auto const near = [](float x, float y) { return std::abs(x - y) <= 2e-3f * std::abs(y); };
    for (std::size_t level = 0; level < 3; ++level)
        for (std::size_t i = 0; i < 3; ++i)
            if (!near(a[level][i].width, b[level][i].width) || !near(a[level][i].height, b[level][i].height))
                return false;
    return true;
}

/// The attribute of the module at `path` ("model", "0", "act") below `module`, null on the way.
inline pickle::Object const* submodule(pickle::Object const* module,
                                       std::initializer_list<char const*> path) {
    for (auto const* name : path) {
        auto const* children = pickle::attribute(module, "_modules");
        auto const* child = children ? pickle::find(pickle::as<pickle::Dict>(*children), name) : nullptr;
        module = child ? pickle::as<pickle::Object>(*child) : nullptr;
    }
    return module;
}

/// The experiment that computes what the pickled network did, by its activation; empty when there is none.
inline std::string experiment_of(pickle::Object const& model) {
    auto const* activation = submodule(&model, {"model", "0", "act"});
    auto const name = activation && activation->type ? activation->type->name : "SiLU";
    return name == "SiLU" ? "silu" : name == "ReLU" ? "relu" : name == "ReLU6" ? "relu6" : "";
}

/// `outer`: the dictionary around the model with epoch and fitness, or null.
inline Manifest official_manifest(TensorFile& file, pickle::Dict const* outer, pickle::Object const& model,
                                  StateDict const& tensors) {
    Manifest manifest;
    manifest.experiment = experiment_of(model);
    auto const* yaml_value = pickle::attribute(&model, "yaml");
    auto const* yaml = yaml_value ? pickle::as<pickle::Dict>(*yaml_value) : nullptr;
    auto const number_of = [](pickle::Value const* value) { return value ? number(*value) : std::nullopt; };

    auto const depth = number_of(pickle::find(yaml, "depth_multiple"));
    auto const width = number_of(pickle::find(yaml, "width_multiple"));
    auto const by_shape = size_from_shapes(tensors);
    manifest.size = depth && width ? Size{*depth, *width} : by_shape;
    manifest.classes = classes_from_shapes(tensors);
    manifest.names = class_names(pickle::attribute(&model, "names"));
    if (manifest.names.empty()) manifest.names = bare_manifest(tensors).names;

    if (auto const* stride = pickle::attribute(&model, "stride");
        stride && pickle::as<pickle::Tensor>(*stride)) {
        auto const values = file.tensor(*pickle::as<pickle::Tensor>(*stride)).to(torch::kDouble).contiguous();
        if (values.numel() != 3)
            throw std::runtime_error("it has " + std::to_string(values.numel()) +
                                     " detection levels, want 3; " +
                                     "networks with other heads are not supported");
        for (std::size_t i = 0; i < 3; ++i)
            manifest.strides[i] = int(std::clamp(values.data_ptr<double>()[i], 0.0, 1e6));
    }
    // The buffer is what the network was trained with (automatic anchors change it); the YAML has all digits.
    auto const stored = anchors_from_tensor(tensors, manifest.strides);
    auto const written = yaml_anchors(pickle::find(yaml, "anchors"));
    if (written && (!stored || nearly_equal(*stored, *written)))
        manifest.anchors = *written;
    else if (stored)
        manifest.anchors = *stored;

    if (auto const epoch = number_of(pickle::find(outer, "epoch")))
        manifest.epoch = int(std::clamp(*epoch, -1.0, 1e9));
    if (auto const fitness = number_of(pickle::find(outer, "best_fitness"));
        fitness && std::isfinite(*fitness))
        manifest.best_fitness = *fitness;
    return manifest;
}

}  // namespace yolo::detail
