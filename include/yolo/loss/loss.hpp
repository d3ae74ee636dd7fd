#pragma once
// YOLOv5's detection loss: box, objectness and class, over three levels.

#include <qat/torch.hpp>
#include <yolo/loss/assign.hpp>
#include <yolo/loss/gather.hpp>
#include <yolo/loss/terms.hpp>
#include <yolo/model/options.hpp>
#include <yolo/train/hyperparameters.hpp>

#include <array>
#include <cstring>
#include <vector>

namespace yolo {

/// Gains scaled to a network and data set: fewer classes and levels and smaller images weigh less. The gains
/// of the YAML files are for 80 classes, 3 levels and 640 px.
inline Hyperparameters scaled_for(Hyperparameters hyp, std::int64_t classes, std::int64_t image_size_px,
                                  int levels = 3) {
    auto const by_level = 3.0 / levels, by_size = static_cast<double>(image_size_px) / 640;
    hyp.box *= by_level;
    hyp.cls *= static_cast<double>(classes) / 80 * by_level;
    hyp.obj *= by_size * by_size * by_level;
    return hyp;
}

struct LossOptions {
    double box = 0.05, obj = 1.0, cls = 0.5;       // gains
    double obj_pw = 1.0, cls_pw = 1.0;             // weights of positives in the cross-entropies
    double anchor_t = 4.0;                         // largest ratio between a box and an anchor
    double fl_gamma = 0.0;                         // focal loss; 0: off
    double label_smoothing = 0.0;                  // classes want epsilon / 2 and 1 - epsilon / 2
    std::array<double, 3> balance{4.0, 1.0, 0.4};  // of the levels' objectness, strides 8, 16, 32

    LossOptions() = default;
    explicit LossOptions(Hyperparameters const& h)
        : box(h.box), obj(h.obj), cls(h.cls), obj_pw(h.obj_pw), cls_pw(h.cls_pw), anchor_t(h.anchor_t),
          fl_gamma(h.fl_gamma), label_smoothing(h.label_smoothing) {}
};

struct LossResult {
    torch::Tensor total;  // scalar: (box + obj + cls) * images, differentiable
    torch::Tensor items;  // [3]: box, obj, cls with their gains, means over the batch; detached
};

/// box = gain * sum over levels of mean(1 - CIoU) over the positives
/// cls = gain * sum over levels of mean cross-entropy over positives and classes; 0 with one class
/// obj = gain * sum over levels of balance * mean cross-entropy over all cells, which want the CIoU of their
///       box or 0
/// Computed in float32 (half predictions are widened, double stays) on the device of the predictions.
class DetectionLoss {
public:
    using Predictions = std::array<torch::Tensor, 3>;

    /// @param hyp  its gains are used as they are: see scaled_for
    DetectionLoss(YoloV5Options const& network, Hyperparameters const& hyp)
        : DetectionLoss(network, LossOptions(hyp)) {}

    DetectionLoss(YoloV5Options const& network, LossOptions const& options)
        : options_(options), classes_(network.classes) {
        for (std::size_t l = 0; l < 3; ++l)
            for (std::size_t a = 0; a < 3; ++a) {
                auto const stride = static_cast<float>(strides[l]);
                anchors_[l][a] = {network.anchors[l][a].width / stride,
                                  network.anchors[l][a].height / stride};
            }
    }

