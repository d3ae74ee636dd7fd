#pragma once
// What a checkpoint says about its network besides the tensors, and its JSON form.

#include <yolo/model/options.hpp>

#include <nlohmann/json.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace yolo {

struct Manifest {
    static constexpr int newest = 1;

    int format_version = newest;
    std::string experiment;  // its name; empty: not known
    Size size = nano;
    std::int64_t classes = 80;
    std::vector<std::string> names;              // one for each class
    Anchors anchors = coco_anchors;              // pixels
    std::array<int, 3> strides = yolo::strides;  // pixels
    int epoch = -1;                              // last finished epoch; -1: not in training
    double best_fitness = 0;                     // 0.1 mAP50 + 0.9 mAP50-95 of the best epoch
    int bits = 0;                                // to which its grids have stepped down; 0: their formats'
    std::map<std::string, std::string> extra;    // later additions
};

/// One JSON object as text.
inline std::string to_json(Manifest const& manifest) {
    nlohmann::ordered_json json;
    json["format_version"] = manifest.format_version;
    json["experiment"] = manifest.experiment;
    json["size"] = {{"depth", manifest.size.depth}, {"width", manifest.size.width}};
    json["classes"] = manifest.classes;
    json["names"] = manifest.names;
    for (auto const& level : manifest.anchors) {
        auto boxes = nlohmann::ordered_json::array();
        for (auto const& box : level) boxes.push_back({box.width, box.height});
        json["anchors"].push_back(boxes);
    }
    json["strides"] = manifest.strides;
    json["epoch"] = manifest.epoch;
    json["best_fitness"] = std::isfinite(manifest.best_fitness) ? manifest.best_fitness : 0.0;
    if (manifest.bits > 0) json["bits"] = manifest.bits;
    json["extra"] = manifest.extra;
    return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

/// throws std::runtime_error when the text is no manifest, is from a newer version or contradicts itself.
inline Manifest manifest_from_json(std::string const& text) {
    Manifest manifest;
    try {
        auto const json = nlohmann::json::parse(text);
        manifest.format_version = json.at("format_version").get<int>();
        if (manifest.format_version < 1 || manifest.format_version > Manifest::newest)
            throw std::runtime_error("it has format version " + std::to_string(manifest.format_version) +
                                     ", this program knows up to " + std::to_string(Manifest::newest) +
                                     "; use a newer one");
        manifest.experiment = json.at("experiment").get<std::string>();
        manifest.size = {json.at("size").at("depth").get<double>(),
                         json.at("size").at("width").get<double>()};
        manifest.classes = json.at("classes").get<std::int64_t>();
        manifest.names = json.at("names").get<std::vector<std::string>>();
        auto const anchors = json.at("anchors").get<std::array<std::array<std::array<float, 2>, 3>, 3>>();
        for (std::size_t level = 0; level < 3; ++level)
            for (std::size_t i = 0; i < 3; ++i)
                manifest.anchors[level][i] = {anchors[level][i][0], anchors[level][i][1]};
        manifest.strides = json.at("strides").get<std::array<int, 3>>();
        manifest.epoch = json.value("epoch", -1);
        manifest.best_fitness = json.value("best_fitness", 0.0);
        manifest.bits = json.value("bits", 0);
        manifest.extra = json.value("extra", std::map<std::string, std::string>{});
    } catch (nlohmann::json::exception const& error) {
        throw std::runtime_error(std::string("the manifest is damaged (") + error.what() +
                                 "); save the file again");
    }
    return manifest;
}

/// What does not fit together, as a sentence; empty when all is well.
inline std::string contradiction(Manifest const& manifest) {
    auto const in = [](double value, double low, double high) { return value >= low && value <= high; };
    if (!in(manifest.size.depth, 0.01, 10) || !in(manifest.size.width, 0.01, 10))
        return "depth and width multiples are " + std::to_string(manifest.size.depth) + " and " +
               std::to_string(manifest.size.width) + ", want 0.01 to 10";
    if (manifest.classes < 1 || manifest.classes > 100'000)
        return "it has " + std::to_string(manifest.classes) + " classes, want 1 to 100000";
    if (!manifest.names.empty() && std::int64_t(manifest.names.size()) != manifest.classes)
        return "it has " + std::to_string(manifest.names.size()) + " names for " +
               std::to_string(manifest.classes) + " classes";
    for (auto const& level : manifest.anchors)
        for (auto const& box : level)
            if (!in(box.width, 1e-3, 1e5) || !in(box.height, 1e-3, 1e5))
                return "an anchor is not a size in pixels";
    for (auto const stride : manifest.strides)
        if (stride < 1 || stride > 1024) return "a stride is " + std::to_string(stride) + " pixels";
    return {};
}

}  // namespace yolo
