#pragma once
// Rounding by data: layer by layer each weight is rounded up or down so that the layer's result, from the inputs that it
// gets in the quantized network, comes near to the float network's. The chosen values are baked into the weights: they lie
// on the grid, so that fake quantization leaves them as they are. See rounding_problem.hpp.

#include <qat/calibrate/network.hpp>
#include <qat/calibrate/rounding_problem.hpp>
#include <qat/core/noise.hpp>

namespace qat::calibrate {

struct RoundedWeights {
    std::string path;
    double nearest, chosen;  // mean squared error of the result before the activation, at the sampled places
    double changed;          // share of the weights that are not at the nearest code
};

namespace detail {

// Places of a result [N, C, H, W]: the same for the same sizes, layer and seed.
struct Places {
    torch::Tensor image, row, column;  // [P]

    Places(torch::Tensor const& y, RoundingOptions const& o, std::size_t layer) {
        auto const area = y.size(2) * y.size(3), all = y.size(0) * area;
        torch::Tensor at;
        if (all <= o.patches) {
            at = torch::arange(all, torch::kLong);
        } else {
            at = torch::empty({o.patches}, torch::kLong);
            auto* place = at.data_ptr<std::int64_t>();
            for (std::int64_t i = 0; i < o.patches; ++i) {
                auto const position =
                    (static_cast<std::uint64_t>(layer) << 32) + static_cast<std::uint64_t>(i);
                place[i] = std::min(
                    all - 1, static_cast<std::int64_t>(static_cast<double>(all) *
                                                       static_cast<double>(uniform_noise(o.seed, position))));
            }
        }
        at = at.to(y.device());
        image = at.div(area, "floor"), row = at.remainder(area).div(y.size(3), "floor"),
        column = at.remainder(y.size(3));
    }

    // y there.                                                                                             [P, C]
    torch::Tensor of(torch::Tensor const& y) const {
        return y.index({image, torch::indexing::Slice(), row, column});
    }
    // What the convolution reads there.                                                          [P, C * k * k]
    torch::Tensor patches(torch::Tensor const& x, nn::QuantizedWeight const& w) const {
        auto const k = w.weight.size(2), p = w.padding;
        auto const window = torch::arange(k, row.options());
        auto const padded = torch::constant_pad_nd(x, {p, p, p, p});
        auto const found =
            padded.index({image.view({-1, 1, 1}), torch::indexing::Slice(),
                          (row * w.stride).view({-1, 1, 1}) + window.view({1, -1, 1}),
                          (column * w.stride).view({-1, 1, 1}) + window.view({1, 1, -1})});  // [P, k, k, C]
        return found.permute({0, 3, 1, 2}).flatten(1).contiguous();
    }
};

// What rounding one layer is about. x: [P, K], what it reads; there: [P, out], what it gives with its nearest weights.
struct LayerProblem {
    RoundingProblem rounding;
    torch::Tensor mean_input, mean_wanted;  // [K], [out]: of x, and of what the result should have beyond w x

    LayerProblem(Layer const& layer, torch::Tensor const& x, torch::Tensor const& there,
                 torch::Tensor const& wanted, RoundingOptions const& o) {
        auto const& grid = *layer.weight.grid;
        auto const seen = layer.weight.seen().detach();
        auto const out = seen.size(0);
        auto const [scale, zero_point] = grid.by_channel();
        TORCH_CHECK(scale.numel() == 1 || scale.numel() == out, "round_weights: ", layer.path, " has ",
                    scale.numel(), " weight scales for ", out,
                    " output channels; use PerTensor, PerChannel<0> or PerGroup");
        auto& p = rounding;
        p.step = scale.reshape({-1, 1}).expand({out, 1}).contiguous();
        auto const zero = zero_point.reshape({-1, 1}).expand({out, 1}).to(torch::kFloat);
        p.low = static_cast<double>(grid.levels.lo) - zero,
        p.high = static_cast<double>(grid.levels.hi) - zero;
        p.weight = seen.flatten(1).to(torch::kFloat, /*non_blocking=*/false,
                                      /*copy=*/true);  // the layer's will change
        auto const rounded = layer.weight.grid->forward(seen).flatten(1);
        p.nearest = torch::round(rounded / p.step);
        auto r =
            wanted - there + x.mm((rounded - p.weight).t());  // there: x times the rounded weights, and bias
        auto input = x;
        mean_input = x.mean(0), mean_wanted = r.mean(0);
        if (o.bias) r = r - mean_wanted, input = x - mean_input;
        auto const count = static_cast<double>(x.size(0));
        p.moments = input.t().mm(input) / count, p.wanted = r.t().mm(input) / count,
        p.offset = r.square().mean(0);
    }

