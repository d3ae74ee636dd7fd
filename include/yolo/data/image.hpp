#pragma once
// Pictures as the data layer handles them: cv::Mat, uint8, BGR, [H, W, 3]. Reading, resizing and letterboxing
// with YOLOv5's rounding, and the step to planar RGB [3, H, W] that the network takes. Besides draw.hpp this
// is the only header that includes OpenCV.

#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace yolo {

/// The grey of letterbox bars and of what augmentation uncovers.
inline constexpr int padding_grey = 114;

enum class ScaleUp { no, yes };  // may a letterbox enlarge the picture
enum class Shrink {
    by_area,
    linear
};  // how the loader makes a picture smaller: best looks or as in training

/// Decodes a picture (three channels, EXIF orientation applied) to BGR [H, W, 3].
/// throws std::runtime_error naming the file where there is none or it cannot be decoded.
inline cv::Mat read_image(std::filesystem::path const& path) {
    if (std::error_code ignored; !std::filesystem::is_regular_file(path, ignored))
        throw std::runtime_error(path.string() + ": no such image file");
    cv::Mat image;
    std::string why;
    try {
        image = cv::imread(path.string(), cv::IMREAD_COLOR);
    } catch (cv::Exception const& error) { why = " (" + error.err + ")"; }
    if (image.empty()) throw std::runtime_error(path.string() + ": cannot be decoded as an image" + why);
    return image;
}

/// The picture with its longer side at `size` pixels, the other one rounded down as in the reference; sides are at least 1 px.
inline cv::Mat resize_long_side(cv::Mat const& image, int size, Shrink shrink) {
    double const ratio = static_cast<double>(size) / std::max(image.rows, image.cols);
    if (ratio == 1.0) return image;
    auto const side = [&](int pixels) { return std::max(1, static_cast<int>(pixels * ratio)); };
    bool const linear = ratio > 1.0 || shrink == Shrink::linear;
    cv::Mat result;
    cv::resize(image, result, cv::Size(side(image.cols), side(image.rows)), 0, 0,
               linear ? cv::INTER_LINEAR : cv::INTER_AREA);
    return result;
}

/// Where a picture goes inside a letterbox. Sides in pixels; boxes map as x * ratio + pad_w, y * ratio +
/// pad_h.
struct Letterbox {
    int height = 0, width = 0;              // the whole
    int inner_height = 0, inner_width = 0;  // the resized picture
    int top = 0, left = 0;                  // its first pixel
    double ratio = 1.0;                     // resized / original
    double pad_w = 0.0, pad_h = 0.0;        // bar on one side, in halves of a pixel
};

/// Places a height0 x width0 picture centred in height x width, as YOLOv5 rounds it. With `stride` > 0 the
/// bars shrink to less than a stride (the smallest rectangle, for inference on single pictures), and the
/// whole with them.
inline Letterbox place_letterbox(int height0, int width0, int height, int width, ScaleUp scale_up,
                                 int stride = 0) {
    if (height0 <= 0 || width0 <= 0 || height <= 0 || width <= 0)
        throw std::runtime_error("letterbox: a picture of " + std::to_string(width0) + " x " +
                                 std::to_string(height0) + " pixels does not fit into " +
                                 std::to_string(width) + " x " + std::to_string(height));
    Letterbox place;
    place.ratio = std::min(static_cast<double>(height) / height0, static_cast<double>(width) / width0);
    if (scale_up == ScaleUp::no) place.ratio = std::min(place.ratio, 1.0);
    auto const side = [&](int pixels) {
        return std::max(1, static_cast<int>(std::nearbyint(pixels * place.ratio)));
    };
    place.inner_height = side(height0);
    place.inner_width = side(width0);
    int spare_w = width - place.inner_width, spare_h = height - place.inner_height;
    if (stride > 0) {
        spare_w %= stride;
        spare_h %= stride;
    }
    place.pad_w = spare_w / 2.0;
    place.pad_h = spare_h / 2.0;
    place.top = static_cast<int>(std::nearbyint(place.pad_h - 0.1));  // an odd pixel goes right and below
    place.left = static_cast<int>(std::nearbyint(place.pad_w - 0.1));
    place.height = place.inner_height + spare_h;
    place.width = place.inner_width + spare_w;
    return place;
}

/// BGR [H, W, 3] to planar RGB at `planes`: three planes of plane_height x plane_width bytes; the picture
/// starts at (top, left) and must fit.
inline void write_planes(cv::Mat const& image, std::uint8_t* planes, int plane_height, int plane_width,
                         int top = 0, int left = 0) {
    if (image.type() != CV_8UC3 || top + image.rows > plane_height || left + image.cols > plane_width)
        throw std::runtime_error("write_planes: the picture does not fit into its place");
    auto const channel = [&](int c) {
        auto* const plane = planes + static_cast<std::size_t>(c) * static_cast<std::size_t>(plane_height) *
                                         static_cast<std::size_t>(plane_width);
        return cv::Mat(plane_height, plane_width, CV_8UC1,
                       plane)(cv::Rect(left, top, image.cols, image.rows));
    };
    cv::Mat bgr[3] = {channel(2), channel(1), channel(0)};
    cv::split(image, bgr);  // sizes fit, so OpenCV writes in place
}

/// The picture inside its letterbox, BGR [height, width, 3].
inline cv::Mat letterbox(cv::Mat const& image, Letterbox const& place) {
    cv::Mat inner = image, result;
    if (image.rows != place.inner_height || image.cols != place.inner_width)
        cv::resize(image, inner, cv::Size(place.inner_width, place.inner_height), 0, 0, cv::INTER_LINEAR);
    cv::copyMakeBorder(inner, result, place.top, place.height - place.inner_height - place.top, place.left,
                       place.width - place.inner_width - place.left, cv::BORDER_CONSTANT,
                       cv::Scalar::all(padding_grey));
    return result;
}

/// The same, written as planar RGB [3, height, width] into `planes`.
inline void write_letterbox(cv::Mat const& image, Letterbox const& place, std::uint8_t* planes) {
    cv::Mat inner = image;
    if (image.rows != place.inner_height || image.cols != place.inner_width)
        cv::resize(image, inner, cv::Size(place.inner_width, place.inner_height), 0, 0, cv::INTER_LINEAR);
    if (place.inner_height != place.height || place.inner_width != place.width)
        std::memset(planes, padding_grey,
                    3 * static_cast<std::size_t>(place.height) * static_cast<std::size_t>(place.width));
    write_planes(inner, planes, place.height, place.width, place.top, place.left);
}

}  // namespace yolo
