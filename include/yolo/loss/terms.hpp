#pragma once
// The terms of the detection loss as functions of tensors: complete IoU and (focal) cross-entropy.

#include <qat/torch.hpp>

#include <numbers>

namespace yolo {

/// Complete IoU of boxes of the same row: intersection over union, less the distance of the centres relative
/// to the enclosing box's diagonal, less the difference of the aspect ratios (Zheng et al., Distance-IoU
/// loss, 2020).
///     iou - d^2 / c^2 - alpha v
///     v = (2/pi (atan(w/h) - atan(w'/h')))^2        alpha = v / (1 - iou + v)
/// alpha is a constant for the gradient.
/// @param a, b  [n, 4]: centre x, y, width, height
/// @returns     [n], in (-1.5, 1]
inline torch::Tensor complete_iou(torch::Tensor const& a, torch::Tensor const& b) {
    constexpr double eps = 1e-7;
    auto const a_centre = a.narrow(1, 0, 2), a_size = a.narrow(1, 2, 2);  // [n, 2]
    auto const b_centre = b.narrow(1, 0, 2), b_size = b.narrow(1, 2, 2);
    auto const a_low = a_centre - a_size / 2, a_high = a_centre + a_size / 2;
    auto const b_low = b_centre - b_size / 2, b_high = b_centre + b_size / 2;
    auto const area = [](torch::Tensor const& size) { return size.select(1, 0) * size.select(1, 1); };
    auto const length2 = [](torch::Tensor const& v) {
        return v.select(1, 0).square() + v.select(1, 1).square();
    };
    auto const angle = [&](torch::Tensor const& size) {
        return torch::atan(size.select(1, 0) / (size.select(1, 1) + eps));
    };

    auto const inter = area((torch::minimum(a_high, b_high) - torch::maximum(a_low, b_low)).clamp_min(0));
    auto const iou = inter / (area(a_size) + area(b_size) - inter + eps);
    auto const diagonal2 = length2(torch::maximum(a_high, b_high) - torch::minimum(a_low, b_low)) + eps;
    auto const v = (angle(b_size) - angle(a_size)).square() * (4 / (std::numbers::pi * std::numbers::pi));
    torch::Tensor alpha;
    {
        torch::NoGradGuard no_grad;
        alpha = v / (v - iou + (1 + eps));
    }
    return iou - (length2(b_centre - a_centre) / diagonal2 + v * alpha);
}

/// Mean binary cross-entropy of logits. With gamma > 0 every element is weighted by its difficulty (Lin et
/// al., Focal loss, 2017):
///     p_t = t p + (1 - t)(1 - p)        alpha = 0.25
///     weight = (t alpha + (1 - t)(1 - alpha)) (1 - p_t)^gamma
/// @param target           in [0, 1], of the logits' shape
/// @param positive_weight  factor of the part that wants a 1
inline torch::Tensor cross_entropy(torch::Tensor const& logits, torch::Tensor const& target,
                                   double positive_weight, double gamma) {
    auto const weight =
        positive_weight == 1 ? torch::Tensor() : torch::full({1}, positive_weight, logits.options());
    if (gamma <= 0)
        return torch::binary_cross_entropy_with_logits(logits, target, {}, weight, at::Reduction::Mean);
    constexpr double alpha = 0.25;
    auto const each =
        torch::binary_cross_entropy_with_logits(logits, target, {}, weight, at::Reduction::None);
    auto const p = logits.sigmoid();
    auto const p_t = target * p + (1 - target) * (1 - p);
    auto const balance = target * alpha + (1 - target) * (1 - alpha);
    return (each * balance * (1 - p_t).pow(gamma)).mean();
}

}  // namespace yolo
