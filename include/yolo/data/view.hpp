#pragma once
// A picture seen through a random linear map of the plane: rotation, scale, shear, translation, perspective.

#include <yolo/data/random.hpp>
#include <yolo/data/sample.hpp>
#include <yolo/train/hyperparameters.hpp>

#include <limits>

namespace yolo {

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

namespace detail {
inline bool affine(cv::Matx33d const& m) { return m(2, 0) == 0 && m(2, 1) == 0; }
}  // namespace detail

/// Where the pixels of a width x height result come from: a rectangle of the `from` picture that holds all that
/// warp_image reads of it.
inline cv::Rect seen_through(View const& view, cv::Size from, cv::Size to) {
    cv::Rect const all(0, 0, from.width, from.height);
    bool possible = false;
    cv::Matx33d const back = view.matrix.inv(cv::DECOMP_LU, &possible);
    if (!possible) return all;
    double const far = std::numeric_limits<double>::infinity();
    double left = far, top = far, right = -far, bottom = -far;
    for (double const x : {0, to.width})
        for (double const y : {0, to.height}) {
            cv::Vec3d const p = back * cv::Vec3d(x, y, 1);
            if (!(p[2] / back(2, 2) > 0.05)) return all;  // near the horizon
            left = std::min(left, p[0] / p[2]), right = std::max(right, p[0] / p[2]);
            top = std::min(top, p[1] / p[2]), bottom = std::max(bottom, p[1] / p[2]);
        }
    if (!(left > -1e6 && top > -1e6 && right < 1e6 && bottom < 1e6)) return all;
    cv::Point const first(static_cast<int>(std::floor(left)) - 3, static_cast<int>(std::floor(top)) - 3);
    cv::Point const last(static_cast<int>(std::ceil(right)) + 4, static_cast<int>(std::ceil(bottom)) + 4);
    return cv::Rect(first, last) & all;
}

/// The picture seen through the map, bilinear; what is uncovered is grey. Shares the pixels of `image` where there is
/// nothing to do; `result` is reused where it has the right size.
inline void warp_image(cv::Mat const& image, View const& view, cv::Size to, cv::Mat& result) {
    cv::Matx33d const& m = view.matrix;
    if (m == cv::Matx33d::eye() && image.size() == to) {
        result = image;
    } else if (detail::affine(m)) {
        cv::warpAffine(image, result, m.get_minor<2, 3>(0, 0), to, cv::INTER_LINEAR, cv::BORDER_CONSTANT,
                       cv::Scalar::all(padding_grey));
    } else {
        cv::warpPerspective(image, result, m, to, cv::INTER_LINEAR, cv::BORDER_CONSTANT,
                            cv::Scalar::all(padding_grey));
    }
}

/// Where a point goes.
inline Point transform(cv::Matx33d const& matrix, Point const& point) {
    cv::Vec3d const p = matrix * cv::Vec3d(point.x, point.y, 1);
    return {static_cast<float>(p[0] / p[2]), static_cast<float>(p[1] / p[2])};
}

/// The box around a box's four corners after the map.
inline PixelBox transform(cv::Matx33d const& matrix, PixelBox const& box) {
    float const infinity = std::numeric_limits<float>::infinity();
    PixelBox result{box.cls, infinity, infinity, -infinity, -infinity};
    for (float const x : {box.x1, box.x2})
        for (float const y : {box.y1, box.y2}) {
            Point const moved = transform(matrix, Point{x, y});
            result = {box.cls, std::min(result.x1, moved.x), std::min(result.y1, moved.y),
                      std::max(result.x2, moved.x), std::max(result.y2, moved.y)};
        }
    return result;
}

/// `count` points along the closed outline, the same number on every edge: straight edges bend under perspective, and what
/// is clipped must keep its extent.
inline Segment resampled(Segment const& segment, int count = 1000) {
    Segment result(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
        double const at = static_cast<double>(segment.size()) * i / (count - 1);
        auto const edge = std::min(static_cast<std::size_t>(at), segment.size() - 1);
        double const t = at - static_cast<double>(edge);
        Point const& a = segment[edge];
        Point const& b = segment[(edge + 1) % segment.size()];
        result[static_cast<std::size_t>(i)] = {static_cast<float>(a.x + t * (b.x - a.x)),
                                               static_cast<float>(a.y + t * (b.y - a.y))};
    }
    return result;
}

/// The box around those points of the outline that the map brings into width x height pixels; empty where there are none.
inline PixelBox transform(cv::Matx33d const& matrix, Segment const& segment, float cls, float width,
                          float height) {
    float const infinity = std::numeric_limits<float>::infinity();
    PixelBox result{cls, infinity, infinity, -infinity, -infinity};
    for (Point const& point : resampled(segment)) {
        Point const p = transform(matrix, point);
        if (!(p.x >= 0 && p.y >= 0 && p.x <= width && p.y <= height)) continue;
        result = {cls, std::min(result.x1, p.x), std::min(result.y1, p.y), std::max(result.x2, p.x),
                  std::max(result.y2, p.y)};
    }
    return result.x1 <= result.x2 ? result : PixelBox{cls, 0, 0, 0, 0};
}

/// Is what is left of a box worth learning? More than 2 pixels on each side, more than a tenth of the area it
/// had (a hundredth where the outline itself was followed), sides within a factor of 100.
inline bool worth_keeping(PixelBox const& before, PixelBox const& after, double share = 0.1) {
    double const tiny = 1e-16, w = after.width(), h = after.height();
    double const area = static_cast<double>(before.width()) * before.height();
    return w > 2 && h > 2 && w * h > share * (area + tiny) && std::max(w / (h + tiny), h / (w + tiny)) < 100;
}

/// Boxes after the map, clipped and sifted; those with a polygon are the boxes of the moved polygon.
inline std::vector<PixelBox> warp_boxes(Sample const& sample, View const& view, cv::Size to) {
    float const width = static_cast<float>(to.width), height = static_cast<float>(to.height);
    float const s = static_cast<float>(view.scale);
    std::vector<PixelBox> result;
    for (std::size_t i = 0; i < sample.boxes.size(); ++i) {
        PixelBox const& box = sample.boxes[i];
        bool const outlined = i < sample.segments.size() && !sample.segments[i].empty();
        PixelBox const seen = outlined ? transform(view.matrix, sample.segments[i], box.cls, width, height)
                                       : clipped(transform(view.matrix, box), width, height);
        if (worth_keeping({box.cls, box.x1 * s, box.y1 * s, box.x2 * s, box.y2 * s}, seen,
                          outlined ? 0.01 : 0.1))
            result.push_back(seen);
    }
    return result;
}

/// The picture and its boxes seen through the map. Polygons have served their purpose and are dropped.
inline Sample warp(Sample const& sample, View const& view, cv::Size to) {
    Sample result{{}, warp_boxes(sample, view, to)};
    warp_image(sample.image, view, to, result.image);
    return result;
}

}  // namespace yolo
