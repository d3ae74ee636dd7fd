#pragma once
// The neck (PANet): features flow down to stride 8 and up again to stride 32. Liu et al. 2018, arXiv:1803.01534.

#include <yolo/model/backbone.hpp>

namespace yolo {

template <class A> struct NeckImpl : torch::nn::Module {
    template <qat::fixed_string Stage> using At = typename A::template at<Stage>;
    Conv<At<"neck.lateral5">> lateral5;
    Conv<At<"neck.lateral4">> lateral4;
    Conv<At<"neck.down3">> down3;
    Conv<At<"neck.down4">> down4;
    C3<At<"neck.mix4">> mix4;
    C3<At<"neck.out3">> out3;
    C3<At<"neck.out4">> out4;
    C3<At<"neck.out5">> out5;
    Concat<At<"neck.up4">> up4;
    Concat<At<"neck.up3">> up3;
    Concat<At<"neck.join4">> join4;
    Concat<At<"neck.join5">> join5;

    explicit NeckImpl(Size s) : NeckImpl(s.channels(256), s.channels(512), s.channels(1024), s.repeats(3)) {}

    template <Signal V> Pyramid<V> forward(Pyramid<V> in) {
        auto l5 = lateral5(in.p5);                      // [N,  8w, H/32, W/32]
        auto m4 = mix4(up4(qat::upsample(l5), in.p4));  // [N,  8w, H/16, W/16]
        auto l4 = lateral4(m4);                         // [N,  4w, H/16, W/16]
        auto p3 = out3(up3(qat::upsample(l4), in.p3));  // [N,  4w, H/8,  W/8 ]
        auto p4 = out4(join4(down3(p3), l4));           // [N,  8w, H/16, W/16]
        auto p5 = out5(join5(down4(p4), l5));           // [N, 16w, H/32, W/32]
        return {p3, p4, p5};
    }

private:
    using N = std::int64_t;
    NeckImpl(N w3, N w4, N w5, N repeats)
        : lateral5(register_module("lateral5", decltype(lateral5)({.in = w5, .out = w4}))),
          lateral4(register_module("lateral4", decltype(lateral4)({.in = w4, .out = w3}))),
          down3(register_module("down3", decltype(down3)({.in = w3, .out = w3, .kernel = 3, .stride = 2}))),
          down4(register_module("down4", decltype(down4)({.in = w4, .out = w4, .kernel = 3, .stride = 2}))),
          mix4(register_module(
              "mix4", decltype(mix4)({.in = w5, .out = w4, .repeats = repeats, .shortcut = Shortcut::no}))),
          out3(register_module(
              "out3", decltype(out3)({.in = w4, .out = w3, .repeats = repeats, .shortcut = Shortcut::no}))),
          out4(register_module(
              "out4", decltype(out4)({.in = w4, .out = w4, .repeats = repeats, .shortcut = Shortcut::no}))),
          out5(register_module(
              "out5", decltype(out5)({.in = w5, .out = w5, .repeats = repeats, .shortcut = Shortcut::no}))),
          up4(register_module("up4", decltype(up4)())), up3(register_module("up3", decltype(up3)())),
          join4(register_module("join4", decltype(join4)())),
          join5(register_module("join5", decltype(join5)())) {}
};
template <class A> using Neck = Handle<NeckImpl<A>>;

}  // namespace yolo
