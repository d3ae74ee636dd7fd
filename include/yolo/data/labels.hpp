#pragma once
// YOLO label files: one object a line, "class cx cy w h" in fractions of the picture, or "class x1 y1 x2 y2
// ..." (a polygon, whose bounding box is taken).

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace yolo {

/// Class, centre and sides; coordinates are fractions of the picture's width and height.
struct Box {
    float cls = 0, cx = 0, cy = 0, w = 0, h = 0;
    bool operator==(Box const&) const = default;
};

struct Labels {
    std::vector<Box> boxes;  // in the file's order, each once
    int duplicates = 0;      // repeated lines that were left out
};

namespace detail {

/// For messages: the first characters, those that are no ASCII text as '?'.
inline std::string printable(std::string_view text) {
    std::string result(text.substr(0, 24));
    for (char& c : result)
        if (c < ' ' || c > '~') c = '?';
    return result;
}

inline std::vector<float> label_numbers(std::string_view line) {
    std::vector<float> values;
    auto const blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
    for (std::size_t at = 0;;) {
        while (at < line.size() && blank(line[at])) ++at;
        if (at == line.size()) return values;
        std::size_t end = at;
        while (end < line.size() && !blank(line[end])) ++end;
        std::size_t const digits = line[at] == '+' ? at + 1 : at;
        float value = 0;
        auto const [stop, error] = std::from_chars(line.data() + digits, line.data() + end, value);
        if (error == std::errc::result_out_of_range && stop == line.data() + end)
            value = 0;  // 1e-60
        else if (error != std::errc{} || stop != line.data() + end)
            throw std::runtime_error("'" + printable(line.substr(at, end - at)) + "' is not a number");
        values.push_back(value);
        at = end;
    }
}

inline yolo::Box label_box(std::vector<float> const& row) {
    yolo::Box box{row[0], 0, 0, 0, 0};
    if (row.size() == 5) {
        box = {row[0], row[1], row[2], row[3], row[4]};
    } else if (row.size() >= 7 && row.size() % 2 == 1) {
        float left = row[1], right = row[1], top = row[2], bottom = row[2];
        for (std::size_t i = 3; i < row.size(); i += 2) {
            left = std::min(left, row[i]), right = std::max(right, row[i]);
            top = std::min(top, row[i + 1]), bottom = std::max(bottom, row[i + 1]);
        }
        box = {row[0], (left + right) / 2, (top + bottom) / 2, right - left, bottom - top};
    } else {
        throw std::runtime_error(std::to_string(row.size()) +
                                 " columns, want 5 (or a class and 3 or more points)");
    }
    if (!(box.cls >= 0 && box.cls < 1e6f) || box.cls != std::floor(box.cls))
        throw std::runtime_error("the class is not a number 0, 1, 2, ...");
    for (std::size_t i = 1; i < row.size(); ++i)
        if (!(row[i] >= 0))
            throw std::runtime_error("a coordinate is negative");
        else if (!(row[i] <= 1))
            throw std::runtime_error("a coordinate is above 1: divide by the image's size");
    return box;
}

}  // namespace detail

/// Reads the text of a label file.
/// throws std::runtime_error "line N: reason" (without the file's name): words, a wrong number of columns, a
/// negative or unnormalised coordinate.
inline Labels parse_labels(std::string_view text) {
    Labels labels;
    for (std::size_t at = 0, line = 1; at < text.size(); ++line) {
        std::size_t const end = std::min(text.find('\n', at), text.size());
        try {
            if (auto const row = detail::label_numbers(text.substr(at, end - at)); !row.empty())
                labels.boxes.push_back(detail::label_box(row));
        } catch (std::runtime_error const& error) {
            throw std::runtime_error("line " + std::to_string(line) + ": " + error.what());
        }
        at = end + 1;
    }
    auto const less = [&](std::size_t a, std::size_t b) {
        auto const key = [&](std::size_t i) {
            Box const& box = labels.boxes[i];
            return std::array{box.cls, box.cx, box.cy, box.w, box.h};
        };
        return key(a) < key(b) || (key(a) == key(b) && a < b);
    };
    std::vector<std::size_t> order(labels.boxes.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), less);
    std::vector<bool> repeated(order.size());
    for (std::size_t i = 1; i < order.size(); ++i)
        repeated[order[i]] = labels.boxes[order[i]] == labels.boxes[order[i - 1]];
    std::vector<Box> unique;
    for (std::size_t i = 0; i < order.size(); ++i)
        if (!repeated[i]) unique.push_back(labels.boxes[i]);
    labels.duplicates = static_cast<int>(labels.boxes.size() - unique.size());
    labels.boxes = std::move(unique);
    return labels;
}

/// Reads a label file. throws as parse_labels, and where the file cannot be read.
inline Labels read_labels(std::filesystem::path const& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("cannot be opened");
    std::string const text((std::istreambuf_iterator<char>(in)), {});
    return parse_labels(text);
}

/// Where the labels of a picture are: the last folder "images" of its path becomes "labels", the extension
/// ".txt". A path without such a folder keeps its labels beside the picture.
inline std::filesystem::path label_path(std::filesystem::path const& image) {
    std::string const text = image.generic_string(), from = "/images/";
    std::filesystem::path result = image;
    if (auto const at = text.rfind(from); at != std::string::npos)
        result = text.substr(0, at) + "/labels/" + text.substr(at + from.size());
    else if (text.starts_with("images/"))
        result = "labels/" + text.substr(7);
    return result.replace_extension(".txt");
}

}  // namespace yolo
