#pragma once
// AutoAnchor: do the anchors fit the data set's boxes, and if not, which would? YOLOv5's utils/autoanchor.py with draws
// of our own. It runs before the network is made: anchors are one of its options.

#include <yolo/data/anchor_fit.hpp>
#include <yolo/data/dataset.hpp>
#include <yolo/data/k_means.hpp>

#include <cstdint>
#include <cstdio>
#include <string>

namespace yolo {

struct AutoAnchor {
    Anchors anchors{};                  // pixels at the network's input: those to use
    bool changed = false;               // they are new
    AnchorReport before, after;         // of the anchors that were given, of those to use
    std::vector<std::string> messages;  // what YOLOv5 prints
};

/// The boxes of images whose longer side has image_size pixels, each image with a size of its own in 1 +/- spread.
inline std::vector<BoxSize> box_sizes(Dataset const& dataset, int image_size, double spread, Random& random) {
    std::vector<BoxSize> sizes;
    sizes.reserve(dataset.boxes());
    for (std::size_t i = 0; i < dataset.size(); ++i) {
        auto const& item = dataset[i];
        double const gain =
            image_size * random.uniform(1 - spread, 1 + spread) / std::max(item.size.width, item.size.height);
        for (Box const& box : item.boxes)
            sizes.push_back({static_cast<float>(box.w * gain * item.size.width),
                             static_cast<float>(box.h * gain * item.size.height)});
    }
    return sizes;
}

namespace detail {

template <class... Values> std::string formatted(char const* format, Values... values) {
    char text[256];
    std::snprintf(text, sizeof text, format, values...);
    return text;
}

inline constexpr float smallest_anchor = 2;  // a side, pixels: boxes may have no width

/// Centres of k-means over sizes whose sides have variance 1; where there are fewer different sizes than anchors, those
/// that are missing are copies of others, which the search moves apart.
inline std::array<BoxSize, 9> first_anchors(std::span<BoxSize const> sizes, Random& random) {
    auto const deviation = [&](float BoxSize::*side) {
        double sum = 0, squares = 0;
        for (BoxSize const& size : sizes) sum += size.*side;
        double const mean = sum / static_cast<double>(sizes.size());
        for (BoxSize const& size : sizes) squares += (size.*side - mean) * (size.*side - mean);
        auto const sigma = static_cast<float>(std::sqrt(squares / static_cast<double>(sizes.size())));
        return sigma > 0 ? sigma : 1.0f;
    };
    float const sigma_w = deviation(&BoxSize::width), sigma_h = deviation(&BoxSize::height);
    std::vector<PlanePoint> points;
    points.reserve(sizes.size());
    for (BoxSize const& size : sizes) points.push_back({size.width / sigma_w, size.height / sigma_h});
    constexpr int runs = 30;
    std::array<BoxSize, 9> anchors;
    auto const centres = k_means(points, anchors.size(), runs, random).centres;
    for (std::size_t i = 0; i < anchors.size(); ++i) {
        PlanePoint const& centre = centres[i % centres.size()];
        anchors[i] = {std::max(centre.x * sigma_w, smallest_anchor),
                      std::max(centre.y * sigma_h, smallest_anchor)};
    }
    return anchors;
}

/// Random changes, each kept if it is better: a side changes with probability 0.9, by a factor whose spread is itself
/// drawn for each generation.
inline void mutate_anchors(std::array<BoxSize, 9>& anchors, AnchorFitness const& fitness, int generations,
                           Random& random) {
    constexpr double probability = 0.9, sigma = 0.1, least = 0.3, most = 3.0;
    double best = fitness(anchors);
    for (int generation = 0; generation < generations; ++generation) {
        auto candidate = anchors;
        for (bool changed = false; !changed;) {
            double const reach = random.uniform() * sigma;
            for (std::size_t i = 0; i < anchors.size(); ++i)
                for (auto side : {&BoxSize::width, &BoxSize::height}) {
                    bool const moves = random.bernoulli(probability);
                    double const factor = moves ? std::clamp(random.normal() * reach + 1, least, most) : 1.0;
                    changed = changed || factor != 1;
                    candidate[i].*side =
                        std::max(static_cast<float>(anchors[i].*side * factor), smallest_anchor);
                }
        }
        if (double const found = fitness(candidate); found > best) best = found, anchors = candidate;
    }
}

inline std::string describe_anchors(std::span<BoxSize const> anchors, AnchorReport const& report) {
    auto text =
        formatted("AutoAnchor: n=%zu, metric_all=%.3f/%.3f-mean/best, past_thr=%.3f-mean: ", anchors.size(),
                  report.mean_fit, report.best_fit, report.past_fit);
    for (std::size_t i = 0; i < anchors.size(); ++i)
        text += formatted(i == 0 ? "%.0f,%.0f" : ", %.0f,%.0f", static_cast<double>(anchors[i].width),
                          static_cast<double>(anchors[i].height));
    return text;
}

}  // namespace detail

/// sizes: of all boxes, from which anchors are searched; varied: the same with images of varying size, by which anchors
/// are judged. The current anchors stay where 98 % of the boxes have one that fits, where there are too few boxes to
/// learn from (YOLOv5: random anchors), and where no better ones are found. The same seed finds the same anchors.
inline AutoAnchor auto_anchor(std::span<BoxSize const> sizes, std::span<BoxSize const> varied,
                              double threshold, Anchors const& current, std::uint64_t seed) {
    constexpr double good_recall = 0.98;
    constexpr int generations = 1000;
    AutoAnchor result;
    auto const say = [&](std::string const& text) { result.messages.push_back("AutoAnchor: " + text); };
    result.anchors = check_anchor_order(current);
    if (in_reversed_order(current)) say("Reversing anchor order");
    result.before = result.after = evaluate_anchors(result.anchors, varied, threshold);
    if (sizes.empty()) {
        say("WARNING no labels found, proceeding with original anchors");
        return result;
    }
    auto const found = detail::formatted("%.2f anchors/target, %.3f Best Possible Recall (BPR). ",
                                         result.before.per_target, result.before.recall);
    if (result.before.recall > good_recall) {
        say(found + "Current anchors are a good fit to dataset");
        return result;
    }
    say(found + "Anchors are a poor fit to dataset, attempting to improve...");

    std::vector<BoxSize> usable;
    std::size_t tiny = 0;
    for (BoxSize const& size : sizes) {
        tiny += size.width < 3 || size.height < 3;
        if (size.width >= 2 || size.height >= 2) usable.push_back(size);
    }
    if (tiny > 0)
        say(detail::formatted(
            "WARNING Extremely small objects found: %zu of %zu labels are <3 pixels in size", tiny,
            sizes.size()));
    std::array<BoxSize, 9> anchors;
    if (usable.size() < anchors.size()) {
        say(detail::formatted(
            "WARNING %zu labels of at least 2 pixels are too few for %zu anchors, proceeding "
            "with original anchors",
            usable.size(), anchors.size()));
        return result;
    }
    say(detail::formatted("Running kmeans for %zu anchors on %zu points...", anchors.size(), usable.size()));
    Random random(seed);
    anchors = detail::first_anchors(usable, random);
    detail::mutate_anchors(anchors, AnchorFitness(usable, threshold), generations, random);
    std::stable_sort(anchors.begin(), anchors.end(), [](BoxSize const& a, BoxSize const& b) {
        return a.width * a.height < b.width * b.height;
    });
    auto const all = evaluate_anchors(anchors, sizes, threshold);
    say(detail::formatted("thr=%.2f: %.4f best possible recall, %.2f anchors past thr", 1 / threshold,
                          all.recall, all.per_target));
    result.messages.push_back(detail::describe_anchors(anchors, all));
    auto const after = evaluate_anchors(anchors, varied, threshold);
    if (after.recall > result.before.recall) {
        result.anchors = check_anchor_order(detail::by_level(anchors)), result.after = after;
        result.changed = true;
        say("Done (the new anchors are part of the checkpoints)");
    } else {
        say("Done (original anchors better than new anchors, proceeding with original anchors)");
    }
    return result;
}

/// image_size: of training, pixels; threshold: hyper-parameter anchor_t.
inline AutoAnchor auto_anchor(Dataset const& dataset, int image_size, double threshold,
                              Anchors const& current, std::uint64_t seed) {
    Random random(seed, 0, 1);  // another stream than the search's
    auto const sizes = box_sizes(dataset, image_size, 0, random);
    auto const varied = box_sizes(dataset, image_size, 0.1, random);
    return auto_anchor(sizes, varied, threshold, current, seed);
}

}  // namespace yolo
