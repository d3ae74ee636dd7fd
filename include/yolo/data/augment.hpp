#pragma once
// What training does to pictures and their boxes. The same meaning of the hyper-parameters as YOLOv5; every draw comes from
// the Random that is passed in.

#include <yolo/data/colour_jitter.hpp>
#include <yolo/data/copy_paste.hpp>
#include <yolo/data/flip.hpp>
#include <yolo/data/mosaic.hpp>
#include <yolo/data/view.hpp>

namespace yolo {

/// r * first + (1 - r) * second with r from Beta(32, 32), boxes of both (Zhang et al. 2018). Sizes must be
/// equal.
inline Sample mixup(Sample const& first, Sample const& second, Random& random) {
    double const r = random.beta(32, 32);
    Sample result{{}, first.boxes};
    cv::addWeighted(first.image, r, second.image, 1 - r, 0, result.image);
    result.boxes.insert(result.boxes.end(), second.boxes.begin(), second.boxes.end());
    return result;
}

/// Colours, then flips, as the hyper-parameters say; the result goes to `planes` (RGB [3, H, W] of the picture's size).
/// In strips that stay in the processor's cache: the picture is read once and its planes are written once.
inline void write_with_colours_and_flips(Sample& sample, Hyperparameters const& hyp, Random& random,
                                         std::uint8_t* planes) {
    auto const jitter = random_jitter(hyp, random);
    bool const up_down = random.bernoulli(hyp.flipud), left_right = random.bernoulli(hyp.fliplr);
    cv::Mat const& image = sample.image;
    if (up_down) flip_boxes_up_down(sample.boxes, static_cast<float>(image.rows));
    if (left_right) flip_boxes_left_right(sample.boxes, static_cast<float>(image.cols));
    constexpr int strip_rows = 32;
    thread_local cv::Mat hsv, coloured, flipped;
    for (int y = 0; y < image.rows; y += strip_rows) {
        int const rows = std::min(strip_rows, image.rows - y);
        cv::Mat const part = image.rowRange(y, y + rows);
        if (jitter) apply(*jitter, part, hsv, coloured);
        cv::Mat const& strip = jitter ? coloured : part;
        bool const flips = up_down || left_right;
        if (flips) cv::flip(strip, flipped, !up_down ? 1 : !left_right ? 0 : -1);
        write_planes(flips ? flipped : strip, planes, image.rows, image.cols,
                     up_down ? image.rows - y - rows : y);
    }
}

}  // namespace yolo
