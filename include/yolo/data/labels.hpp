#pragma once
// YOLO label files: one object a line, "class cx cy w h" in fractions of the picture, or "class x1 y1 x2 y2
// ..." (a polygon, whose bounding box is taken and whose points are kept).
// A row that cannot be used is left out and counted; the other rows stay. YOLOv5 gives up the whole picture.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace yolo {

/// Class, centre and sides; coordinates are fractions of the picture's width and height.
struct Box {
    float cls = 0, cx = 0, cy = 0, w = 0, h = 0;
    bool operator==(Box const&) const = default;
};

/// Fractions of the picture's width and height.
struct Point {
    float x = 0, y = 0;
    bool operator==(Point const&) const = default;
};
using Segment = std::vector<Point>;  // a polygon; single points may lie outside the picture

struct Labels {
    std::vector<Box> boxes;         // in the file's order, each once
    std::vector<Segment> segments;  // none, or one a box, if a row of the file is a polygon
    int duplicates = 0;             // rows left out: a box of the same class was there before,
    int out_of_range = 0;           // a coordinate is outside the picture,
    int malformed = 0;              // or they are no labels at all
    std::string first_problem;      // "line N: reason" of the first row out of range or malformed
    bool operator==(Labels const&) const = default;
};

/// Why this is no box with a class of a picture; nullptr where it is one.
inline char const* class_problem(Box const& box) {
    if (!(box.cls >= 0) || box.cls != std::floor(box.cls)) return "the class is not a number 0, 1, 2, ...";
    return box.cls < 1e6f ? nullptr : "the class is above 999999";
}
inline char const* range_problem(Box const& box) {
    for (float const value : {box.cx, box.cy, box.w, box.h})
        if (!std::isfinite(value))
            return "a coordinate is not finite";
        else if (value < 0)
            return "a coordinate is negative";
        else if (value > 1)
            return "a coordinate is above 1: divide by the image's size";
    return nullptr;
}

/// The corners of a box as a polygon, clockwise from the upper left.
inline Segment corners(Box const& box) {
    float const left = box.cx - box.w / 2, right = box.cx + box.w / 2;
    float const top = box.cy - box.h / 2, bottom = box.cy + box.h / 2;
    return {{left, top}, {right, top}, {right, bottom}, {left, bottom}};
}

namespace detail {

/// For messages: the first characters, those that are no ASCII text as '?'.
inline std::string printable(std::string_view text) {
    std::string result(text.substr(0, 24));
    for (char& c : result)
        if (c < ' ' || c > '~') c = '?';
    return result;
}

/// The numbers of a line into `values`. Returns the first word that is none; empty where all are.
inline std::string_view label_numbers(std::string_view line, std::vector<float>& values) {
    values.clear();
    auto const blank = [](char c) { return c == ' ' || c == '\t' || c == '\v' || c == '\f'; };
    for (std::size_t at = 0;;) {
        while (at < line.size() && blank(line[at])) ++at;
        if (at == line.size()) return {};
        std::size_t end = at;
        while (end < line.size() && !blank(line[end])) ++end;
        std::size_t const digits = line[at] == '+' ? at + 1 : at;
        double value = 0;  // then rounded to float, as in YOLOv5
        auto const [stop, error] = std::from_chars(line.data() + digits, line.data() + end, value);
        if (error != std::errc{} || stop != line.data() + end) return line.substr(at, end - at);
        bool const fits = std::abs(value) <= std::numeric_limits<float>::max() || std::isnan(value);
        values.push_back(fits ? static_cast<float>(value)
                              : (value > 0 ? 1.0f : -1.0f) * std::numeric_limits<float>::infinity());
        at = end;
    }
}

/// The smallest box around the points; a coordinate that is not finite stays visible in it.
inline yolo::Box box_around(float cls, Segment const& points) {
    float left = points[0].x, right = left, top = points[0].y, bottom = top, sum = 0;
    for (Point const& point : points) {
        left = std::min(left, point.x), right = std::max(right, point.x);
        top = std::min(top, point.y), bottom = std::max(bottom, point.y);
        sum += 0 * point.x + 0 * point.y;  // NaN where one is not finite
    }
    return {cls, (left + right) / 2 + sum, (top + bottom) / 2, right - left, bottom - top};
}

/// Takes the boxes out that were there before, with their polygons. n log n, whatever the rows are.
inline void remove_duplicates(Labels& labels) {
    struct Row {
        Box box;
        std::size_t index;
        auto key() const { return std::tie(box.cls, box.cx, box.cy, box.w, box.h, index); }
    };
    std::vector<Row> rows;
    rows.reserve(labels.boxes.size());
    for (Box const& box : labels.boxes) rows.push_back({box, rows.size()});
    std::sort(rows.begin(), rows.end(), [](Row const& a, Row const& b) { return a.key() < b.key(); });
    std::vector<bool> repeated(rows.size());
    for (std::size_t i = 1; i < rows.size(); ++i)
        if (rows[i].box == rows[i - 1].box) repeated[rows[i].index] = true, ++labels.duplicates;
    if (labels.duplicates == 0) return;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (repeated[i]) continue;
        labels.boxes[kept] = labels.boxes[i];
        if (!labels.segments.empty() && kept != i) labels.segments[kept] = std::move(labels.segments[i]);
        ++kept;
    }
    labels.boxes.resize(kept);
    if (!labels.segments.empty()) labels.segments.resize(kept);
}

}  // namespace detail

