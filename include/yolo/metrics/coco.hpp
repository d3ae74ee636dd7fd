#pragma once
// COCO's twelve figures of a set of detections: the algorithm of pycocotools' COCOeval for boxes, number for number.
// No LibTorch.

#include <yolo/data/parallel.hpp>
#include <yolo/metrics/coco_groups.hpp>

#include <bit>
#include <cstdio>
#include <optional>

namespace yolo {

namespace detail {

inline constexpr std::size_t coco_limits = 3;
inline constexpr std::array<std::uint32_t, coco_limits> coco_limit{1, 10, coco_max_detections};

/// A detection that is among the best of its category and image.
struct CocoRanked {
    double score;
    std::uint32_t position;  // in CocoGroups::detections: equal scores keep its order
    std::uint32_t rank;      // in its category and image, from 0
    CocoOutcome outcome;
};

inline constexpr auto coco_recalls = linspace<101>(0, 1);

/// For a category and a range of areas. Without objects there is nothing.
struct CocoFigures {
    std::array<std::array<double, coco_recalls.size()>, coco_ious> precision{};
    std::array<std::array<double, coco_ious>, coco_limits> recall{};
};

/// Most confident first; equals by image, then as they were given.
inline bool ranks_before(CocoRanked const& a, CocoRanked const& b) {
    return a.score != b.score ? a.score > b.score : a.position < b.position;
}

/// Ranks and matches the detections of one group after the other.
struct CocoRanking {
    CocoGroups const& all;
    std::vector<CocoDetection> const& detections;
    CocoMatcher matcher{};
    std::vector<CocoBox> boxes{};
    std::vector<CocoOutcome> outcomes{};

    /// @param ranked  a place for each detection of the group
    void operator()(CocoGroup const& group, std::span<CocoRanked> ranked) {
        auto const item = [&](std::size_t position) -> auto const& {
            return detections[all.detections[position].item];
        };
        for (std::size_t i = 0; i < ranked.size(); ++i) {
            auto const position = group.first_detection + i;
            ranked[i] = {item(position).score, static_cast<std::uint32_t>(position), 0, {}};
        }
        std::sort(ranked.begin(), ranked.end(), ranks_before);
        boxes.clear();
        for (auto const& d : ranked.first(std::min(ranked.size(), coco_max_detections)))
            boxes.push_back(item(d.position).box);
        outcomes.resize(boxes.size());
        matcher(boxes,
                std::span(all.objects).subspan(group.first_object, group.last_object - group.first_object),
                outcomes);
        for (std::size_t i = 0; i < ranked.size(); ++i) {
            ranked[i].rank = static_cast<std::uint32_t>(i);
            if (i < outcomes.size()) ranked[i].outcome = outcomes[i];
        }
    }
};

/// precision = right / (right + wrong) after each right detection, raised to the highest at that recall or more, and
/// read where recall = right / wanted reaches 0, .01, ... 1; 0 where it does not. Wrong detections in between neither
/// raise recall nor make a maximum.
inline void read_precision(std::vector<double>& precision, double wanted,
                           std::array<double, coco_recalls.size()>& out) {
    for (auto i = precision.size(); i-- > 1;) precision[i - 1] = std::max(precision[i - 1], precision[i]);
    std::size_t i = 0;
    for (std::size_t r = 0; r < out.size(); ++r) {
        while (i < precision.size() && static_cast<double>(i + 1) / wanted < coco_recalls[r]) ++i;
        if (i == precision.size()) break;
        out[r] = precision[i];
    }
}

/// @param ranked  of a category, the most confident first    @param wanted  objects in the range, more than 0
inline CocoFigures coco_figures(std::span<CocoRanked const> ranked, std::size_t area, double wanted) {
    std::array<std::vector<double>, coco_ious> precision;
    std::array<double, coco_ious> wrong{};  // beside those that are wrong at every threshold
    double always_wrong = 0;
    std::array<std::array<double, coco_ious>, coco_limits> right{};
    auto const each = [](CocoMask mask, auto const& body) {
        for (unsigned bits = mask; bits != 0; bits &= bits - 1)
            body(static_cast<std::size_t>(std::countr_zero(bits)));
    };
    for (auto const& d : ranked) {
        if (d.outcome.wrong[area] == coco_every_iou) {
            ++always_wrong;
            continue;
        }
        each(d.outcome.wrong[area], [&](std::size_t t) { ++wrong[t]; });
        each(d.outcome.right[area], [&](std::size_t t) {
            for (std::size_t m = 0; m < coco_limits; ++m) right[m][t] += d.rank < coco_limit[m];
            auto const count = right.back()[t];
            precision[t].push_back(
                count / (wrong[t] + always_wrong + count + std::numeric_limits<double>::epsilon()));
        });
    }
    CocoFigures out;
    for (std::size_t t = 0; t < coco_ious; ++t) {
        read_precision(precision[t], wanted, out.precision[t]);
        for (std::size_t m = 0; m < coco_limits; ++m) out.recall[m][t] = right[m][t] / wanted;
    }
    return out;
}

/// Sums in numpy's order, so that the third decimal is never another.
inline double pairwise_sum(std::span<double const> values) {
    constexpr std::size_t lanes = 8, most = 128;
    auto const count = values.size();
    if (count > most) {
        auto const half = count / 2 / lanes * lanes;
        return pairwise_sum(values.first(half)) + pairwise_sum(values.subspan(half));
    }
    double sum = 0;
    std::size_t i = 0;
    if (count >= lanes) {
        std::array<double, lanes> s{};
        for (; i + lanes <= count; i += lanes)
            for (std::size_t k = 0; k < lanes; ++k) s[k] += values[i + k];
        sum = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
    }
    for (; i < count; ++i) sum += values[i];
    return sum;
}

using CocoTable = std::vector<std::array<std::optional<CocoFigures>, coco_areas>>;  // by category

/// Means over what there is of `rows`, -1 if nothing; by threshold, recall and category, as numpy lays them out.
class CocoMeans {
public:
    CocoMeans(std::span<CocoTable::value_type const> rows, std::size_t area) {
        for (auto const& row : rows)
            if (row[area]) figures_.push_back(&*row[area]);
    }

