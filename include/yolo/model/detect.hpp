#pragma once
// The head: one 1x1 convolution per level, whose output holds 5 + classes logits for each of a cell's three anchors.

#include <yolo/model/backbone.hpp>
#include <yolo/model/options.hpp>

#include <cmath>

namespace yolo {

template <class A> struct DetectImpl : torch::nn::Module {
    template <qat::fixed_string Stage> using At = typename A::template at<Stage>;
    Projection<At<"detect.head3">> head3;
    Projection<At<"detect.head4">> head4;
    Projection<At<"detect.head5">> head5;

    explicit DetectImpl(YoloV5Options const& o)
        : head3(register_module(
              "head3",
              decltype(head3)({.in = o.size.channels(256), .out = o.per_cell(), .roles = roles(o)}))),
          head4(register_module(
              "head4",
              decltype(head4)({.in = o.size.channels(512), .out = o.per_cell(), .roles = roles(o)}))),
          head5(register_module(
              "head5",
              decltype(head5)({.in = o.size.channels(1024), .out = o.per_cell(), .roles = roles(o)}))) {
        initial_bias(head3->bias, o, strides[0]);
        initial_bias(head4->bias, o, strides[1]);
        initial_bias(head5->bias, o, strides[2]);
    }

    template <Signal V> Pyramid<V> forward(Pyramid<V> in) {  // three times [N, 3, H/s, W/s, 5 + classes], raw
        constexpr auto n = YoloV5Options::anchors_per_cell;
        return {qat::split_anchors(head3(in.p3), n), qat::split_anchors(head4(in.p4), n),
                qat::split_anchors(head5(in.p5), n)};
    }

    /// What each of the 3 * (5 + classes) channels says about its anchor: xy, wh, objectness, classes; 12 roles.
    static std::vector<std::int64_t> roles(YoloV5Options const& o) {
        std::vector<std::int64_t> found;
        for (std::int64_t anchor = 0; anchor < YoloV5Options::anchors_per_cell; ++anchor)
            for (std::int64_t k = 0; k < o.per_anchor(); ++k)
                found.push_back(4 * anchor + (k < 2 ? 0 : k < 4 ? 1 : k == 4 ? 2 : 3));
        return found;
    }

private:
    /// Before training expect 8 objects in an image of 640 px and all classes alike: the prior of RetinaNet,
    /// arXiv:1708.02002, section 3.3, with YOLOv5's numbers.
    static void initial_bias(torch::Tensor bias, YoloV5Options const& o, int stride) {
        torch::NoGradGuard no_grad;
        auto b = bias.view({YoloV5Options::anchors_per_cell, o.per_anchor()});
        double const cells = (640.0 / stride) * (640.0 / stride);
        b.select(1, 4) += std::log(8 / cells);
        b.slice(1, 5) += std::log(0.6 / (static_cast<double>(o.classes) - 0.99999));
    }
};
template <class A> using Detect = Handle<DetectImpl<A>>;

}  // namespace yolo
