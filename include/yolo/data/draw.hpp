#pragma once
// Pictures for people: detections on an image, a batch with its labels as one grid, tensors as files.

#include <yolo/data/loader.hpp>

#include <cstdio>

namespace yolo {

/// One colour a class, far from its neighbours' (hues a golden section apart), BGR.
inline cv::Scalar class_colour(int cls) {
    double const turns = 0.02 + 0.61803398875 * cls, hue = 6 * (turns - std::floor(turns));
    double const strong = cls % 2 ? 255 : 205, weak = cls % 3 ? 40 : 80;
    auto const channel = [&](double centre) {  // 1 around its own third of the circle, 0 opposite
        double const away = std::abs(hue - centre), near = std::min(away, 6 - away);
        return weak + (strong - weak) * std::clamp(2 - near, 0.0, 1.0);
    };
    return {channel(4), channel(2), channel(0)};
}

/// Writes BGR [H, W, 3] in the format that the extension names; makes the folder.
/// throws std::runtime_error naming the file.
inline void write_image(std::filesystem::path const& path, cv::Mat const& image) {
    std::string why;
    try {
        if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
        if (cv::imwrite(path.string(), image, {cv::IMWRITE_JPEG_QUALITY, 92})) return;
    } catch (std::exception const& error) { why = std::string(" (") + error.what() + ")"; }
    throw std::runtime_error(
        path.string() + ": the image cannot be written" + why +
        "; want a .jpg or .png file in a folder that can be written to, on a disk that is not "
        "full");
}

/// A planar picture as BGR [H, W, 3].  image: uint8 RGB [3, H, W]
inline cv::Mat to_picture(torch::Tensor const& image) {
    if (image.dim() != 3 || image.size(0) != 3 || image.scalar_type() != torch::kUInt8)
        throw std::runtime_error("to_picture: want a uint8 tensor [3, H, W]");
    auto const bgr = image.flip(0).permute({1, 2, 0}).contiguous().cpu();  // [H, W, 3]
    return cv::Mat(static_cast<int>(bgr.size(0)), static_cast<int>(bgr.size(1)), CV_8UC3, bgr.data_ptr())
        .clone();
}

/// image: uint8 RGB [3, H, W]
inline void write_image(std::filesystem::path const& path, torch::Tensor const& image) {
    write_image(path, to_picture(image));
}

/// A frame around the box and, where there is one, a label on the class's colour above it (inside at the top
/// edge).
inline void draw_box(cv::Mat& image, PixelBox const& box, std::string const& label) {
    auto const pixel = [](float value) {
        return static_cast<int>(std::lround(std::clamp(value, -1e6f, 1e6f)));
    };
    int const thickness = std::max(1, static_cast<int>(std::lround((image.rows + image.cols) * 0.0015)));
    cv::Scalar const colour = class_colour(static_cast<int>(box.cls));
    cv::Point const low(pixel(box.x1), pixel(box.y1)), high(pixel(box.x2), pixel(box.y2));
    cv::rectangle(image, low, high, colour, thickness);
    if (label.empty()) return;
    double const size = std::max(0.35, thickness / 4.0);
    int baseline = 0;
    cv::Size const text =
        cv::getTextSize(label, cv::FONT_HERSHEY_SIMPLEX, size, std::max(1, thickness / 2), &baseline);
    int const height = text.height + baseline, top = low.y >= height ? low.y - height : low.y;
    int const left = std::clamp(low.x, 0, std::max(0, image.cols - text.width));
    cv::rectangle(image, cv::Rect(left, top, text.width, height), colour, cv::FILLED);
    bool const bright = 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2] > 140;
    cv::putText(image, label, {left, top + text.height + baseline / 2}, cv::FONT_HERSHEY_SIMPLEX, size,
                bright ? cv::Scalar::all(0) : cv::Scalar::all(255), std::max(1, thickness / 2), cv::LINE_AA);
}

/// The class's name, or its number where there is none.
inline std::string class_name(std::vector<std::string> const& names, int cls) {
    bool const known = cls >= 0 && static_cast<std::size_t>(cls) < names.size();
    return known ? names[static_cast<std::size_t>(cls)] : std::to_string(cls);
}

/// What OpenCV's font has of a text: ASCII. Any other letter, of however many bytes, becomes a '?'.
inline std::string ascii(std::string_view text) {
    std::string result;
    for (char const c : text) {
        auto const byte = static_cast<unsigned char>(c);
        if ((byte & 0xC0) != 0x80) result += byte >= ' ' && byte < 0x7F ? c : '?';
    }
    return result;
}

/// The class's name as far as it can be drawn, its number where nothing of it can.
inline std::string drawn_name(std::vector<std::string> const& names, int cls) {
    auto const name = ascii(class_name(names, cls));
    return name.find_first_not_of("? ") == name.npos ? std::to_string(cls) : name;
}

/// Boxes with "name confidence" on a copy of the picture `in`, written to `out`.
/// detections: [n, 6] x1, y1, x2, y2 in pixels of the picture, confidence, class; the surest are drawn last,
/// on top.
inline void draw_detections(std::filesystem::path const& in, std::filesystem::path const& out,
                            torch::Tensor const& detections, std::vector<std::string> const& names) {
    if (detections.dim() != 2 || detections.size(1) != 6)
        throw std::runtime_error("draw_detections: want a tensor [n, 6]");
    cv::Mat image = read_image(in);
    auto const order = detections.select(1, 4).argsort(-1, false);
    auto const rows = detections.index_select(0, order).to(torch::kCPU, torch::kFloat).contiguous();
    auto const value = rows.accessor<float, 2>();
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
        char confidence[16];
        std::snprintf(confidence, sizeof confidence, " %.2f", static_cast<double>(value[i][4]));
        PixelBox const box{value[i][5], value[i][0], value[i][1], value[i][2], value[i][3]};
        draw_box(image, box, drawn_name(names, static_cast<int>(box.cls)) + confidence);
    }
    write_image(out, image);
}

