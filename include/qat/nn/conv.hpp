#pragma once
// Convolution, batch norm, activation and output grid as one module: the unit that integer code runs in one kernel.
//     y = Q_out(act(bn(conv(x, Q_w(w)))))

#include <qat/nn/fake_quantize.hpp>
#include <qat/nn/producer.hpp>
#include <qat/ops/activate.hpp>
#include <qat/ops/signal.hpp>

#include <cmath>

namespace qat::nn {

struct ConvOptions {
    std::int64_t in, out;     // channels
    std::int64_t kernel = 1;  // width and height
    std::int64_t stride = 1;
    std::int64_t pad = -1;  // -1: kernel / 2, which keeps the size at stride 1

    std::int64_t padding() const { return pad < 0 ? kernel / 2 : pad; }
    std::int64_t reach(std::int64_t size) const { return (size + 2 * padding() - kernel) / stride + 1; }
};

/// The parameters of a convolution, registered as YOLOv5 names them: conv.weight, conv.bias.
struct KernelImpl : torch::nn::Module {
    torch::Tensor weight;  // [out, in, k, k]
    torch::Tensor bias;    // [out], or undefined

    KernelImpl(ConvOptions const& o, bool with_bias) {  // initial values as torch.nn.Conv2d
        weight = register_parameter("weight", torch::empty({o.out, o.in, o.kernel, o.kernel}));
        torch::nn::init::kaiming_uniform_(weight, std::sqrt(5.0));
        if (!with_bias) return;
        double const bound = 1 / std::sqrt(static_cast<double>(o.in * o.kernel * o.kernel));
        bias = register_parameter("bias", torch::empty(o.out).uniform_(-bound, bound));
    }
};
TORCH_MODULE(Kernel);

namespace detail {
inline graph::Node conv_node(ConvOptions const& o, graph::Value x, std::string_view activation,
                             std::string weights) {
    auto const& s = x.shape();
    TORCH_CHECK(s[1] == o.in, "conv: the input has ", s[1], " channels, want ", o.in);
    auto const k = std::to_string(o.kernel);
    auto computes = k + "x" + k + (o.stride > 1 ? "/" + std::to_string(o.stride) : "");
    if (!activation.empty()) computes += " " + std::string(activation);
    return {.op = graph::Op::conv,
            .shape = {s[0], o.out, o.reach(s[2]), o.reach(s[3])},
            .computes = std::move(computes),
            .weights = weights == "float" ? "" : std::move(weights)};
}
}  // namespace detail

template <class A> class ConvImpl : public Producer {
    using Weights = typename A::weights;

public:
    using Options = ConvOptions;
    Options options;
    Kernel conv;                         // with bias under FoldBatchNorm
    torch::nn::BatchNorm2d bn{nullptr};  // under LiveBatchNorm
    FakeQuantize<Weights> weight_grid;

    explicit ConvImpl(Options o)
        : Producer(FakeQuantize<typename A::outputs>().ptr()), options(o),
          conv(register_module("conv", Kernel(o, !A::batch_norm::live))),
          weight_grid(register_module("weight_grid", FakeQuantize<Weights>(o.out))) {
        if constexpr (A::batch_norm::live)  // YOLOv5's settings
            bn = register_module("bn", torch::nn::BatchNorm2d(
                                           torch::nn::BatchNorm2dOptions(o.out).eps(epsilon).momentum(0.03)));
    }

    void freeze_statistics() override { frozen_ = true; }

    torch::Tensor forward(torch::Tensor const& x) {  // [N, in, H, W] -> [N, out, H / s, W / s]
        return grid()->forward(activate(typename A::activation{}, convolve(x)));
    }
    graph::Value forward(graph::Value x) {
        return record(detail::conv_node(options, x, A::activation::name, weight_grid->describe()), {x});
    }

private:
    static constexpr double epsilon = 1e-3;
    bool frozen_ = false;

    torch::Tensor convolve(torch::Tensor const& x) {
        auto const run = [&](torch::Tensor const& w, torch::Tensor const& b) {
            return torch::conv2d(x, w, b, options.stride, options.padding());
        };
        if constexpr (!A::batch_norm::live) {
            return run(weight_grid(conv->weight), conv->bias);
        } else {
            bool const by_statistics = frozen_ || !bn->is_training();
            if constexpr (!Weights::format::quantized)
                if (!by_statistics) return bn(run(conv->weight, {}));
            // f = gamma / sqrt(var + eps): the weights as they will be after folding are what is quantized
            auto const f = bn->weight * torch::rsqrt(bn->running_var + epsilon);  // [out]
            auto const w = weight_grid(conv->weight * f.view({-1, 1, 1, 1}));
            if (by_statistics) return run(w, bn->bias - bn->running_mean * f);
            return bn(run(w, {}) / f.view({1, -1, 1, 1}));
        }
    }
};
template <class A> using Conv = Handle<ConvImpl<A>>;

/// The last layer of a head: with bias, no batch norm, no activation; its grids are the head policy's.
template <class A> class ProjectionImpl : public Producer {
public:
    using Options = ConvOptions;
    Options options;
    torch::Tensor weight, bias;  // [out, in, 1, 1], [out]
    FakeQuantize<typename A::head_weights> weight_grid;

    explicit ProjectionImpl(Options o)
        : Producer(FakeQuantize<typename A::head_outputs>().ptr()), options(o),
          weight_grid(register_module("weight_grid", FakeQuantize<typename A::head_weights>(o.out))) {
        Kernel const initial(o, true);
        weight = register_parameter("weight", initial->weight);
        bias = register_parameter("bias", initial->bias);
    }

    torch::Tensor forward(torch::Tensor const& x) {  // [N, in, H, W] -> [N, out, H, W]
        return grid()->forward(torch::conv2d(x, weight_grid(weight), bias));
    }
    graph::Value forward(graph::Value x) {
        return record(detail::conv_node(options, x, "", weight_grid->describe()), {x});
    }
};
template <class A> using Projection = Handle<ProjectionImpl<A>>;

}  // namespace qat::nn
