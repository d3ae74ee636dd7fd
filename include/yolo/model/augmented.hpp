#pragma once
// Test-time augmentation: the picture as it is, mirrored at 0.83 and at 0.67 of its size, as YOLOv5 sees it with --augment.

#include <yolo/model/decode.hpp>
#include <yolo/model/network_input.hpp>

#include <cmath>
#include <utility>

namespace yolo {
namespace detail {

/// images [N, 3, H, W] made smaller; right and below grey (ImageNet's mean) up to multiples of 32.
inline torch::Tensor scale_images(torch::Tensor const& images, double ratio) {
    auto const height = images.size(2), width = images.size(3);
    auto const inner = [&](std::int64_t side) {
        return static_cast<std::int64_t>(static_cast<double>(side) * ratio);
    };
    auto const outer = [&](std::int64_t side) {
        return static_cast<std::int64_t>(std::ceil(static_cast<double>(side) * ratio / strides[2])) *
               strides[2];
    };
    namespace F = torch::nn::functional;
    auto const small =
        F::interpolate(images, F::InterpolateFuncOptions()
                                   .size(std::vector<std::int64_t>{inner(height), inner(width)})
                                   .mode(torch::kBilinear)
                                   .align_corners(false));
    return torch::constant_pad_nd(small, {0, outer(width) - inner(width), 0, outer(height) - inner(height)},
                                  0.447);
}

}  // namespace detail

/// Boxes of the three views together, in pixels of the picture as it is. The first view goes without its coarsest level and
/// the last without its finest: another view sees those sizes better.
/// @param images  uint8, or float in [0, 1]; [N, 3, H, W], H and W multiples of 32
/// @returns       as decode(): [N, boxes, 5 + classes]
inline torch::Tensor augmented_predictions(Detector& detector, torch::Tensor const& images) {
    torch::NoGradGuard no_grad;
    auto const x = images.scalar_type() == torch::kByte ? network_input(images, detector.device()) : images;
    auto const width = static_cast<double>(x.size(3));
    std::vector<torch::Tensor> views;
    for (auto const& [scale, mirrored] :
         {std::pair{1.0, false}, std::pair{0.83, true}, std::pair{0.67, false}}) {
        auto view = mirrored ? x.flip({3}) : x;
        if (scale < 1) view = detail::scale_images(view, scale);
        auto found = decode(detector(view), detector.options());
        found.slice(2, 0, 4).div_(scale);
        if (mirrored) found.select(2, 0).neg_().add_(width);
        views.push_back(std::move(found));
    }
    // A level has a quarter of the cells of the one before it: 16 + 4 + 1 parts.
    auto const part = [](torch::Tensor const& view) { return view.size(1) / 21; };
    views.front() = views.front().slice(1, 0, views.front().size(1) - part(views.front()));
    views.back() = views.back().slice(1, 16 * part(views.back()));
    return torch::cat(views, 1);
}

}  // namespace yolo
