#pragma once
// Hue, saturation and value times random factors, as look-up tables between OpenCV's own conversions.

#include <yolo/data/image.hpp>
#include <yolo/data/random.hpp>
#include <yolo/train/hyperparameters.hpp>

#include <array>
#include <optional>

namespace yolo {

/// What becomes of the 256 values of hue (half degrees), saturation and value.
struct ColourJitter {
    std::array<std::uint8_t, 256> hue{}, saturation{}, value{};
};

/// Factors from 1 +/- hsv_h, hsv_s, hsv_v; hue goes round its circle of 180. All gains 0: nothing, and nothing is drawn.
inline std::optional<ColourJitter> random_jitter(Hyperparameters const& hyp, Random& random) {
    if (hyp.hsv_h == 0 && hyp.hsv_s == 0 && hyp.hsv_v == 0) return {};
    auto const factor = [&](double gain) { return random.uniform(1 - gain, 1 + gain); };
    double const h = factor(hyp.hsv_h), s = factor(hyp.hsv_s), v = factor(hyp.hsv_v);
    auto const bounded = [](double value) {
        return static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0));
    };
    ColourJitter result;
    for (std::size_t i = 0; i < 256; ++i) {
        double const x = static_cast<double>(i);
        result.hue[i] = bounded(std::fmod(x * h, 180.0));
        result.saturation[i] = bounded(x * s);
        result.value[i] = bounded(x * v);
    }
    return result;
}

/// `result` may be `image` itself; `hsv` is scratch memory that a caller may keep. OpenCV's conversion depends on a pixel's
/// place in its row (whole vectors round a little differently from what is left of a row): mirror afterwards.
inline void apply(ColourJitter const& jitter, cv::Mat const& image, cv::Mat& hsv, cv::Mat& result) {
    cv::cvtColor(image, hsv, cv::COLOR_BGR2HSV);
    for (int y = 0; y < hsv.rows; ++y) {
        std::uint8_t* pixel = hsv.ptr(y);
        for (int x = 0; x < hsv.cols; ++x, pixel += 3) {
            pixel[0] = jitter.hue[pixel[0]];
            pixel[1] = jitter.saturation[pixel[1]];
            pixel[2] = jitter.value[pixel[2]];
        }
    }
    cv::cvtColor(hsv, result, cv::COLOR_HSV2BGR);
}

/// A whole picture, in place.
inline void augment_hsv(cv::Mat& image, Hyperparameters const& hyp, Random& random) {
    cv::Mat hsv;
    if (auto const jitter = random_jitter(hyp, random)) apply(*jitter, image, hsv, image);
}

}  // namespace yolo
