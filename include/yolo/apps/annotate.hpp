#pragma once
// What yolo-detect makes of a picture: boxes drawn on it, cut-outs of what was found.

#include <yolo/data/draw.hpp>

namespace yolo::apps {

struct BoxStyle {
    int thickness = 3;  // of lines, pixels; text grows with it
    bool labels = true, confidence = true;
};

/// "dog 0.87", "dog" or ""
inline std::string box_label(BoxStyle const& style, std::string const& name, double confidence) {
    if (!style.labels || !style.confidence) return style.labels ? name : "";
    char text[16];
    std::snprintf(text, sizeof text, " %.2f", confidence);
    return name + text;
}

/// A frame and, where there is one, the label on the class's colour above it (below its upper edge where there is no
/// room).
inline void draw_box(cv::Mat& image, PixelBox const& box, std::string const& label, int thickness) {
    auto const pixel = [](float value) { return static_cast<int>(std::clamp(value, -1e6f, 1e6f)); };
    cv::Scalar const colour = class_colour(static_cast<int>(box.cls));
    cv::Point const low(pixel(box.x1), pixel(box.y1)), high(pixel(box.x2), pixel(box.y2));
    cv::rectangle(image, low, high, colour, thickness, cv::LINE_AA);
    if (label.empty()) return;
    int const stroke = std::max(1, thickness - 1);
    double const size = thickness / 3.0;
    int baseline = 0;
    cv::Size const text = cv::getTextSize(label, cv::FONT_HERSHEY_SIMPLEX, size, stroke, &baseline);
    bool const above = low.y - text.height >= 3;
    int const top = above ? low.y - text.height - 3 : low.y;
    cv::rectangle(image, {low.x, top}, {low.x + text.width, top + text.height + 3}, colour, cv::FILLED,
                  cv::LINE_AA);
    bool const bright = 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2] > 140;
    cv::putText(image, label, {low.x, above ? low.y - 2 : low.y + text.height + 2}, cv::FONT_HERSHEY_SIMPLEX,
                size, bright ? cv::Scalar::all(0) : cv::Scalar::all(255), stroke, cv::LINE_AA);
}

/// Boxes with their names; the most confident are drawn last, on top.
/// detections: [n, 6] x1, y1, x2, y2 in pixels, confidence, class; the most confident first
inline void draw_boxes(cv::Mat& image, torch::Tensor const& detections, std::vector<std::string> const& names,
                       BoxStyle const& style) {
    auto const value = detections.accessor<float, 2>();
    for (auto i = detections.size(0) - 1; i >= 0; --i) {
        PixelBox const box{value[i][5], value[i][0], value[i][1], value[i][2], value[i][3]};
        auto const name = drawn_name(names, static_cast<int>(box.cls));
        draw_box(image, box, box_label(style, name, static_cast<double>(value[i][4])), style.thickness);
    }
}

/// The part of the picture that a cut-out of a box shows: 1.02 of its sides and 10 pixels more, inside the picture.
inline cv::Rect crop_of(PixelBox const& box, int height, int width) {
    float const cx = (box.x1 + box.x2) / 2, cy = (box.y1 + box.y2) / 2;
    float const w = (box.x2 - box.x1) * 1.02f + 10, h = (box.y2 - box.y1) * 1.02f + 10;
    auto const pixel = [](float value, int limit) { return std::clamp(static_cast<int>(value), 0, limit); };
    cv::Point const low(pixel(cx - w / 2, width), pixel(cy - h / 2, height));
    return {low, cv::Point(pixel(cx + w / 2, width), pixel(cy + h / 2, height))};
}

/// One cut-out a detection, the least confident first: folder/NAME/STEM.jpg, STEM2.jpg, ...
inline void save_crops(std::filesystem::path const& folder, std::string const& stem, cv::Mat const& image,
                       torch::Tensor const& detections, std::vector<std::string> const& names) {
    auto const value = detections.accessor<float, 2>();
    for (auto i = detections.size(0) - 1; i >= 0; --i) {
        PixelBox const box{value[i][5], value[i][0], value[i][1], value[i][2], value[i][3]};
        auto const part = crop_of(box, image.rows, image.cols);
        if (part.area() == 0) continue;
        auto name = class_name(names, static_cast<int>(box.cls));
        std::replace(name.begin(), name.end(), '/', '_');
        if (name.empty() || name == "." || name == "..") name = std::to_string(static_cast<int>(box.cls));
        auto file = folder / name / (stem + ".jpg");
        for (int n = 2; std::filesystem::exists(file); ++n)
            file = folder / name / (stem + std::to_string(n) + ".jpg");
        write_image(file, image(part));
    }
}

}  // namespace yolo::apps
