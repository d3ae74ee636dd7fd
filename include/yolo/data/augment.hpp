#pragma once
// What training does to pictures and their boxes: mosaic, affine or perspective views, colours, flips,
// mix-up. The same meaning of the hyper-parameters as YOLOv5; every draw comes from the Random that is passed
// in.

#include <yolo/data/image.hpp>
#include <yolo/data/labels.hpp>
#include <yolo/data/random.hpp>
#include <yolo/train/hyperparameters.hpp>

namespace yolo {

/// A box by its corners, in pixels.
struct PixelBox {
    float cls = 0, x1 = 0, y1 = 0, x2 = 0, y2 = 0;
    float width() const { return x2 - x1; }
    float height() const { return y2 - y1; }
    bool operator==(PixelBox const&) const = default;
};

/// A picture (BGR [H, W, 3]) with its boxes.
struct Sample {
    cv::Mat image;
    std::vector<PixelBox> boxes;
};

/// x1 = width * (cx - w / 2) + left, ...: where boxes are once the picture has width x height pixels and is
/// moved.
inline std::vector<PixelBox> to_pixels(std::vector<Box> const& boxes, double width, double height,
                                       double left = 0, double top = 0) {
    auto const at = [](double fraction, double side, double offset) {
        return static_cast<float>(fraction * side + offset);
    };
    std::vector<PixelBox> result;
    result.reserve(boxes.size());
    for (Box const& box : boxes) {
        double const half_w = box.w / 2.0, half_h = box.h / 2.0;
        result.push_back({box.cls, at(box.cx - half_w, width, left), at(box.cy - half_h, height, top),
                          at(box.cx + half_w, width, left), at(box.cy + half_h, height, top)});
    }
    return result;
}

/// The inverse, after clipping to the picture less a thousandth of a pixel.
inline Box to_fraction(PixelBox const& box, int width, int height) {
    float const w = static_cast<float>(width), h = static_cast<float>(height), margin = 1e-3f;
    float const x1 = std::clamp(box.x1, 0.0f, w - margin), x2 = std::clamp(box.x2, 0.0f, w - margin);
    float const y1 = std::clamp(box.y1, 0.0f, h - margin), y2 = std::clamp(box.y2, 0.0f, h - margin);
    return {box.cls, (x1 + x2) / 2 / w, (y1 + y2) / 2 / h, (x2 - x1) / w, (y2 - y1) / h};
}

/// One part of a mosaic: a picture at the loader's size and its boxes as fractions of it.
struct MosaicPart {
    cv::Mat image;
    std::vector<Box> const* boxes = nullptr;
};

/// Four pictures around a common corner in the middle half of a square of 2 size x 2 size pixels. `canvas` is
/// reused where it has the right size. Boxes are clipped to the square.
inline Sample mosaic(std::array<MosaicPart, 4> const& parts, int size, Random& random, cv::Mat canvas = {}) {
    int const side = 2 * size;
    auto const corner = [&] { return static_cast<int>(random.uniform(size / 2, side - size / 2)); };
    int const yc = corner(), xc = corner();
    canvas.create(side, side, CV_8UC3);
    canvas.setTo(cv::Scalar::all(padding_grey));
    Sample result{canvas, {}};
    for (std::size_t i = 0; i < 4; ++i) {
        bool const right = i % 2 == 1, below = i >= 2;
        cv::Mat const& part = parts[i].image;
        int const left = right ? xc : xc - part.cols, top = below ? yc : yc - part.rows;  // of the whole part
        cv::Rect const seen = cv::Rect(left, top, part.cols, part.rows) & cv::Rect(0, 0, side, side);
        if (seen.area() > 0) part(seen - cv::Point(left, top)).copyTo(canvas(seen));
        for (PixelBox box : to_pixels(*parts[i].boxes, part.cols, part.rows, left, top)) {
            for (float* const value : {&box.x1, &box.y1, &box.x2, &box.y2})
                *value = std::clamp(*value, 0.0f, static_cast<float>(side));
            result.boxes.push_back(box);
        }
    }
    return result;
}

/// A random linear map of the plane, homogeneous, and the scale it was drawn with.
struct View {
    cv::Matx33d matrix = cv::Matx33d::eye();
    double scale = 1.0;
};

/// From a width x height picture to an out_width x out_height one: centre to the origin, perspective,
/// rotation and scale, shear, and back to the middle +/- translate.
inline View random_view(Hyperparameters const& hyp, cv::Size from, cv::Size to, Random& random) {
    using Matrix = cv::Matx33d;
    double const radians = 3.14159265358979323846 / 180.0;
    auto const around = [&](double middle, double reach) {
        return random.uniform(middle - reach, middle + reach);
    };
    Matrix const centre{1, 0, -from.width / 2.0, 0, 1, -from.height / 2.0, 0, 0, 1};
    double const px = around(0, hyp.perspective), py = around(0, hyp.perspective);
    double const angle = around(0, hyp.degrees) * radians, scale = around(1, hyp.scale);
    double const c = scale * std::cos(angle), s = scale * std::sin(angle);
    double const sx = std::tan(around(0, hyp.shear) * radians), sy = std::tan(around(0, hyp.shear) * radians);
    double const tx = around(0.5, hyp.translate) * to.width, ty = around(0.5, hyp.translate) * to.height;
    return {Matrix{1, 0, tx, 0, 1, ty, 0, 0, 1} * Matrix{1, sx, 0, sy, 1, 0, 0, 0, 1} *
                Matrix{c, s, 0, -s, c, 0, 0, 0, 1} * Matrix{1, 0, 0, 0, 1, 0, px, py, 1} * centre,
            scale};
}

/// The box around a box's four corners after the map.
inline PixelBox transform(cv::Matx33d const& matrix, PixelBox const& box) {
    float const infinity = std::numeric_limits<float>::infinity();
    PixelBox result{box.cls, infinity, infinity, -infinity, -infinity};
    for (float const x : {box.x1, box.x2})
        for (float const y : {box.y1, box.y2}) {
            cv::Vec3d const point = matrix * cv::Vec3d(x, y, 1);
            float const u = static_cast<float>(point[0] / point[2]),
                        v = static_cast<float>(point[1] / point[2]);
            result = {box.cls, std::min(result.x1, u), std::min(result.y1, v), std::max(result.x2, u),
                      std::max(result.y2, v)};
        }
    return result;
}

/// Is what is left of a box worth learning? More than 2 pixels on each side, more than a tenth of the area it
/// had, sides within a factor of 100.
inline bool worth_keeping(PixelBox const& before, PixelBox const& after) {
    double const tiny = 1e-16, w = after.width(), h = after.height();
    double const area = static_cast<double>(before.width()) * before.height();
    return w > 2 && h > 2 && w * h > 0.1 * (area + tiny) && std::max(w / (h + tiny), h / (w + tiny)) < 100;
}

/// The picture and its boxes seen through the map; what is uncovered is grey, boxes are clipped and sifted.
inline Sample warp(Sample const& sample, View const& view, cv::Size to) {
    Sample result;
    cv::Matx33d const& m = view.matrix;
    if (m == cv::Matx33d::eye() && sample.image.size() == to) {
        result.image = sample.image;
    } else if (m(2, 0) == 0 && m(2, 1) == 0) {
        cv::warpAffine(sample.image, result.image, m.get_minor<2, 3>(0, 0), to, cv::INTER_LINEAR,
                       cv::BORDER_CONSTANT, cv::Scalar::all(padding_grey));
    } else {
        cv::warpPerspective(sample.image, result.image, m, to, cv::INTER_LINEAR, cv::BORDER_CONSTANT,
                            cv::Scalar::all(padding_grey));
    }
    float const width = static_cast<float>(to.width), height = static_cast<float>(to.height);
    float const s = static_cast<float>(view.scale);
    for (PixelBox const& box : sample.boxes) {
        PixelBox const moved = transform(m, box);
        PixelBox const seen{box.cls, std::clamp(moved.x1, 0.0f, width), std::clamp(moved.y1, 0.0f, height),
                            std::clamp(moved.x2, 0.0f, width), std::clamp(moved.y2, 0.0f, height)};
        if (worth_keeping({box.cls, box.x1 * s, box.y1 * s, box.x2 * s, box.y2 * s}, seen))
            result.boxes.push_back(seen);
    }
    return result;
}

/// Multiplies hue (on its circle), saturation and value by factors drawn from 1 +/- hsv_h, hsv_s, hsv_v, in
/// place. All gains 0: the picture stays as it is.
inline void augment_hsv(cv::Mat& image, Hyperparameters const& hyp, Random& random) {
    if (hyp.hsv_h == 0 && hyp.hsv_s == 0 && hyp.hsv_v == 0) return;
    double const h = random.uniform(1 - hyp.hsv_h, 1 + hyp.hsv_h),
                 s = random.uniform(1 - hyp.hsv_s, 1 + hyp.hsv_s);
    double const v = random.uniform(1 - hyp.hsv_v, 1 + hyp.hsv_v);
    cv::Mat table(1, 256, CV_8UC3), hsv;
    for (int i = 0; i < 256; ++i) {
        auto const bounded = [&](double value) {
            return static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0));
        };
        table.at<cv::Vec3b>(i) = {bounded(std::fmod(i * h, 180.0)), bounded(i * s), bounded(i * v)};
    }
    cv::cvtColor(image, hsv, cv::COLOR_BGR2HSV);
    cv::LUT(hsv, table, hsv);
    cv::cvtColor(hsv, image, cv::COLOR_HSV2BGR);
}