    double precision() const { return precision(0, coco_ious); }
    double precision_at(std::size_t t) const { return precision(t, t + 1); }
    double recall(std::size_t limit) const {
        std::vector<double> values;
        for (std::size_t t = 0; t < coco_ious; ++t)
            for (auto const* f : figures_) values.push_back(f->recall[limit][t]);
        return mean(values);
    }

private:
    double precision(std::size_t first, std::size_t last) const {
        std::vector<double> values;
        for (auto t = first; t < last; ++t)
            for (std::size_t r = 0; r < coco_recalls.size(); ++r)
                for (auto const* f : figures_) values.push_back(f->precision[t][r]);
        return mean(values);
    }
    static double mean(std::vector<double> const& values) {
        return values.empty() ? -1 : pairwise_sum(values) / static_cast<double>(values.size());
    }

    std::vector<CocoFigures const*> figures_;
};

inline CocoStats coco_stats(CocoTable const& table, CocoPlaces<std::int64_t> const& categories,
                            CocoGroundTruth const& truth) {
    static_assert(coco_iou_thresholds[0] == 0.5 && coco_iou_thresholds[5] == 0.75);
    CocoMeans const all(table, 0), small(table, 1), medium(table, 2), large(table, 3);
    CocoStats stats;
    stats.values = {all.precision(),    all.precision_at(0), all.precision_at(5), small.precision(),
                    medium.precision(), large.precision(),   all.recall(0),       all.recall(1),
                    all.recall(2),      small.recall(2),     medium.recall(2),    large.recall(2)};

    std::unordered_map<std::int64_t, std::string> names;
    for (auto const& category : truth.categories) names[category.id] = category.name;
    for (std::size_t c = 0; c < table.size(); ++c) {
        auto& category = stats.per_category.emplace_back();
        category.id = categories.id(c);
        category.name = names[category.id];
        CocoMeans const own({&table[c], 1}, 0);
        category.ap = own.precision();
        category.ap50 = own.precision_at(0);
    }
    return stats;
}

}  // namespace detail

/// The same figures whatever the number of threads.
/// throws std::runtime_error for a detection of an image that the ground truth lacks, or one that is not finite.
inline CocoStats coco_evaluate(CocoGroundTruth const& truth, std::vector<CocoDetection> const& detections,
                               CocoOptions const& options = {}) {
    std::vector<CocoImageId> image_ids;
    for (auto const& image : truth.images) image_ids.push_back(image.id);
    std::vector<std::int64_t> category_ids;
    for (auto const& category : truth.categories) category_ids.push_back(category.id);
    detail::CocoPlaces const images(image_ids, options.images);
    detail::CocoPlaces const categories(category_ids, options.categories);
    auto const all = detail::coco_groups(truth, detections, images, categories);
    auto const parallel = [&](std::size_t count, auto const& body) {
        auto const threads = static_cast<std::size_t>(std::max(options.threads, 0));
        parallel_for(count, threads == 0 ? 1 : std::max<std::size_t>(1, (count + threads - 1) / threads),
                     body);
    };

    constexpr std::size_t block = 512;  // groups that a thread takes at once
    std::vector<detail::CocoRanked> ranked(all.detections.size());
    parallel((all.groups.size() + block - 1) / block, [&](std::size_t b) {
        detail::CocoRanking rank{all, detections};
        for (auto g = b * block; g < std::min(all.groups.size(), (b + 1) * block); ++g) {
            auto const [first, last] = std::pair(all.groups[g].first_detection, all.groups[g].last_detection);
            rank(all.groups[g], std::span(ranked).subspan(first, last - first));
        }
    });

    std::vector<std::span<detail::CocoRanked const>> of_category(categories.size());
    parallel(categories.size(), [&](std::size_t c) {
        auto const first = all.first_of_category[c];
        auto const rows = std::span(ranked).subspan(first, all.first_of_category[c + 1] - first);
        auto const counted = std::partition(
            rows.begin(), rows.end(), [](auto const& d) { return d.rank < detail::coco_max_detections; });
        std::sort(rows.begin(), counted, detail::ranks_before);
        of_category[c] = {rows.begin(), counted};
    });
    detail::CocoTable table(categories.size());
    parallel(categories.size() * detail::coco_areas, [&](std::size_t i) {
        auto const c = i / detail::coco_areas, area = i % detail::coco_areas;
        if (auto const wanted = all.wanted[c][area]; wanted > 0)
            table[c][area] = detail::coco_figures(of_category[c], area, static_cast<double>(wanted));
    });
    return detail::coco_stats(table, categories, truth);
}

/// The twelve lines that pycocotools prints.
inline std::string coco_summary(CocoStats const& stats) {
    struct Line {
        bool precision;
        char const *iou, *area;
        int limit;
    };
    static constexpr std::array<Line, 12> lines{{{true, "0.50:0.95", "all", 100},
                                                 {true, "0.50", "all", 100},
                                                 {true, "0.75", "all", 100},
                                                 {true, "0.50:0.95", "small", 100},
                                                 {true, "0.50:0.95", "medium", 100},
                                                 {true, "0.50:0.95", "large", 100},
                                                 {false, "0.50:0.95", "all", 1},
                                                 {false, "0.50:0.95", "all", 10},
                                                 {false, "0.50:0.95", "all", 100},
                                                 {false, "0.50:0.95", "small", 100},
                                                 {false, "0.50:0.95", "medium", 100},
                                                 {false, "0.50:0.95", "large", 100}}};
    std::string out;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        auto const& line = lines[i];
        std::array<char, 128> buffer{};
        std::snprintf(buffer.data(), buffer.size(),
                      " %-18s %s @[ IoU=%-9s | area=%6s | maxDets=%3d ] = %.3f\n",
                      line.precision ? "Average Precision" : "Average Recall",
                      line.precision ? "(AP)" : "(AR)", line.iou, line.area, line.limit, stats.values[i]);
        out += buffer.data();
    }
    return out;
}

}  // namespace yolo
