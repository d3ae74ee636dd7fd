#pragma once
// YOLOv5, release 6.0 to 7.0: backbone, neck and head. A template over the arithmetic only; size, classes and anchors
// are values.

#include <yolo/model/detect.hpp>
#include <yolo/model/keys.hpp>
#include <yolo/model/neck.hpp>
#include <yolo/model/options.hpp>

namespace yolo {

namespace detail {
template <class Exceptions> constexpr bool stages_exist() {
    for (auto stage : Exceptions::stages)
        if (!has_stage(stage)) return false;
    return true;
}
}  // namespace detail

template <class A> struct YoloV5Impl : torch::nn::Module {
    static_assert(
        detail::stages_exist<typename A::exceptions>(),
        "yolo::YoloV5: Except names a stage that this network does not have; its stages are \"backbone\", "
        "\"neck\", \"detect\" and those of layer_names in yolo/model/keys.hpp, as \"backbone.c3_2\"");
    using arithmetic = A;
    using Options = YoloV5Options;
    Options options;
    qat::nn::QuantizeInput<A> input;
    Backbone<A> backbone;
    Neck<A> neck;
    Detect<A> detect;

    explicit YoloV5Impl(Options o = {})
        : options(o), input(register_module("input", qat::nn::QuantizeInput<A>())),
          backbone(register_module("backbone", Backbone<A>(o.size))),
          neck(register_module("neck", Neck<A>(o.size))), detect(register_module("detect", Detect<A>(o))) {}

    /// image [N, 3, H, W] in [0, 1], H and W multiples of 32 -> three times [N, 3, H/s, W/s, 5 + classes] logits
    template <Signal V> Pyramid<V> forward(V image) { return detect(neck(backbone(input(image)))); }
};
template <class A> using YoloV5 = Handle<YoloV5Impl<A>>;

}  // namespace yolo
