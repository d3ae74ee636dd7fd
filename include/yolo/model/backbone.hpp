#pragma once
// The CSP backbone: five times half the size, features at strides 8, 16 and 32.

#include <yolo/model/blocks.hpp>
#include <yolo/model/size.hpp>

namespace yolo {

/// One value per stride: 8, 16, 32.
template <Signal V> struct Pyramid { V p3, p4, p5; };

template <class A> struct BackboneImpl : torch::nn::Module {
    template <qat::fixed_string Stage> using At = typename A::template at<Stage>;
    Conv<At<"backbone.stem">> stem;
    Conv<At<"backbone.down2">> down2;
    Conv<At<"backbone.down3">> down3;
    Conv<At<"backbone.down4">> down4;
    Conv<At<"backbone.down5">> down5;
    C3<At<"backbone.c3_2">> c3_2;
    C3<At<"backbone.c3_3">> c3_3;
    C3<At<"backbone.c3_4">> c3_4;
    C3<At<"backbone.c3_5">> c3_5;
    SPPF<At<"backbone.sppf">> sppf;

    explicit BackboneImpl(Size s)
        : BackboneImpl(s, s.channels(64), s.channels(128), s.channels(256), s.channels(512),
                       s.channels(1024)) {}

    template <Signal V> Pyramid<V> forward(V image) {  // [N,   3, H,    W   ]
        auto x = c3_2(down2(stem(image)));             // [N,  2w, H/4,  W/4 ]
        auto p3 = c3_3(down3(x));                      // [N,  4w, H/8,  W/8 ]
        auto p4 = c3_4(down4(p3));                     // [N,  8w, H/16, W/16]
        auto p5 = sppf(c3_5(down5(p4)));               // [N, 16w, H/32, W/32]
        return {p3, p4, p5};
    }

private:
    using N = std::int64_t;
    BackboneImpl(Size s, N w1, N w2, N w3, N w4, N w5)
        : stem(register_module("stem",
                               decltype(stem)({.in = 3, .out = w1, .kernel = 6, .stride = 2, .pad = 2}))),
          down2(register_module("down2", decltype(down2)({.in = w1, .out = w2, .kernel = 3, .stride = 2}))),
          down3(register_module("down3", decltype(down3)({.in = w2, .out = w3, .kernel = 3, .stride = 2}))),
          down4(register_module("down4", decltype(down4)({.in = w3, .out = w4, .kernel = 3, .stride = 2}))),
          down5(register_module("down5", decltype(down5)({.in = w4, .out = w5, .kernel = 3, .stride = 2}))),
          c3_2(register_module("c3_2", decltype(c3_2)({.in = w2, .out = w2, .repeats = s.repeats(3)}))),
          c3_3(register_module("c3_3", decltype(c3_3)({.in = w3, .out = w3, .repeats = s.repeats(6)}))),
          c3_4(register_module("c3_4", decltype(c3_4)({.in = w4, .out = w4, .repeats = s.repeats(9)}))),
          c3_5(register_module("c3_5", decltype(c3_5)({.in = w5, .out = w5, .repeats = s.repeats(3)}))),
          sppf(register_module("sppf", decltype(sppf)({.in = w5, .out = w5}))) {}
};
template <class A> using Backbone = Handle<BackboneImpl<A>>;

}  // namespace yolo