namespace detail {

struct LabelledBox {
    PixelBox box;
    std::string label;
};

/// A square grid of up to `most` pictures, 1920 pixels at most: boxes are in pixels of the batch, names of files stand
/// in the corner.
inline void write_grid(std::filesystem::path const& path, Batch const& batch, int most,
                       std::vector<std::vector<LabelledBox>> const& boxes) {
    int const count = std::min(most, static_cast<int>(batch.images.size(0)));
    int const columns = std::max(1, static_cast<int>(std::ceil(std::sqrt(count)))),
              rows = (count + columns - 1) / columns;
    int const height = static_cast<int>(batch.images.size(2)), width = static_cast<int>(batch.images.size(3));
    double const shrink = std::min(1.0, 1920.0 / (columns * std::max(height, width)));
    cv::Size const cell(static_cast<int>(width * shrink), static_cast<int>(height * shrink));
    cv::Mat grid(std::max(1, rows) * cell.height, columns * cell.width, CV_8UC3, cv::Scalar::all(255));
    auto const scaled = [](float x, int part, int whole) {
        return x * static_cast<float>(part) / static_cast<float>(whole);
    };
    for (int i = 0; i < count; ++i) {
        auto const index = static_cast<std::size_t>(i);
        cv::Mat const picture = to_picture(batch.images[i]);
        cv::Mat place =
            grid(cv::Rect(i % columns * cell.width, i / columns * cell.height, cell.width, cell.height));
        cv::resize(picture, place, cell, 0, 0, cv::INTER_AREA);
        for (auto const& [box, label] : boxes[index])
            draw_box(place,
                     {box.cls, scaled(box.x1, cell.width, width), scaled(box.y1, cell.height, height),
                      scaled(box.x2, cell.width, width), scaled(box.y2, cell.height, height)},
                     label);
        if (index < batch.infos.size()) {
            auto const name = ascii(batch.infos[index].path.filename().string()).substr(0, 40);
            for (auto const& [colour, thickness] :
                 {std::pair{0, 3}, std::pair{220, 1}})  // legible on any ground
                cv::putText(place, name, {5, 16}, cv::FONT_HERSHEY_SIMPLEX, 0.45, cv::Scalar::all(colour),
                            thickness, cv::LINE_AA);
        }
        cv::rectangle(place, cv::Rect(0, 0, cell.width, cell.height), cv::Scalar::all(255), 1);
    }
    write_image(path, grid);
}

}  // namespace detail

/// Up to `most` pictures of a batch with their labels in a square grid of at most 1920 pixels, written to
/// `path`.
inline void write_batch_picture(std::filesystem::path const& path, Batch const& batch,
                                std::vector<std::string> const& names, int most = 16) {
    std::vector<std::vector<detail::LabelledBox>> boxes(static_cast<std::size_t>(batch.images.size(0)));
    auto const targets = batch.targets.to(torch::kCPU, torch::kFloat).contiguous();
    auto const target = targets.accessor<float, 2>();
    auto const width = static_cast<double>(batch.images.size(3)),
               height = static_cast<double>(batch.images.size(2));
    for (std::int64_t t = 0; t < targets.size(0); ++t) {
        Box const box{target[t][1], target[t][2], target[t][3], target[t][4], target[t][5]};
        boxes.at(static_cast<std::size_t>(target[t][0]))
            .push_back({to_pixels({box}, width, height)[0], drawn_name(names, static_cast<int>(box.cls))});
    }
    detail::write_grid(path, batch, most, boxes);
}

/// The same with what was found: boxes of at least `confidence`, the surest drawn last, with "name confidence".
/// detections: one tensor a picture, [n, 6] x1, y1, x2, y2 in pixels of the batch, confidence, class
inline void write_batch_picture(std::filesystem::path const& path, Batch const& batch,
                                std::vector<torch::Tensor> const& detections,
                                std::vector<std::string> const& names, double confidence = 0.25,
                                int most = 16) {
    if (static_cast<std::int64_t>(detections.size()) != batch.images.size(0))
        throw std::runtime_error("write_batch_picture: detections of " + std::to_string(detections.size()) +
                                 " pictures, want " + std::to_string(batch.images.size(0)));
    std::vector<std::vector<detail::LabelledBox>> boxes(detections.size());
    for (std::size_t i = 0; i < detections.size(); ++i) {
        if (detections[i].numel() == 0) continue;
        auto const order = detections[i].select(1, 4).argsort(-1, false);
        auto const rows = detections[i].index_select(0, order).to(torch::kCPU, torch::kFloat).contiguous();
        auto const value = rows.accessor<float, 2>();
        for (std::int64_t row = 0; row < rows.size(0); ++row) {
            if (value[row][4] < static_cast<float>(confidence)) continue;
            char text[16];
            std::snprintf(text, sizeof text, " %.1f", static_cast<double>(value[row][4]));
            PixelBox const box{value[row][5], value[row][0], value[row][1], value[row][2], value[row][3]};
            boxes[i].push_back({box, drawn_name(names, static_cast<int>(box.cls)) + text});
        }
    }
    detail::write_grid(path, batch, most, boxes);
}

}  // namespace yolo
