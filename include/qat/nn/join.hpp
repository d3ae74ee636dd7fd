#pragma once
// Where branches meet. A sum always gets a grid of its own. A concatenation gets one only if its inputs may lie on
// different grids; under AlignInputs they share one (see bind.hpp), and the result already lies on it.

#include <qat/nn/producer.hpp>
#include <qat/ops/codes.hpp>

namespace qat::nn {

template <class A> class AddImpl : public Producer {
public:
    AddImpl() : Producer(FakeQuantize<typename A::outputs>().ptr()) {}

    torch::Tensor forward(torch::Tensor const& a, torch::Tensor const& b) {
        return finish<typename A::outputs>(Identity{}, a + b, A::saves::codes);
    }
    graph::Value forward(graph::Value a, graph::Value b) {
        TORCH_CHECK(a.shape() == b.shape(), "add: the shapes ", graph::text(a.shape()), " and ",
                    graph::text(b.shape()), " differ");
        return record({.op = graph::Op::add, .shape = a.shape()}, {a, b});
    }
};
template <class A> using Add = Handle<AddImpl<A>>;

template <class A> class ConcatImpl : public Producer {  // [N, sum of C, H, W]
    using Result = std::conditional_t<A::join::aligned, Quantizer<Float>, typename A::outputs>;

public:
    ConcatImpl() : Producer(FakeQuantize<Result>().ptr()) {}

    template <std::same_as<torch::Tensor>... Vs> torch::Tensor forward(Vs const&... xs) {
        if constexpr (A::saves::codes && !Result::format::quantized)
            return coded_cat({xs...}, 1);
        else
            return finish<Result>(Identity{}, torch::cat({xs...}, 1), A::saves::codes);
    }
    template <std::same_as<graph::Value>... Vs> graph::Value forward(Vs... xs) {
        std::vector<graph::Value> const inputs{xs...};
        auto shape = inputs.front().shape();
        shape[1] = 0;
        for (auto const& x : inputs) {
            auto const& s = x.shape();
            TORCH_CHECK(s[2] == shape[2] && s[3] == shape[3], "concat: ", graph::text(s), " does not fit ",
                        graph::text(inputs.front().shape()),
                        "; use an image size that is a multiple of the largest stride");
            shape[1] += s[1];
        }
        return record({.op = graph::Op::concat, .shape = shape}, inputs);
    }
};
template <class A> using Concat = Handle<ConcatImpl<A>>;

/// The image on a grid of its own, before the first convolution. torch.ao: QuantStub.
template <class A> class InputImpl : public Producer {
public:
    InputImpl() : Producer(FakeQuantize<typename A::input>().ptr()) {}

    torch::Tensor forward(torch::Tensor const& x) {  // [N, 3, H, W]
        return finish<typename A::input>(Identity{}, x, A::saves::codes, Storage::fresh);
    }
    graph::Value forward(graph::Value x) {
        return grid()->quantized() ? record({.op = graph::Op::quantize, .shape = x.shape()}, {x}) : x;
    }
};
template <class A> using QuantizeInput = Handle<InputImpl<A>>;

}  // namespace qat::nn
