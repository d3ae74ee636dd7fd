#pragma once
// Which detections of one category in one image are right, wrong or neither, at every IoU threshold and for every
// range of areas at once. The rules and the order of float64 operations are those of pycocotools' COCOeval. No LibTorch.

#include <yolo/metrics/coco_types.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

namespace yolo::detail {

inline constexpr std::size_t coco_ious = 10, coco_areas = 4, coco_max_detections = 100;

/// n values of equal distance, computed as numpy.linspace does.
template <std::size_t n> constexpr std::array<double, n> linspace(double first, double last) {
    std::array<double, n> values{};
    double const step = (last - first) / (n - 1);
    for (std::size_t i = 0; i < n; ++i) values[i] = static_cast<double>(i) * step + first;
    values[n - 1] = last;
    return values;
}

inline constexpr auto coco_iou_thresholds = linspace<coco_ious>(0.5, 0.95);  // .5, .55, ... .95

/// Both ends belong to a range; px².
struct CocoAreaRange {
    char const* name;
    double least, most;

    bool without(double area) const { return area < least || area > most; }
};
inline constexpr std::array<CocoAreaRange, coco_areas> coco_area_ranges{
    {{"all", 0, 1e10}, {"small", 0, 32 * 32}, {"medium", 32 * 32, 96 * 96}, {"large", 96 * 96, 1e10}}};

using CocoMask = std::uint16_t;  // bit t: at coco_iou_thresholds[t]
inline constexpr CocoMask coco_every_iou = (1u << coco_ious) - 1;

/// One detection, for each range of areas. What is neither right nor wrong is not counted.
struct CocoOutcome {
    std::array<CocoMask, coco_areas> right{}, wrong{};
};

/// An object as matching needs it.
struct CocoObject {
    CocoBox box;
    bool crowd, counts_as_match;  // the latter: its id is not 0
    std::array<bool, coco_areas>
        spare;  // a crowd, or outside the range: matching it is neither right nor wrong
};

/// Intersection over union; over the detection's area if the object is a crowd.
inline double coco_iou(CocoBox const& d, CocoBox const& object, bool crowd) {
    double const width = std::min(d[2] + d[0], object[2] + object[0]) - std::max(d[0], object[0]);
    if (width <= 0) return 0;
    double const height = std::min(d[3] + d[1], object[3] + object[1]) - std::max(d[1], object[1]);
    if (height <= 0) return 0;
    double const intersection = width * height, area = d[2] * d[3];
    return intersection / (crowd ? area : area + object[2] * object[3] - intersection);
}

/// Reused from group to group, so that nothing is allocated for most.
class CocoMatcher {
public:
    /// @param boxes    the detections of a category in an image, the most confident first
    /// @param objects  those of the category in the image, in the order of the ground truth
    void operator()(std::span<CocoBox const> boxes, std::span<CocoObject const> objects,
                    std::span<CocoOutcome> outcomes) {
        taken_.assign(objects.size(), {});
        for (std::size_t d = 0; d < boxes.size(); ++d) {
            near_.clear();
            for (std::size_t o = 0; o < objects.size(); ++o) {
                double const iou = coco_iou(boxes[d], objects[o].box, objects[o].crowd);
                if (!(iou < coco_iou_thresholds.front())) near_.push_back({o, iou});
            }
            double const area = boxes[d][2] * boxes[d][3];
            for (std::size_t a = 0; a < coco_areas; ++a) {
                bool const without = coco_area_ranges[a].without(area);
                CocoMask right = 0, wrong = without ? CocoMask{0} : coco_every_iou;
                for (std::size_t t = 0; t < coco_ious && !near_.empty(); ++t) {
                    auto const found = best(objects, a, t);
                    if (found == none) continue;
                    auto const bit = static_cast<CocoMask>(1u << t);
                    taken_[found][a] = static_cast<CocoMask>(taken_[found][a] | bit);
                    bool const spare = objects[found].spare[a], matched = objects[found].counts_as_match;
                    if (matched || spare) wrong = static_cast<CocoMask>(wrong & ~bit);
                    if (matched && !spare) right = static_cast<CocoMask>(right | bit);
                }
                outcomes[d].right[a] = right;
                outcomes[d].wrong[a] = wrong;
            }
        }
    }

private:
    static constexpr auto none = std::numeric_limits<std::size_t>::max();
    struct Near {
        std::size_t object;
        double iou;
    };

    /// The object that is overlapped most, the last of equals; a spare one only if there is no other.
    std::size_t best(std::span<CocoObject const> objects, std::size_t a, std::size_t t) const {
        auto found = none;
        double least = std::min(coco_iou_thresholds[t], 1 - 1e-10);
        for (bool const spare : {false, true}) {
            for (auto const& [o, iou] : near_) {
                if (objects[o].spare[a] != spare || iou < least) continue;
                if ((taken_[o][a] >> t & 1) && !objects[o].crowd) continue;
                least = iou;
                found = o;
            }
            if (found != none) break;
        }
        return found;
    }

    std::vector<Near> near_;                               // objects that the detection may match
    std::vector<std::array<CocoMask, coco_areas>> taken_;  // by an earlier detection
};

}  // namespace yolo::detail
