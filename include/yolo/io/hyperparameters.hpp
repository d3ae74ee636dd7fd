#pragma once
// Hyper-parameters from and to YAML (YOLOv5's hyp.*.yaml as they are) and JSON: one table of names serves
// all.

#include <yolo/io/yaml_file.hpp>
#include <yolo/train/hyperparameters.hpp>

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace yolo {

/// Names as in YOLOv5, in the order of its files; then ours.
inline constexpr std::array<std::pair<std::string_view, double Hyperparameters::*>, 30> hyperparameter_table{{
    {"lr0", &Hyperparameters::lr0},
    {"lrf", &Hyperparameters::lrf},
    {"momentum", &Hyperparameters::momentum},
    {"weight_decay", &Hyperparameters::weight_decay},
    {"warmup_epochs", &Hyperparameters::warmup_epochs},
    {"warmup_momentum", &Hyperparameters::warmup_momentum},
    {"warmup_bias_lr", &Hyperparameters::warmup_bias_lr},
    {"box", &Hyperparameters::box},
    {"cls", &Hyperparameters::cls},
    {"cls_pw", &Hyperparameters::cls_pw},
    {"obj", &Hyperparameters::obj},
    {"obj_pw", &Hyperparameters::obj_pw},
    {"iou_t", &Hyperparameters::iou_t},
    {"anchor_t", &Hyperparameters::anchor_t},
    {"fl_gamma", &Hyperparameters::fl_gamma},
    {"label_smoothing", &Hyperparameters::label_smoothing},
    {"hsv_h", &Hyperparameters::hsv_h},
    {"hsv_s", &Hyperparameters::hsv_s},
    {"hsv_v", &Hyperparameters::hsv_v},
    {"degrees", &Hyperparameters::degrees},
    {"translate", &Hyperparameters::translate},
    {"scale", &Hyperparameters::scale},
    {"shear", &Hyperparameters::shear},
    {"perspective", &Hyperparameters::perspective},
    {"flipud", &Hyperparameters::flipud},
    {"fliplr", &Hyperparameters::fliplr},
    {"mosaic", &Hyperparameters::mosaic},
    {"mixup", &Hyperparameters::mixup},
    {"copy_paste", &Hyperparameters::copy_paste},
    {"quantizer_lr", &Hyperparameters::quantizer_lr},
}};
static_assert(sizeof(Hyperparameters) == hyperparameter_table.size() * sizeof(double),
              "Hyperparameters and hyperparameter_table differ: give the new member its line in the table");

namespace detail {

inline std::vector<std::string_view> hyperparameter_names() {
    std::vector<std::string_view> names;
    for (auto const& row : hyperparameter_table) names.push_back(row.first);
    return names;
}

/// throws std::runtime_error naming the place when the number has no meaning for that key.
inline void set(Hyperparameters& hyp, std::string const& key, double value, std::string const& where) {
    for (auto const& [name, member] : hyperparameter_table)
        if (name == key) {
            if (!std::isfinite(value) || value < 0)
                throw std::runtime_error(where + ": " + key + " is " + std::to_string(value) +
                                         ", want a number that is not negative");
            hyp.*member = value;
            return;
        }
    unknown_key(key, hyperparameter_names(), where);
}

/// The fewest digits that give the same double again; no exponent, since Python's YAML takes 5e-04 for a
/// text.
inline std::string shortest(double value) {
    std::array<char, 400> text;
    auto const end =
        std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed).ptr;
    return {text.data(), end};
}

}  // namespace detail

/// YOLOv5's hyp.*.yaml; keys that are missing keep their default. `anchors`, of a layer, is read and must mean 3.
/// throws std::runtime_error: file, line, key, remedy.
inline Hyperparameters load_hyperparameters(std::filesystem::path const& path) {
    Hyperparameters hyp;
    auto const root = detail::load_yaml(path);  // alive as long as the loop over it
    for (auto const& item : root) {
        if (!item.first.IsScalar())
            throw std::runtime_error(detail::place(path, item.first) + ": a key is not a text; correct it");
        auto const key = item.first.Scalar();
        auto const where = detail::place(path, item.first);
        double value = 0;
        if (!YAML::convert<double>::decode(item.second, value))
            throw std::runtime_error(where + ": the value of " + key + " is not a number; correct it");
        if (key != "anchors") {
            detail::set(hyp, key, value, where);
        } else if (std::lround(value) != 3) {
            throw std::runtime_error(where + ": " + item.second.Scalar() +
                                     " anchors, and each layer of these networks has 3; drop the key");
        }
    }
    return hyp;
}

/// One line a key; load_hyperparameters reads the same values again.
inline std::string to_yaml(Hyperparameters const& hyp) {
    std::string text;
    for (auto const& [name, member] : hyperparameter_table)
        text += std::string(name) + ": " + detail::shortest(hyp.*member) + "\n";
    return text;
}

inline nlohmann::ordered_json to_json(Hyperparameters const& hyp) {
    nlohmann::ordered_json json;
    for (auto const& [name, member] : hyperparameter_table) json[std::string(name)] = hyp.*member;
    return json;
}

/// Changes the keys that `json` has. throws std::runtime_error naming `file` for unknown keys and what is no
/// number.
inline void update(Hyperparameters& hyp, nlohmann::json const& json, std::filesystem::path const& file) {
    require_known_keys(json, detail::hyperparameter_names(), file);
    for (auto const& item : json.items()) {
        if (!item.value().is_number())
            throw std::runtime_error(file.string() + ": the value of " + item.key() +
                                     " is not a number; correct it");
        detail::set(hyp, item.key(), item.value().get<double>(), file.string());
    }
}

}  // namespace yolo
