#pragma once
// What a COCO evaluation reads and gives. No LibTorch.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace yolo {

/// A number, or the text of a file's stem. Numbers sort before texts.
using CocoImageId = std::variant<std::int64_t, std::string>;

/// For messages: a text in quotes.
inline std::string coco_text(CocoImageId const& id) {
    auto const* number = std::get_if<std::int64_t>(&id);
    return number ? std::to_string(*number) : '"' + std::get<std::string>(id) + '"';
}

/// Left, top, width, height in pixels.
using CocoBox = std::array<double, 4>;

struct CocoImage {
    CocoImageId id{};
    std::string file_name{};  // empty: not given
};

/// An object of the ground truth. A crowd stands for several: whatever lies in it is neither right nor wrong.
struct CocoAnnotation {
    std::int64_t id = 0;  // what matches an annotation of id 0 counts as unmatched, as in pycocotools
    CocoImageId image_id{};
    std::int64_t category_id = 0;
    CocoBox box{};
    double area = 0;  // of the object's outline, px²; decides whether it is small, medium or large
    bool crowd = false;
};

struct CocoCategory {
    std::int64_t id = 0;
    std::string name{};
};

/// An annotation file. Of annotations with one id the last counts, in the place of each, as in pycocotools.
struct CocoGroundTruth {
    std::vector<CocoImage> images;
    std::vector<CocoAnnotation> annotations;
    std::vector<CocoCategory> categories;
};

struct CocoDetection {
    CocoImageId image_id{};
    std::int64_t category_id = 0;
    CocoBox box{};
    double score = 0;
};

struct CocoOptions {
    std::vector<CocoImageId> images{};       // evaluate only these; empty: all of the ground truth
    std::vector<std::int64_t> categories{};  // evaluate only these; empty: all of the ground truth
    int threads = 0;                         // at most; 0: as many as there are cores, at most 8
};

struct CocoCategoryStats {
    std::int64_t id = 0;
    std::string name{};
    double ap = -1, ap50 = -1;  // -1: no objects of the category
};

/// The twelve figures. A figure is -1 where nothing of its kind is in the ground truth.
struct CocoStats {
    static constexpr std::array<std::string_view, 12> names{"AP",  "AP50", "AP75",  "APs", "APm", "APl",
                                                            "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"};

    std::array<double, 12> values{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};  // in the order of names
    std::vector<CocoCategoryStats> per_category{};                                  // by id

    double ap() const { return values[0]; }
    double ap50() const { return values[1]; }
};

}  // namespace yolo
