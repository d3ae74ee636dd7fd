#pragma once
// Between our parameter names and YOLOv5's: "backbone.c3_2.m0.cv1.conv.weight" <-> "model.2.m.0.cv1.conv.weight".
// Quantizers stand beside what they quantize: "model.0.output.scale", "model.2.m.0.add.output.scale".

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace yolo {

/// Our named members and the numbered layers of the reference's YAML. 11 and 15 (upsample) have no state.
inline constexpr std::array<std::pair<std::string_view, std::string_view>, 26> layer_names{{
    {"backbone.stem", "model.0"},     {"backbone.down2", "model.1"},
    {"backbone.c3_2", "model.2"},     {"backbone.down3", "model.3"},
    {"backbone.c3_3", "model.4"},     {"backbone.down4", "model.5"},
    {"backbone.c3_4", "model.6"},     {"backbone.down5", "model.7"},
    {"backbone.c3_5", "model.8"},     {"backbone.sppf", "model.9"},
    {"neck.lateral5", "model.10"},    {"neck.up4", "model.12"},
    {"neck.mix4", "model.13"},        {"neck.lateral4", "model.14"},
    {"neck.up3", "model.16"},         {"neck.out3", "model.17"},
    {"neck.down3", "model.18"},       {"neck.join4", "model.19"},
    {"neck.out4", "model.20"},        {"neck.down4", "model.21"},
    {"neck.join5", "model.22"},       {"neck.out5", "model.23"},
    {"detect.head3", "model.24.m.0"}, {"detect.head4", "model.24.m.1"},
    {"detect.head5", "model.24.m.2"}, {"input", "input"},
}};

/// Whether the network has a stage of this name, "detect" or "backbone.c3_2".
constexpr bool has_stage(std::string_view name) {
    for (auto const& [stage, _] : layer_names)
        if (stage != "input" && stage.starts_with(name) &&
            (stage.size() == name.size() || stage[name.size()] == '.'))
            return true;
    return false;
}

/// YOLOv5's key of one of our parameters, buffers or modules.
inline std::string reference_key(std::string_view ours) {
    for (auto const& [member, layer] : layer_names) {
        if (!ours.starts_with(member)) continue;
        auto rest = ours.substr(member.size());
        if (!rest.empty() && rest.front() != '.') continue;
        std::string key(layer);
        while (!rest.empty()) {  // ".m3.cv1" -> ".m.3.cv1"
            rest.remove_prefix(1);
            auto const part = rest.substr(0, rest.find('.'));
            rest.remove_prefix(part.size());
            bool const bottleneck =
                part.size() > 1 && part[0] == 'm' && part.find_first_not_of("0123456789", 1) == part.npos;
            (key += '.') += bottleneck ? "m." + std::string(part.substr(1)) : std::string(part);
        }
        return key;
    }
    return std::string(ours);
}

}  // namespace yolo
