#pragma once
// Results of the command lines as one JSON object.

#include <nlohmann/json.hpp>
#include <yolo/io/atomic_file.hpp>
#include <yolo/metrics/validation.hpp>

namespace yolo {

/// precision, recall, map50, map, per_class, speed_ms
inline nlohmann::ordered_json to_json(Validation const& v, std::vector<std::string> const& names) {
    auto const& e = v.evaluation;
    auto per_class = nlohmann::ordered_json::array();
    for (auto const& c : e.per_class)
        per_class.push_back({{"class", c.cls},
                             {"name", names.at(static_cast<std::size_t>(c.cls))},
                             {"images", c.images},
                             {"labels", c.labels},
                             {"precision", c.precision},
                             {"recall", c.recall},
                             {"map50", c.map50},
                             {"map", c.map}});
    return {
        {"images", e.images},
        {"labels", e.labels},
        {"precision", e.precision},
        {"recall", e.recall},
        {"map50", e.map50},
        {"map", e.map},
        {"per_class", per_class},
        {"speed_ms", {{"preprocess", v.preprocess_ms}, {"inference", v.inference_ms}, {"nms", v.nms_ms}}}};
}

/// Makes the folder.
inline void write_json(std::filesystem::path const& file, nlohmann::ordered_json const& json) {
    std::error_code ignored;  // writing says more
    if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), ignored);
    // Names of files need not be UTF-8.
    write_atomically(file, json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace yolo
