#pragma once
// COCO's two kinds of JSON files: annotations, and results of a detector. Read entry by entry, so that files of
// hundreds of megabytes (most of it outlines, which are passed over) need little memory beyond their text.

#include <yolo/io/atomic_file.hpp>
#include <yolo/io/coco_entries.hpp>

#include <charconv>
#include <unordered_set>

namespace yolo {

namespace detail {

/// A decimal number as Python prints round(value, digits).
inline std::string rounded(double value, int digits) {
    std::array<char, 512> buffer{};
    auto const end =
        std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, digits);
    std::string text(buffer.data(), end.ptr);
    while (text.ends_with('0') && text[text.size() - 2] != '.') text.pop_back();
    return text;
}

}  // namespace detail

/// throws std::runtime_error when the file is no annotation file; the text names the entry and the remedy.
/// Requires "images", "annotations" (id, image_id, category_id, bbox, area; iscrowd is 0 where it is missing) and
/// "categories". The key "ignore" has no effect, as in pycocotools.
inline CocoGroundTruth read_coco_annotations(std::filesystem::path const& path) {
    using Entry = detail::CocoJsonEntry;
    CocoGroundTruth truth;
    auto const remedy = "give an annotation file such as instances_val2017.json";
    detail::read_coco_entries(path, remedy,
                              {{"images", [&] { truth.images.clear(); },
                                [&](Entry const& e) {
        truth.images.push_back({e.image_id("id"), e.text("file_name")});
                                }},
                               {"annotations", [&] { truth.annotations.clear(); },
                                [&](Entry const& e) {
        truth.annotations.push_back({e.integer("id"), e.image_id("image_id"), e.integer("category_id"),
                                     e.box(), e.number("area"),
                                     e.has("iscrowd") && e.integer("iscrowd") != 0});
                                }},
                              {"categories", [&] { truth.categories.clear(); },
                               [&](Entry const& e) {
        truth.categories.push_back({e.integer("id"), e.text("name")});
                               }}});
    return truth;
}

/// A list of {image_id, category_id, bbox, score}. What is of a category that the ground truth lacks stays in; it is
/// not evaluated.
/// throws std::runtime_error when the file is no such list, or an image is not one of the ground truth.
inline std::vector<CocoDetection> read_coco_results(std::filesystem::path const& path,
                                                    CocoGroundTruth const& truth) {
    std::unordered_set<CocoImageId> images;
    for (auto const& image : truth.images) images.insert(image.id);
    std::vector<CocoDetection> out;
    detail::read_coco_entries(path, "give a list of {image_id, category_id, bbox, score}",
                              {{"", [&] { out.clear(); },
                                [&](detail::CocoJsonEntry const& e) {
        auto& d = out.emplace_back();
        d.image_id = e.image_id("image_id");
        d.category_id = e.integer("category_id");
        d.box = e.box();
        d.score = e.number("score");
        if ((out.size() == 1 || d.image_id != out[out.size() - 2].image_id) && !images.contains(d.image_id))
            e.fail("is of image " + coco_text(d.image_id) +
                   ", which the annotations lack; give the annotations of the images that were detected in");
                                }}});
    return out;
}

/// As YOLOv5 and Python's json write it: boxes rounded to 3 decimals, scores to 5.
/// throws std::runtime_error for numbers that are not finite, or when the file cannot be written.
inline void write_coco_results(std::filesystem::path const& path,
                               std::vector<CocoDetection> const& detections) {
    AtomicFile file(path);
    std::string text = "[";
    for (std::size_t i = 0; i < detections.size(); ++i) {
        auto const& d = detections[i];
        if (!std::isfinite(d.score + d.box[0] + d.box[1] + d.box[2] + d.box[3]))
            throw std::runtime_error(
                path.string() + ": detection " + std::to_string(i) +
                " has a box or a score that is not finite, which JSON cannot hold; leave it out");
        auto const* number = std::get_if<std::int64_t>(&d.image_id);
        text += i == 0 ? "{\"image_id\": " : ", {\"image_id\": ";
        text += number ? std::to_string(*number)
                       : nlohmann::json(std::get<std::string>(d.image_id))
                             .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
        text += ", \"category_id\": " + std::to_string(d.category_id) + ", \"bbox\": [";
        for (std::size_t k = 0; k < 4; ++k) text += (k == 0 ? "" : ", ") + detail::rounded(d.box[k], 3);
        text += "], \"score\": " + detail::rounded(d.score, 5) + "}";
        if (text.size() > 1 << 20) {
            file.write(text);
            text.clear();
        }
    }
    file.write(text + "]");
    file.commit();
}

/// By an image's file: 139 for 000000000139.jpg, the name without its ending where that is no number.
inline CocoImageId coco_image_id(std::filesystem::path const& image) {
    auto stem = image.stem().string();
    std::int64_t number = 0;
    auto const [end, error] = std::from_chars(stem.data(), stem.data() + stem.size(), number);
    if (error == std::errc{} && end == stem.data() + stem.size() && stem.front() != '-') return number;
    return stem;
}

/// The category of each of the network's classes: the categories of the ground truth by id. For COCO's 80 categories,
/// whose ids go up to 90, that is what YOLOv5 calls coco80_to_coco91.
/// throws std::runtime_error where their numbers differ.
inline std::vector<std::int64_t> coco_category_ids(CocoGroundTruth const& truth, std::size_t classes) {
    std::vector<std::int64_t> ids;
    for (auto const& category : truth.categories) ids.push_back(category.id);
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    if (ids.size() != classes)
        throw std::runtime_error(
            "the annotations have " + std::to_string(ids.size()) + " categories and the network has " +
            std::to_string(classes) +
            " classes; give the annotations of the data set that the network was trained on");
    return ids;
}

/// YOLOv5's coco80_to_coco91, for results that are written without an annotation file.
inline std::vector<std::int64_t> coco_category_ids() {
    std::vector<std::int64_t> ids;
    for (std::int64_t id = 1, next = 0; id <= 90; ++id) {
        constexpr std::array<std::int64_t, 11> unused{12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 0};
        if (id == unused[static_cast<std::size_t>(next)])
            ++next;
        else
            ids.push_back(id);
    }
    return ids;
}

/// AP, AP50, ... ARl and per_category.
inline nlohmann::ordered_json to_json(CocoStats const& stats) {
    nlohmann::ordered_json json;
    for (std::size_t i = 0; i < stats.values.size(); ++i) json[std::string(stats.names[i])] = stats.values[i];
    json["per_category"] = nlohmann::ordered_json::array();
    for (auto const& c : stats.per_category)
        json["per_category"].push_back({{"id", c.id}, {"name", c.name}, {"AP", c.ap}, {"AP50", c.ap50}});
    return json;
}

}  // namespace yolo