    // How much the result is too large on average with these codes.                                         [out]
    torch::Tensor shift(torch::Tensor const& codes) const {
        return (codes * rounding.step - rounding.weight).mv(mean_input) - mean_wanted;
    }
};

// The weight becomes what these codes mean; where a folded factor is zero nothing is there to choose.
inline void bake(Layer const& layer, torch::Tensor const& values) {
    torch::Tensor weight = layer.weight.weight;
    auto const folded = values.view_as(weight);
    if (!layer.weight.factor.defined()) {
        weight.copy_(folded);
        return;
    }
    auto const f = layer.weight.factor.view({-1, 1, 1, 1});
    weight.copy_(torch::where(f == 0, weight, folded / f));
}
}  // namespace detail

/// After calibration. images: one batch, which runs once through each network. reference: a network with the same layers
/// whose weights are still the float ones; it may be n itself. Layers whose weights are float are left out. The observers
/// of baked weights are stopped, since their grids must stay.
inline std::vector<RoundedWeights>
round_weights(Network& n, Network& reference, torch::Tensor const& images, RoundingOptions const& o = {},
              std::function<void(RoundedWeights const&)> const& done = {}) {
    torch::NoGradGuard no_grad;
    auto const layers = layers_of(n.graph);
    auto const references = layers_of(reference.graph);
    TORCH_CHECK(layers.size() == references.size(), "round_weights: the reference has ", references.size(),
                " convolutions, want ", layers.size());
    std::vector<torch::Tensor> wanted(layers.size());
    {
        Restore const restore(reference.module);
        run_in_float(reference);
        for (std::size_t i = 0; i < layers.size(); ++i)
            references[i].producer->tap = [&, i](torch::Tensor const&, torch::Tensor const& y) {
                wanted[i] = detail::Places(y, o, i).of(y);
            };
        reference.forward(images);
    }
    for (auto const& layer : layers)
        TORCH_CHECK(
            !layer.weight.grid->quantized() ||
                layer.weight.grid->rounded(torch::full({}, 0.75)).item<float>() == 1,
            "round_weights: ", layer.path,
            " rounds down, so that integers are the edges of their bins and do not stay; give the weights "
            "another rounding");
    std::vector<RoundedWeights> result;
    std::vector<nn::Grid*> baked;
    {
        Restore const restore(n.module);
        run_quantized(n);
        for (std::size_t i = 0; i < layers.size(); ++i) {
            if (!layers[i].weight.grid->quantized()) continue;
            layers[i].producer->tap = [&, i](torch::Tensor const& x, torch::Tensor const& y) {
                auto const& layer = layers[i];
                detail::Places const places(y, o, i);
                detail::LayerProblem const problem(layer, places.patches(x, layer.weight), places.of(y),
                                                   wanted[i], o);
                auto const& p = problem.rounding;
                auto const codes = p.solve(o);
                result.push_back({layer.path, p.error(p.nearest).mean().item<double>(),
                                  p.error(codes).mean().item<double>(),
                                  (codes != p.nearest).to(torch::kFloat).mean().item<double>()});
                // The layers behind read what this one gives from now on. The result's memory is a temporary's.
                torch::Tensor corrected = y;
                auto const difference = ((codes - p.nearest) * p.step).view_as(layer.weight.weight);
                corrected.add_(torch::conv2d(x, difference, {}, layer.weight.stride, layer.weight.padding));
                if (o.bias) {
                    auto const shift = problem.shift(codes);
                    torch::Tensor bias = layer.weight.bias;
                    bias.sub_(shift), corrected.sub_(shift.view({1, -1, 1, 1}));
                }
                detail::bake(layer, codes * p.step);
                baked.push_back(layer.weight.grid.get());
                if (done) done(result.back());
            };
        }
        n.forward(images);
    }
    for (auto* grid : baked) grid->observing = false;
    return result;
}

}  // namespace qat::calibrate
