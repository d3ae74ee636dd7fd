#pragma once
// Several pictures on one canvas of 2 size x 2 size pixels: four around a common corner, or nine around a middle one. Where
// they go is drawn first, apart from their pixels, so that a part that nobody will see need not be decoded.

#include <yolo/data/random.hpp>
#include <yolo/data/sample.hpp>

#include <array>
#include <span>

namespace yolo {

/// One part of a mosaic: a picture at the loader's size; its boxes and polygons as fractions of it.
struct MosaicPart {
    cv::Mat image;
    std::vector<Box> const* boxes = nullptr;
    std::vector<Segment> const* segments = nullptr;  // nullptr, none, or one a box
};

/// Where the whole parts lie, in pixels of the canvas; they may reach beyond it.
struct MosaicLayout {
    int side = 0;  // of the canvas
    std::vector<cv::Rect> places;
};

namespace detail {

// The common corner lies in the middle half of the canvas; each part touches it with one of its own corners.
inline MosaicLayout layout_of_4(std::span<cv::Size const> sizes, int size, Random& random) {
    int const side = 2 * size;
    auto const corner = [&] { return static_cast<int>(random.uniform(size / 2, side - size / 2)); };
    int const yc = corner(), xc = corner();
    MosaicLayout layout{side, {}};
    for (std::size_t i = 0; i < 4; ++i) {
        bool const right = i % 2 == 1, below = i >= 2;
        layout.places.emplace_back(right ? xc : xc - sizes[i].width, below ? yc : yc - sizes[i].height,
                                   sizes[i].width, sizes[i].height);
    }
    return layout;
}

// The first part in the middle of 3 size x 3 size pixels, the others around it clockwise from above, each against its
// neighbours; the canvas is a random window of that.
inline MosaicLayout layout_of_9(std::span<cv::Size const> sizes, int size, Random& random) {
    int const s = size, w0 = sizes[0].width, h0 = sizes[0].height;
    int const top = static_cast<int>(random.uniform(0, s)), left = static_cast<int>(random.uniform(0, s));
    MosaicLayout layout{2 * s, {}};
    for (std::size_t i = 0; i < 9; ++i) {
        int const w = sizes[i].width, h = sizes[i].height;
        int const wp = i == 0 ? 0 : sizes[i - 1].width, hp = i == 0 ? 0 : sizes[i - 1].height;
        std::array<cv::Point, 9> const corners{cv::Point(s, s),                     // middle
                                               cv::Point(s, s - h),                 // above
                                               cv::Point(s + wp, s - h),            // above right
                                               cv::Point(s + w0, s),                // right
                                               cv::Point(s + w0, s + hp),           // below right
                                               cv::Point(s + w0 - w, s + h0),       // below
                                               cv::Point(s + w0 - wp - w, s + h0),  // below left
                                               cv::Point(s - w, s + h0 - h),        // left
                                               cv::Point(s - w, s + h0 - hp - h)};  // above left
        layout.places.emplace_back(corners[i] - cv::Point(left, top), cv::Size(w, h));
    }
    return layout;
}

}  // namespace detail

/// Draws the layout of four or nine parts with these sizes.
inline MosaicLayout mosaic_layout(std::span<cv::Size const> sizes, int size, Random& random) {
    return sizes.size() == 9 ? detail::layout_of_9(sizes, size, random)
                             : detail::layout_of_4(sizes, size, random);
}

/// Boxes and polygons of the parts on the canvas, clipped to it, without pixels.
inline Sample mosaic_labels(std::span<MosaicPart const> parts, MosaicLayout const& layout) {
    float const side = static_cast<float>(layout.side);
    Sample result;
    bool any = false;
    for (MosaicPart const& part : parts) any |= part.segments && !part.segments->empty();
    for (std::size_t i = 0; i < parts.size(); ++i) {
        cv::Rect const& place = layout.places[i];
        for (PixelBox const& box : to_pixels(*parts[i].boxes, place.width, place.height, place.x, place.y))
            result.boxes.push_back(clipped(box, side, side));
        if (!any) continue;
        if (parts[i].segments)
            for (Segment const& segment : *parts[i].segments) {
                result.segments.push_back(to_pixels(segment, place.width, place.height, place.x, place.y));
                for (Point& point : result.segments.back())
                    point = {std::clamp(point.x, 0.0f, side), std::clamp(point.y, 0.0f, side)};
            }
        result.segments.resize(result.boxes.size());
    }
    return result;
}

/// An empty canvas, of which only `seen` is asked for; the rest stays undefined. Reused where it has the right size.
inline void clear_canvas(cv::Mat& canvas, MosaicLayout const& layout, cv::Rect const& seen) {
    canvas.create(layout.side, layout.side, CV_8UC3);
    canvas(seen).setTo(cv::Scalar::all(padding_grey));
}

/// Puts what `seen` shows of a part at its place.
inline void draw_part(cv::Mat& canvas, cv::Mat const& image, cv::Rect const& place, cv::Rect const& seen) {
    cv::Rect const common = place & seen;
    if (common.area() > 0) image(common - place.tl()).copyTo(canvas(common));
}

/// All of it: four or nine pictures on a canvas.
inline Sample mosaic(std::span<MosaicPart const> parts, int size, Random& random) {
    std::vector<cv::Size> sizes;
    for (MosaicPart const& part : parts) sizes.push_back(part.image.size());
    MosaicLayout const layout = mosaic_layout(sizes, size, random);
    Sample result = mosaic_labels(parts, layout);
    cv::Rect const all(0, 0, layout.side, layout.side);
    clear_canvas(result.image, layout, all);
    for (std::size_t i = 0; i < parts.size(); ++i)
        draw_part(result.image, parts[i].image, layout.places[i], all);
    return result;
}

}  // namespace yolo
