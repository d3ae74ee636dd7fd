#pragma once
// YOLOv5's --multi-scale: batches of changing size.

#include <qat/torch.hpp>
#include <yolo/data/random.hpp>

#include <algorithm>
#include <cmath>

namespace yolo {

/// The stream from which a batch draws its size: of (seed, epoch, batch), apart from those of the pictures.
inline Random multi_scale_stream(std::uint64_t seed, int epoch, int batch) {
    return Random(seed, static_cast<std::uint64_t>(epoch),
                  (std::uint64_t{1} << 63) + static_cast<std::uint64_t>(batch));
}

/// The longer side of the next batch, pixels: half to one and a half times the image size, a multiple of the stride.
inline int multi_scale_size(int image_size, int stride, Random& random) {
    int const low = image_size / 2, high = image_size + image_size / 2 + stride;  // [low, high)
    int const drawn = low + static_cast<int>(random.integer(static_cast<std::uint64_t>(high - low)));
    return std::max(drawn / stride, 1) * stride;
}

/// The batch with its longer side at a drawn size, bilinear; targets are fractions and stay as they are.
/// images: floating point [N, 3, H, W]
inline torch::Tensor multi_scale(torch::Tensor const& images, int image_size, int stride, Random& random) {
    int const size = multi_scale_size(image_size, stride, random);
    double const factor =
        static_cast<double>(size) / static_cast<double>(std::max(images.size(2), images.size(3)));
    if (factor == 1.0) return images;
    auto const side = [&](std::int64_t pixels) {
        return static_cast<std::int64_t>(std::ceil(static_cast<double>(pixels) * factor / stride)) * stride;
    };
    namespace F = torch::nn::functional;
    return F::interpolate(images,
                          F::InterpolateFuncOptions()
                              .size(std::vector<std::int64_t>{side(images.size(2)), side(images.size(3))})
                              .mode(torch::kBilinear)
                              .align_corners(false));
}

}  // namespace yolo
