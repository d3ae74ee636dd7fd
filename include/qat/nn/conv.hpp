#pragma once
// Convolution, batch norm, activation and output grid as one module: the unit that integer code runs in one kernel.
//     y = Q_out(act(bn(conv(x, Q_w(w)))))

#include <qat/nn/producer.hpp>
#include <qat/ops/activate.hpp>
#include <qat/ops/batch_norm.hpp>
#include <qat/ops/codes.hpp>
#include <qat/ops/signal.hpp>

#include <cmath>

namespace qat::nn {

struct ConvOptions {
    std::int64_t in, out;     // channels
    std::int64_t kernel = 1;  // width and height
    std::int64_t stride = 1;
    std::int64_t pad = -1;                 // -1: kernel / 2, which keeps the size at stride 1
    std::vector<std::int64_t> roles = {};  // of every output channel, where PerRole wants to know

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

template <class A>
torch::Tensor conv2d(torch::Tensor const& x, torch::Tensor const& w, torch::Tensor const& b,
                     ConvOptions const& o) {
    if constexpr (A::saves::codes)
        return coded_conv2d(x, w, b, o.stride, o.padding());
    else
        return torch::conv2d(x, w, b, o.stride, o.padding());
}

/// Weights on their grid.
template <class A, class Spec>
torch::Tensor quantize_weight(FakeQuantize<Spec>& grid, torch::Tensor const& w) {
    return grid->forward(Identity{}, w, {.codes = A::saves::codes});
}

/// Whether what the weights make of that input is an accumulator: both on grids, and quantized now. A stage may be an
/// exception in float, or read one.
inline bool accumulates(Grid const* input, Grid const& weight) {
    auto const on = [](Grid const& g) { return g.quantized() && g.mode == GridMode::quantize; };
    return input && on(*input) && on(weight);
}

/// The bias on the accumulator's grid: int32, scale = the input's x the weight's. Straight-through gradient.         [C]
/// Half to even as the scalar rule, which holds for fewer bits than these have.
inline torch::Tensor on_accumulator(torch::Tensor const& bias, Grid const& input, Grid const& weight) {
    auto const scale = input.scale * weight.by_channel().first;
    auto const b = bias.detach();
    auto const codes =
        torch::round(b / scale).clamp(-2147483648.0, 2147483520.0);  // the largest float below 2^31
    return (bias - b) + codes * scale;                               // the difference is 0, exactly
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
        weight_grid->of_weights = true;
        if constexpr (A::batch_norm::live)
            bn = register_module(
                "bn",
                torch::nn::BatchNorm2d(torch::nn::BatchNorm2dOptions(o.out).eps(epsilon).momentum(momentum)));
    }

    bool freeze_statistics(bool frozen = true) override { return std::exchange(frozen_, frozen); }
    void freeze_affine() override {
        if (bn) freeze(bn->weight), freeze(bn->bias);
    }
    std::optional<QuantizedWeight> quantized_weight() const override {
        if constexpr (!A::batch_norm::live)
            return QuantizedWeight{conv->weight,      conv->bias,     {},
                                   weight_grid.ptr(), options.stride, options.padding()};
        else
            return QuantizedWeight{conv->weight,      bn->bias,       factor().detach(),
                                   weight_grid.ptr(), options.stride, options.padding()};
    }
    /// Batch norm, where it is live.
    torch::nn::BatchNorm2d const& batch_norm() const { return bn; }

    torch::Tensor forward(torch::Tensor const& x) {  // [N, in, H, W] -> [N, out, H / s, W / s]
        auto const y = convolve(x);
        if (tap) tap(x, y);
        return finish<typename A::outputs>(typename A::activation{}, y, A::saves::codes);
    }
    graph::Value forward(graph::Value x) {
        return record(detail::conv_node(options, x, A::activation::name, weight_grid->describe()), {x});
    }

private:
    static constexpr double epsilon = 1e-3, momentum = 0.03;  // YOLOv5's
    bool frozen_ = false;

    // What batch norm multiplies by: gamma / sqrt(var + eps), with the running variance.                     [out]
    torch::Tensor factor() const { return bn->weight * torch::rsqrt(bn->running_var + epsilon); }

    torch::Tensor convolve(torch::Tensor const& x) {
        auto const run = [&](torch::Tensor const& w, torch::Tensor const& b) {
            return detail::conv2d<A>(x, w, b, options);
        };
        auto const biased = [&](torch::Tensor const& b) {
            if constexpr (A::bias::on_accumulator)
                if (detail::accumulates(input_grid().get(), *weight_grid))
                    return detail::on_accumulator(b, *input_grid(), *weight_grid);
            return b;
        };
        if constexpr (!A::batch_norm::live) {
            auto const w = detail::quantize_weight<A>(weight_grid, conv->weight);
            return run(w, biased(conv->bias));
        } else {
            bool const by_statistics = frozen_ || !bn->is_training();
            if constexpr (!Weights::format::quantized)
                if (!by_statistics) return bn(run(conv->weight, {}));
            // The weights as they will be after folding are what is quantized.
            auto f = factor();
            // Results are divided by it; where gamma is 0 they are beta, whatever it is.
            if (!by_statistics) f = torch::where(f == 0, torch::full_like(f, 1e-12), f);
            auto const w = detail::quantize_weight<A>(weight_grid, conv->weight * f.view({-1, 1, 1, 1}));
            if (by_statistics) return run(w, biased(bn->bias - bn->running_mean * f));
            bn->num_batches_tracked.add_(1);
            return scaled_batch_norm(
                run(w, {}), f,
                {bn->weight, bn->bias, bn->running_mean, bn->running_var, *bn->options.momentum(), epsilon});
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
    FakeQuantize<typename A::head::weights> weight_grid;

    explicit ProjectionImpl(Options o)
        : Producer(std::make_shared<FakeQuantizeImpl<typename A::head::outputs>>(o.out, o.roles)), options(o),
          weight_grid(register_module("weight_grid", FakeQuantize<typename A::head::weights>(o.out))) {
        weight_grid->of_weights = true;
        Kernel const initial(o, true);
        weight = register_parameter("weight", initial->weight);
        bias = register_parameter("bias", initial->bias);
    }

    std::optional<QuantizedWeight> quantized_weight() const override {
        return QuantizedWeight{weight, bias, {}, weight_grid.ptr(), options.stride, options.padding()};
    }

    torch::Tensor forward(torch::Tensor const& x) {  // [N, in, H, W] -> [N, out, H, W]
        auto const w = detail::quantize_weight<A>(weight_grid, weight);
        auto b = bias;
        if constexpr (A::bias::on_accumulator)
            if (detail::accumulates(input_grid().get(), *weight_grid))
                b = detail::on_accumulator(bias, *input_grid(), *weight_grid);
        auto const y = detail::conv2d<A>(x, w, b, options);
        if (tap) tap(x, y);
        return finish<typename A::head::outputs>(Identity{}, y, false);
    }
    graph::Value forward(graph::Value x) {
        return record(detail::conv_node(options, x, "", weight_grid->describe()), {x});
    }
};
template <class A> using Projection = Handle<ProjectionImpl<A>>;

}  // namespace qat::nn