inline void flip_left_right(Sample& sample) {
    cv::Mat flipped;
    cv::flip(sample.image, flipped, 1);
    sample.image = flipped;
    float const width = static_cast<float>(flipped.cols);
    for (PixelBox& box : sample.boxes) box = {box.cls, width - box.x2, box.y1, width - box.x1, box.y2};
}

inline void flip_up_down(Sample& sample) {
    cv::Mat flipped;
    cv::flip(sample.image, flipped, 0);
    sample.image = flipped;
    float const height = static_cast<float>(flipped.rows);
    for (PixelBox& box : sample.boxes) box = {box.cls, box.x1, height - box.y2, box.x2, height - box.y1};
}

/// r * first + (1 - r) * second with r from Beta(32, 32), boxes of both (Zhang et al. 2018). Sizes must be
/// equal.
inline Sample mixup(Sample const& first, Sample const& second, Random& random) {
    double const r = random.beta(32, 32);
    Sample result{{}, first.boxes};
    cv::addWeighted(first.image, r, second.image, 1 - r, 0, result.image);
    result.boxes.insert(result.boxes.end(), second.boxes.begin(), second.boxes.end());
    return result;
}

/// Colours, then flips, as the hyper-parameters say. The picture must not be shared.
inline void augment_colours_and_flips(Sample& sample, Hyperparameters const& hyp, Random& random) {
    augment_hsv(sample.image, hyp, random);
    if (random.bernoulli(hyp.flipud)) flip_up_down(sample);
    if (random.bernoulli(hyp.fliplr)) flip_left_right(sample);
}

}  // namespace yolo