    /// @param raw      logits by level, strides 8, 16, 32, each [N, 3, H, W, 5 + C], any memory layout
    /// @param targets  [n, 6]: image, class, centre x, y, width, height in fractions of the image. Best on
    ///                 the CPU, where they are assigned: then nothing waits for a GPU. May be empty.
    LossResult operator()(Predictions const& raw, torch::Tensor const& targets) const {
        auto const labels = read(targets);
        auto const options = raw[0].options().requires_grad(false).dtype(
            raw[0].scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat);
        auto box = torch::zeros({}, options), obj = torch::zeros({}, options),
             cls = torch::zeros({}, options);
        for (std::size_t l = 0; l < 3; ++l) {
            auto const& level = raw[l];
            TORCH_CHECK(level.dim() == 5 && level.size(1) == 3 && level.size(4) == 5 + classes_,
                        "loss: a level has shape ", level.sizes(), ", want [N, 3, H, W, ", 5 + classes_, "]");
            LevelShape const shape{level.size(0), level.size(2), level.size(3)};
            auto const positives =
                assign_targets(labels, anchors_[l], shape, classes_, static_cast<float>(options_.anchor_t));
            auto const wanted = upload(positives, shape, options);
            auto const gathered = Gather::apply(level, wanted.positions);
            auto const rows = gathered[0].to(options.dtype()), objectness = gathered[1].to(options.dtype());
            auto overlap = torch::zeros_like(objectness);  // [N, 3, H, W]
            if (!positives.empty()) {
                auto const sides = rows.narrow(1, 0, 4).sigmoid() * 2;  // [n, 4]
                auto const iou = complete_iou(
                    torch::cat({sides.narrow(1, 0, 2) - 0.5, sides.narrow(1, 2, 2).square() * wanted.anchors},
                               1),
                    wanted.boxes);  // [n]
                box = box + (1 - iou).mean();
                // positives of one cell write the same value: the result does not depend on who comes last
                auto const& p = wanted.positions;
                overlap.index_put_({p[0], p[1], p[2], p[3]},
                                   iou.detach().clamp_min(0).index_select(0, wanted.last));
                if (classes_ > 1) cls = cls + class_loss(rows.narrow(1, 5, classes_), wanted.classes);
            }
            obj = obj + cross_entropy(objectness, overlap, options_.obj_pw, options_.fl_gamma) *
                            options_.balance[l];
        }
        box = box * options_.box;
        obj = obj * options_.obj;
        cls = cls * options_.cls;
        auto const images = static_cast<double>(raw[0].size(0));
        return {(box + obj + cls) * images, torch::stack({box, obj, cls}).detach()};
    }

    LossOptions const& options() const { return options_; }

private:
    struct Wanted {                    // the positives of a level on the device
        torch::Tensor positions;       // [4, n]: image, anchor, row, column
        torch::Tensor classes, last;   // [n]; last: see last_of_cell
        torch::Tensor boxes, anchors;  // [n, 4], [n, 2], in cells
    };

    static std::vector<TargetRow> read(torch::Tensor const& targets) {
        static_assert(sizeof(TargetRow) == 6 * sizeof(float));
        if (targets.numel() == 0) return {};
        TORCH_CHECK(targets.dim() == 2 && targets.size(1) == 6, "loss: the targets have shape ",
                    targets.sizes(), ", want [n, 6]");
        auto const rows = targets.to(torch::kCPU, torch::kFloat).contiguous();
        std::vector<TargetRow> out(static_cast<std::size_t>(rows.size(0)));
        std::memcpy(out.data(), rows.data_ptr<float>(), out.size() * sizeof(TargetRow));
        return out;
    }

    /// Two copies to the device, however many tensors.
    static Wanted upload(std::vector<Positive> const& positives, LevelShape shape,
                         torch::TensorOptions const& options) {
        auto const n = static_cast<std::int64_t>(positives.size());
        auto const last = last_of_cell(positives, shape);
        auto whole = torch::empty({6, n}, torch::kLong);
        auto real = torch::empty({n, 6}, torch::kFloat);
        auto* w = whole.data_ptr<std::int64_t>();
        auto* r = real.data_ptr<float>();
        for (std::int64_t i = 0; i < n; ++i) {
            auto const& p = positives[static_cast<std::size_t>(i)];
            std::array const integers{p.image,  p.anchor, p.row,
                                      p.column, p.cls,    last[static_cast<std::size_t>(i)]};
            std::array const lengths{p.x, p.y, p.width, p.height, p.anchor_width, p.anchor_height};
            for (std::size_t k = 0; k < 6; ++k) w[static_cast<std::int64_t>(k) * n + i] = integers[k];
            std::copy(lengths.begin(), lengths.end(), r + i * 6);
        }
        whole = whole.to(options.device(), /*non_blocking=*/true);
        real = real.to(options, /*non_blocking=*/true);
        return {whole.narrow(0, 0, 4), whole[4], whole[5], real.narrow(1, 0, 4), real.narrow(1, 4, 2)};
    }

    torch::Tensor class_loss(torch::Tensor const& logits, torch::Tensor const& classes) const {
        auto const smooth = options_.label_smoothing / 2;
        auto const wanted =
            torch::full_like(logits, smooth).scatter_(1, classes.unsqueeze(1), 1 - smooth);  // [n, C]
        return cross_entropy(logits, wanted, options_.cls_pw, options_.fl_gamma);
    }

    LossOptions options_;
    std::int64_t classes_;
    Anchors anchors_{};  // in cells
};

}  // namespace yolo
