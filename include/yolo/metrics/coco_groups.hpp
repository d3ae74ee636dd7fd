#pragma once
// Boxes and objects sorted by category and image into contiguous memory. No LibTorch.

#include <yolo/metrics/coco_matching.hpp>

#include <cmath>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>

namespace yolo::detail {

/// Gives the ids that are evaluated their places in rising order.
template <class Id> class CocoPlaces {
public:
    static constexpr std::uint32_t left_out = ~0u, unknown = ~0u - 1;

    /// @param all  of the ground truth; may repeat    @param wanted  only these of them; empty: all
    CocoPlaces(std::vector<Id> all, std::vector<Id> const& wanted) {
        places_.reserve(all.size());
        std::unordered_set<Id> const chosen(wanted.begin(), wanted.end());
        std::sort(all.begin(), all.end());
        for (auto const& id : all) {
            bool const evaluated = wanted.empty() || chosen.contains(id);
            auto const place = evaluated ? static_cast<std::uint32_t>(ids_.size()) : left_out;
            if (places_.try_emplace(id, place).second && evaluated) ids_.push_back(id);
        }
    }

    std::size_t size() const { return ids_.size(); }
    Id const& id(std::size_t place) const { return ids_[place]; }
    std::uint32_t place(Id const& id) const {
        auto const found = places_.find(id);
        return found == places_.end() ? unknown : found->second;
    }

private:
    std::vector<Id> ids_;
    std::unordered_map<Id, std::uint32_t> places_;
};

/// Something at a place of a category and an image; `item` is its position in the input.
struct CocoEntry {
    std::uint32_t category, image, item;
};

/// Stable, in linear time.
inline void counting_sort(std::vector<CocoEntry>& entries, std::uint32_t CocoEntry::*key, std::size_t keys) {
    std::vector<std::size_t> next(keys + 1);
    for (auto const& entry : entries) ++next[entry.*key + 1];
    for (std::size_t k = 0; k < keys; ++k) next[k + 1] += next[k];
    std::vector<CocoEntry> sorted(entries.size());
    for (auto const& entry : entries) sorted[next[entry.*key]++] = entry;
    entries = std::move(sorted);
}

/// The detections of a category in an image, and its objects there: ranges of positions in CocoGroups.
struct CocoGroup {
    std::size_t first_detection, last_detection, first_object, last_object;
};

struct CocoGroups {
    std::vector<CocoEntry> detections;           // by category, image, place in the input
    std::vector<CocoObject> objects;             // likewise
    std::vector<CocoGroup> groups;               // with a detection
    std::vector<std::size_t> first_of_category;  // position in detections, and their number at the end
    std::vector<std::array<std::int64_t, coco_areas>> wanted;  // objects of a category that are not spare
};

/// Objects in the order in which pycocotools finds them; of those with one id it takes the last each time.
inline std::vector<CocoEntry> coco_objects(CocoGroundTruth const& truth,
                                           CocoPlaces<CocoImageId> const& images,
                                           CocoPlaces<std::int64_t> const& categories) {
    auto const& annotations = truth.annotations;
    auto const entry = [&](std::size_t i) {
        return CocoEntry{categories.place(annotations[i].category_id), images.place(annotations[i].image_id),
                         static_cast<std::uint32_t>(i)};
    };
    auto const evaluated = [&](CocoEntry const& e) {
        return e.category < categories.size() && e.image < images.size();
    };
    std::unordered_map<std::int64_t, std::size_t> last(annotations.size());
    for (std::size_t i = 0; i < annotations.size(); ++i) last[annotations[i].id] = i;
    std::vector<CocoEntry> found;
    for (std::size_t i = 0; i < annotations.size(); ++i)
        if (auto const e = entry(i); evaluated(e)) found.push_back(e);
    counting_sort(found, &CocoEntry::image, images.size());
    if (last.size() < annotations.size()) {
        for (auto& e : found) e = entry(last[annotations[e.item].id]);
        std::erase_if(found, [&](CocoEntry const& e) { return !evaluated(e); });
        counting_sort(found, &CocoEntry::image, images.size());
    }
    counting_sort(found, &CocoEntry::category, categories.size());
    return found;
}

/// throws std::runtime_error for a detection of an image that the ground truth lacks, or that is not finite.
inline std::vector<CocoEntry> coco_entries(std::vector<CocoDetection> const& detections,
                                           CocoPlaces<CocoImageId> const& images,
                                           CocoPlaces<std::int64_t> const& categories) {
    std::vector<CocoEntry> found;
    found.reserve(detections.size());
    std::uint32_t image = images.unknown;
    for (std::size_t i = 0; i < detections.size(); ++i) {
        auto const& d = detections[i];
        if (i == 0 || d.image_id != detections[i - 1].image_id) image = images.place(d.image_id);
        auto const wrong = [&](std::string const& what) {
            throw std::runtime_error("coco: detection " + std::to_string(i) + " " + what);
        };
        if (image == images.unknown)
            wrong("is of image " + coco_text(d.image_id) +
                  ", which the annotations lack; give the annotations of the images that were detected in");
        if (std::isnan(d.score) || !std::isfinite(d.box[0] + d.box[1] + d.box[2] + d.box[3]))
            wrong("has a box or a score that is not a finite number; leave it out");
        auto const category = categories.place(d.category_id);
        if (image < images.size() && category < categories.size())
            found.push_back({category, image, static_cast<std::uint32_t>(i)});
    }
    counting_sort(found, &CocoEntry::image, images.size());
    counting_sort(found, &CocoEntry::category, categories.size());
    return found;
}

inline CocoGroups coco_groups(CocoGroundTruth const& truth, std::vector<CocoDetection> const& detections,
                              CocoPlaces<CocoImageId> const& images,
                              CocoPlaces<std::int64_t> const& categories) {
    CocoGroups out;
    out.detections = coco_entries(detections, images, categories);
    auto const objects = coco_objects(truth, images, categories);
    out.wanted.resize(categories.size());
    for (auto const& entry : objects) {
        auto const& from = truth.annotations[entry.item];
        CocoObject object{from.box, from.crowd, from.id != 0, {}};
        for (std::size_t a = 0; a < coco_areas; ++a) {
            object.spare[a] = from.crowd || coco_area_ranges[a].without(from.area);
            out.wanted[entry.category][a] += !object.spare[a];
        }
        out.objects.push_back(object);
    }

    auto const key = [](CocoEntry const& e) { return std::uint64_t{e.category} << 32 | e.image; };
    std::size_t o = 0;
    for (std::size_t d = 0; d < out.detections.size();) {
        CocoGroup group{d, d, o, o};
        auto const here = key(out.detections[d]);
        while (o < objects.size() && key(objects[o]) < here) ++o;
        group.first_object = o;
        while (o < objects.size() && key(objects[o]) == here) ++o;
        group.last_object = o;
        while (d < out.detections.size() && key(out.detections[d]) == here) ++d;
        group.last_detection = d;
        out.groups.push_back(group);
    }
    out.first_of_category.resize(categories.size() + 1);
    for (auto const& entry : out.detections) ++out.first_of_category[entry.category + 1];
    for (std::size_t c = 0; c < categories.size(); ++c)
        out.first_of_category[c + 1] += out.first_of_category[c];
    return out;
}

}  // namespace yolo::detail
