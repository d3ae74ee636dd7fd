#pragma once
// From the head's logits to boxes in pixels: what inference and validation do, training does not.

#include <qat/torch.hpp>
#include <yolo/model/options.hpp>

#include <array>

namespace yolo {

namespace detail {

/// The four box columns in place, on one level of the CPU; the sigmoid has already been taken.
inline void decode_boxes(float* rows, std::int64_t height, std::int64_t width, float stride, AnchorBox anchor,
                         std::int64_t columns) {
    for (std::int64_t y = 0; y < height; ++y)
        for (std::int64_t x = 0; x < width; ++x, rows += columns) {
            rows[0] = (rows[0] * 2 + (static_cast<float>(x) - 0.5f)) * stride;
            rows[1] = (rows[1] * 2 + (static_cast<float>(y) - 0.5f)) * stride;
            rows[2] = rows[2] * 2 * (rows[2] * 2) * anchor.width;
            rows[3] = rows[3] * 2 * (rows[3] * 2) * anchor.height;
        }
}

/// decode_boxes with tensor functions, for any device: `level` is [N, 3, H, W, 5 + C].
inline void decode_boxes(torch::Tensor const& level, float stride, std::array<AnchorBox, 3> const& anchors) {
    auto const options = level.options();
    auto const x = torch::arange(level.size(3), options).sub_(0.5);               // [W]
    auto const y = torch::arange(level.size(2), options).sub_(0.5).unsqueeze(1);  // [H, 1]
    level.select(4, 0).mul_(2).add_(x).mul_(stride);
    level.select(4, 1).mul_(2).add_(y).mul_(stride);
    level.narrow(4, 2, 2).mul_(2).square_();
    for (std::int64_t a = 0; a < 3; ++a) {
        auto const& anchor = anchors[static_cast<std::size_t>(a)];
        level.select(1, a).select(3, 2).mul_(anchor.width);
        level.select(1, a).select(3, 3).mul_(anchor.height);
    }
}

}  // namespace detail

/// Boxes and probabilities of all levels. With s = sigmoid(logit), cell (column, row), pixels:
///     centre = (2 s_xy - 0.5 + cell) * stride        size = (2 s_wh)^2 * anchor        the rest = s
/// @param raw  logits by level, strides 8, 16, 32, each [N, 3, H/s, W/s, 5 + C]; any memory layout
/// @returns    float32 [N, sum of 3 * H/s * W/s, 5 + C]: centre x, centre y, width, height, objectness,
///             classes; rows by level, then anchor, row, column. Without gradient.
inline torch::Tensor decode(std::array<torch::Tensor, 3> const& raw, YoloV5Options const& options) {
    torch::NoGradGuard no_grad;
    auto const images = raw[0].size(0), columns = options.per_anchor();
    std::int64_t boxes = 0;
    for (auto const& level : raw) {
        TORCH_CHECK(
            level.dim() == 5 && level.size(0) == images && level.size(1) == 3 && level.size(4) == columns,
            "decode: a level has shape ", level.sizes(), ", want [", images, ", 3, H, W, ", columns, "]");
        boxes += 3 * level.size(2) * level.size(3);
    }
    auto out =
        torch::empty({images, boxes, columns}, raw[0].options().dtype(torch::kFloat).requires_grad(false));
    std::int64_t first = 0;
    for (std::size_t l = 0; l < 3; ++l) {
        auto const height = raw[l].size(2), width = raw[l].size(3), cells = height * width;
        auto const stride = static_cast<float>(strides[l]);
        auto const logits = raw[l].detach().to(torch::kFloat);
        if (out.is_cpu()) {
            at::parallel_for(0, images * 3, 1, [&](std::int64_t begin, std::int64_t end) {
                for (auto i = begin; i < end; ++i) {
                    auto const image = i / 3, anchor = i % 3;
                    auto* rows = out.data_ptr<float>() + (image * boxes + first + anchor * cells) * columns;
                    // one image and anchor at a time: what a planar layout has to copy stays in the cache
                    auto level = torch::from_blob(rows, {height, width, columns});
                    torch::sigmoid_out(level, logits.select(0, image).select(0, anchor).contiguous());
                    detail::decode_boxes(rows, height, width, stride,
                                         options.anchors[l][static_cast<std::size_t>(anchor)], columns);
                }
            });
        } else {
            auto level = out.narrow(1, first, 3 * cells).view({images, 3, height, width, columns});
            torch::sigmoid_out(level, logits);
            detail::decode_boxes(level, stride, options.anchors[l]);
        }
        first += 3 * cells;
    }
    return out;
}

}  // namespace yolo
