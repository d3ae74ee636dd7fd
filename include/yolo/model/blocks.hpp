#pragma once
// Bottleneck, C3 and SPPF. One body each, for tensors and for graph values.

#include <qat/nn/conv.hpp>
#include <qat/nn/join.hpp>

#include <string>
#include <vector>

namespace yolo {
using qat::Signal;
using qat::nn::Add, qat::nn::Concat, qat::nn::Conv, qat::nn::Handle, qat::nn::Projection;

enum class Shortcut { yes, no };

// y = x + cv2(cv1(x)), or without "x +"
template <class A> struct BottleneckImpl : torch::nn::Module {
    struct Options {
        std::int64_t channels;
        Shortcut shortcut = Shortcut::yes;
    };

    Conv<A> cv1, cv2;
    Add<A> add = nullptr;

    explicit BottleneckImpl(Options o)
        : cv1(register_module("cv1", Conv<A>({.in = o.channels, .out = o.channels}))),
          cv2(register_module("cv2", Conv<A>({.in = o.channels, .out = o.channels, .kernel = 3}))) {
        if (o.shortcut == Shortcut::yes) add = register_module("add", Add<A>());
    }

    template <Signal V> V forward(V x) {  // [N, C, H, W] -> [N, C, H, W]
        auto y = cv2(cv1(x));
        return add ? add(x, y) : y;
    }
};
template <class A> using Bottleneck = Handle<BottleneckImpl<A>>;

// y = cv3(concat(m(cv1(x)), cv2(x))), m a chain of bottlenecks at half the width
template <class A> struct C3Impl : torch::nn::Module {
    struct Options {
        std::int64_t in, out;      // channels
        std::int64_t repeats = 1;  // bottlenecks
        Shortcut shortcut = Shortcut::yes;
    };

    Conv<A> cv1, cv2, cv3;
    Concat<A> concat;
    std::vector<Bottleneck<A>> m;

    explicit C3Impl(Options o)
        : cv1(register_module("cv1", Conv<A>({.in = o.in, .out = o.out / 2}))),
          cv2(register_module("cv2", Conv<A>({.in = o.in, .out = o.out / 2}))),
          cv3(register_module("cv3", Conv<A>({.in = o.out, .out = o.out}))),
          concat(register_module("concat", Concat<A>())) {
        for (std::int64_t i = 0; i < o.repeats; ++i) {
            Bottleneck<A> next({.channels = o.out / 2, .shortcut = o.shortcut});
            m.push_back(register_module("m" + std::to_string(i), next));
        }
    }

    template <Signal V> V forward(V x) {  // [N, in, H, W] -> [N, out, H, W]
        auto y = cv1(x);
        for (auto& bottleneck : m) y = bottleneck(y);
        return cv3(concat(y, cv2(x)));
    }
};
template <class A> using C3 = Handle<C3Impl<A>>;

// y = cv2(concat(x0, x1, x2, x3)), x0 = cv1(x), each next one pooled once more
template <class A> struct SPPFImpl : torch::nn::Module {
    struct Options {
        std::int64_t in, out;     // channels
        std::int64_t kernel = 5;  // of the pooling window
    };

    Options options;
    Conv<A> cv1, cv2;
    Concat<A> concat;

    explicit SPPFImpl(Options o)
        : options(o), cv1(register_module("cv1", Conv<A>({.in = o.in, .out = o.in / 2}))),
          cv2(register_module("cv2", Conv<A>({.in = o.in * 2, .out = o.out}))),
          concat(register_module("concat", Concat<A>())) {}

    template <Signal V> V forward(V x) {  // [N, in, H, W] -> [N, out, H, W]
        auto x0 = cv1(x);
        auto x1 = qat::max_pool(x0, options.kernel);
        auto x2 = qat::max_pool(x1, options.kernel);
        return cv2(concat(x0, x1, x2, qat::max_pool(x2, options.kernel)));
    }
};
template <class A> using SPPF = Handle<SPPFImpl<A>>;

}  // namespace yolo
