#pragma once
// The head: one 1x1 convolution per level, whose output holds 5 + classes logits for each of a cell's three anchors.

#include <yolo/model/backbone.hpp>
#include <yolo/model/options.hpp>

#include <cmath>

namespace yolo {

template <class A> struct DetectImpl : torch::nn::Module {
    Projection<A> head3, head4, head5;

    explicit DetectImpl(YoloV5Options const& o)
        : head3(register_module("head3", Projection<A>({.in = o.size.channels(256), .out = o.per_cell()}))),
          head4(register_module("head4", Projection<A>({.in = o.size.channels(512), .out = o.per_cell()}))),
          head5(register_module("head5", Projection<A>({.in = o.size.channels(1024), .out = o.per_cell()}))) {
        initial_bias(head3->bias, o, strides[0]);
        initial_bias(head4->bias, o, strides[1]);
        initial_bias(head5->bias, o, strides[2]);
    }

    template <Signal V> Pyramid<V> forward(Pyramid<V> in) {  // three times [N, 3, H/s, W/s, 5 + classes], raw
        constexpr auto n = YoloV5Options::anchors_per_cell;
        return {qat::split_anchors(head3(in.p3), n), qat::split_anchors(head4(in.p4), n),
                qat::split_anchors(head5(in.p5), n)};
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