/// Reads the text of a label file. Lines end with LF, CRLF or CR; a UTF-8 byte order mark is passed over.
/// A file in which a row is a polygon (7 columns or more) is a segment file, as in YOLOv5: every box has its
/// polygon, that of a row with 5 columns is the four corners of its box (YOLOv5 reads cx cy w h as two
/// points). What counts is the box, as in YOLOv5: a point may lie outside the picture if the box does not.
inline Labels parse_labels(std::string_view text) {
    Labels labels;
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    std::vector<float> row;
    for (std::size_t at = 0, line = 1; at < text.size(); ++line) {
        std::size_t const end = std::min(text.find_first_of("\r\n", at), text.size());
        auto const refuse = [&](int& count, std::string const& why) {
            if (labels.first_problem.empty())
                labels.first_problem = "line " + std::to_string(line) + ": " + why;
            ++count;
        };
        std::string_view const word = detail::label_numbers(text.substr(at, end - at), row);
        bool const polygon = row.size() >= 7 && row.size() % 2 == 1;
        if (!word.empty()) {
            refuse(labels.malformed, "'" + detail::printable(word) + "' is not a number");
        } else if (row.size() != 5 && !polygon) {
            if (!row.empty())
                refuse(labels.malformed,
                       std::to_string(row.size()) + " columns, want 5 (or a class and 3 or more points)");
        } else {
            Segment points;
            if (polygon)
                for (std::size_t i = 1; i < row.size(); i += 2) points.push_back({row[i], row[i + 1]});
            Box const box =
                polygon ? detail::box_around(row[0], points) : Box{row[0], row[1], row[2], row[3], row[4]};
            if (char const* const why = class_problem(box)) {
                refuse(labels.malformed, why);
            } else if (char const* const outside = range_problem(box)) {
                refuse(labels.out_of_range, outside);
            } else {
                labels.boxes.push_back(box);
                if (polygon) {
                    labels.segments.resize(labels.boxes.size());
                    labels.segments.back() = std::move(points);
                }
            }
        }
        at = end + (text.substr(end).starts_with("\r\n") ? 2 : 1);
    }
    if (!labels.segments.empty()) labels.segments.resize(labels.boxes.size());
    for (std::size_t i = 0; i < labels.segments.size(); ++i)
        if (labels.segments[i].empty()) labels.segments[i] = corners(labels.boxes[i]);
    detail::remove_duplicates(labels);
    return labels;
}

/// Reads a label file. throws std::runtime_error (without the file's name) where it cannot be read.
inline Labels read_labels(std::filesystem::path const& path) {
    constexpr std::uintmax_t limit = 256 << 20;  // bytes: five million rows
    std::error_code failed;
    auto const bytes = std::filesystem::file_size(path, failed);
    std::ifstream in(path, std::ios::binary);
    if (failed || !in) throw std::runtime_error("cannot be opened");
    if (bytes > limit) throw std::runtime_error("is larger than 256 MiB; is it a label file?");
    std::string text(static_cast<std::size_t>(bytes), '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    return parse_labels(std::string_view(text).substr(0, static_cast<std::size_t>(in.gcount())));
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
