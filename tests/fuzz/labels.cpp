// Fuzzing the label reader: whatever the text is, what comes out are usable labels. No LibTorch, no OpenCV.
// clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tests/fuzz/labels.cpp -o fuzz-labels
// ./fuzz-labels -max_len=4096 -max_total_time=60 NEW_FOLDER tests/fuzz/corpus/labels

#include <yolo/data/labels.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

void want(bool good) {
    if (!good) std::abort();
}

void check(yolo::Labels const& labels) {
    want(labels.segments.empty() || labels.segments.size() == labels.boxes.size());
    want((labels.out_of_range + labels.malformed > 0) == !labels.first_problem.empty());
    for (std::size_t i = 0; i < labels.boxes.size(); ++i) {
        yolo::Box const& box = labels.boxes[i];
        want(!yolo::class_problem(box) && !yolo::range_problem(box));
        if (i < 64)  // all pairs would be slow
            for (std::size_t j = 0; j < i; ++j) want(!(labels.boxes[j] == box));
        if (labels.segments.empty()) continue;
        want(labels.segments[i].size() >= 3);
        for (yolo::Point const& point : labels.segments[i])
            want(std::isfinite(point.x) && std::isfinite(point.y) &&
                 std::abs(point.x - box.cx) <= box.w / 2 + 1e-5f &&
                 std::abs(point.y - box.cy) <= box.h / 2 + 1e-5f);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    auto const labels = yolo::parse_labels({reinterpret_cast<char const*>(data), size});
    check(labels);

    std::string text;  // what was read is read again as the same
    for (yolo::Box const& box : labels.boxes) {
        char line[128];
        std::snprintf(line, sizeof line, "%.0f %.9g %.9g %.9g %.9g\n", static_cast<double>(box.cls),
                      static_cast<double>(box.cx), static_cast<double>(box.cy), static_cast<double>(box.w),
                      static_cast<double>(box.h));
        text += line;
    }
    auto const again = yolo::parse_labels(text);
    want(again.boxes == labels.boxes && again.first_problem.empty() && again.duplicates == 0);
    return 0;
}
