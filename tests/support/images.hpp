#pragma once
// Pictures and batches that are the same in every value.

#include <yolo/data/loader.hpp>

namespace support {

inline bool equal(cv::Mat const& a, cv::Mat const& b) {
    return a.size() == b.size() && a.type() == b.type() && cv::norm(a, b, cv::NORM_INF) == 0;
}

inline bool equal(std::vector<yolo::Batch> const& a, std::vector<yolo::Batch> const& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](auto const& x, auto const& y) {
        return torch::equal(x.images, y.images) && torch::equal(x.targets, y.targets);
    });
}

}  // namespace support
