#pragma once
// Copy-paste within a picture (Ghiasi et al. 2020, as YOLOv5 simplifies it): objects with a polygon appear once more at their
// mirrored place. Which ones is known from the labels alone; the pixels follow.

#include <yolo/data/random.hpp>
#include <yolo/data/sample.hpp>

#include <numeric>

namespace yolo {

/// intersection / area of `box`: how much of it `cover` hides.
inline float hidden_share(PixelBox const& cover, PixelBox const& box) {
    float const w = std::min(cover.x2, box.x2) - std::max(cover.x1, box.x1);
    float const h = std::min(cover.y2, box.y2) - std::max(cover.y1, box.y1);
    return std::max(w, 0.0f) * std::max(h, 0.0f) / (box.width() * box.height() + 1e-16f);
}

/// Draws round(p n) of the n objects with a polygon. Those that would hide less than 30 % of every box are added, mirrored,
/// to the boxes and segments of `labels`. Returns their polygons, not mirrored. No number is drawn where p is 0 or n is.
inline std::vector<Segment> choose_pastes(Sample& labels, float width, double p, Random& random) {
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < labels.segments.size(); ++i)
        if (!labels.segments[i].empty()) open.push_back(i);
    std::vector<Segment> chosen;
    if (p <= 0 || open.empty()) return chosen;
    double const wanted = std::nearbyint(std::min(p, 1.0) * static_cast<double>(open.size()));
    for (auto k = static_cast<std::size_t>(wanted); k > 0; --k) {
        auto const pick = static_cast<std::size_t>(random.integer(open.size()));
        std::size_t const i = open[pick];
        open[pick] = open.back();
        open.pop_back();
        PixelBox const box = labels.boxes[i];
        PixelBox const mirrored{box.cls, width - box.x2, box.y1, width - box.x1, box.y2};
        if (!std::all_of(labels.boxes.begin(), labels.boxes.end(),
                         [&](PixelBox const& other) { return hidden_share(mirrored, other) < 0.30f; }))
            continue;
        chosen.push_back(labels.segments[i]);
        labels.boxes.push_back(mirrored);
        Segment points = labels.segments[i];
        for (Point& point : points) point.x = width - point.x;
        labels.segments.push_back(std::move(points));
    }
    return chosen;
}

/// The pixels within the polygons (of the picture as it was) show once more at their mirrored places.
inline void paste_mirrored(cv::Mat& image, std::vector<Segment> const& polygons) {
    if (polygons.empty()) return;
    cv::Mat mask(image.size(), CV_8UC1, cv::Scalar::all(0)), mirrored;
    for (Segment const& polygon : polygons) {
        std::vector<std::vector<cv::Point>> outline(1);
        for (Point const& point : polygon)
            outline[0].emplace_back(static_cast<int>(point.x), static_cast<int>(point.y));
        cv::drawContours(mask, outline, -1, cv::Scalar::all(255), cv::FILLED);
    }
    cv::flip(mask, mask, 1);
    cv::flip(image, mirrored, 1);
    mirrored.copyTo(image, mask);
}

/// Both.
inline void copy_paste(Sample& sample, double p, Random& random) {
    paste_mirrored(sample.image, choose_pastes(sample, static_cast<float>(sample.image.cols), p, random));
}

}  // namespace yolo
