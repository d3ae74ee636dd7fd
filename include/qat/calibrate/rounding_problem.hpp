#pragma once
// Which way each weight is rounded, so that a linear layer's result comes near to a wanted one: the optimisation itself.
// Nagel, Amjad, van Baalen, Louizos, Blankevoort: Up or down? Adaptive rounding for post-training quantization, 2020,
// arXiv:2004.10568. Every row (output channel) is a problem of its own.

#include <qat/core/arithmetic.hpp>
#include <qat/ops/choose_grid.hpp>
#include <qat/torch.hpp>

#include <cmath>

namespace qat::calibrate {

/// The paper's values where it has them; steps and rate are for full gradients, which need far fewer than its batches do.
struct RoundingOptions {
    int steps = 200;                        // of Adam; 0: only the search over single codes
    double rate = 0.02;                     // of Adam
    std::int64_t patches = 4096;            // places of the result that count; all of them if there are fewer
    double regularization = 0.2;            // weight of the term that drives the variables to 0 or 1
    double beta_first = 20, beta_last = 2;  // its exponent, annealed after the first fifth of the steps
    int flips = 1000;                       // after that, of single codes, in each row: a local search
    bool bias = false;  // the bias follows, so that the mean error of every channel is zero
    double damping =
        0.01;  // of the inputs' second moments, as a share of their mean: against fitting the sample
    std::uint64_t seed = 0;
};

/// Minimise over the codes q, each floor(w / s) or one above it, within the levels:
///     E = mean over patches of (s q x - w x - r)^2     x: what the layer reads, r: what its result should have beyond w x
struct RoundingProblem {
    torch::Tensor weight;  // w                                [out, K]
    torch::Tensor
        nearest;         // the codes that the quantizer takes, relative to the zero point          [out, K]
    torch::Tensor step;  // s                                [out, 1]
    torch::Tensor low,
        high;               // of codes, relative to the zero point                                  [out, 1]
    torch::Tensor moments;  // mean of x x'                     [K, K]
    torch::Tensor wanted;   // mean of r x'                     [out, K]
    torch::Tensor offset;   // mean of r^2                      [out]

    /// E of every row.                                                                                [out]
    torch::Tensor error(torch::Tensor const& codes) const {
        auto const d = codes * step - weight;
        return (d * (d.mm(moments) - 2 * wanted)).sum(1) + offset;
    }

    /// The codes found. A row never is worse than with the nearest codes. Deterministic.              [out, K]
    torch::Tensor solve(RoundingOptions const& o) const {
        constexpr double zeta = 1.1, gamma = -0.1;  // the stretched sigmoid reaches 0 and 1
        auto const level = moments.diagonal().mean().clamp_min(1e-30);
        auto const damped = moments + o.damping * level * torch::eye(moments.size(0), moments.options());
        auto const below = torch::floor(weight / step);
        auto const share = (weight / step - below).clamp(0.0, 1.0);
        auto v = torch::logit(((share - gamma) / (zeta - gamma)).clamp(0.01, 0.99));
        auto m = torch::zeros_like(v), u = torch::zeros_like(v);
        auto const unit =
            step * level;  // gradients in units of step^2 * level: one regularization fits all layers
        auto const target = (weight.mm(damped) + wanted) / unit, scaled = step / unit;
        for (int t = 0; t < o.steps; ++t) {
            auto const sigmoid = torch::sigmoid(v);
            auto const h = (sigmoid * (zeta - gamma)).add_(gamma).clamp_(0.0, 1.0);
            auto const soft = torch::minimum(torch::maximum(below + h, low), high);
            auto gradient = (soft * scaled).mm(damped).sub_(target).mul_(2);  // dE/dh
            double const progress = static_cast<double>(t) / std::max(o.steps, 1);
            if (progress >= 0.2) {
                double const beta = o.beta_last + (o.beta_first - o.beta_last) * (1 - (progress - 0.2) / 0.8);
                auto const side = 2 * h - 1;
                // far from the ends the power is nothing, and must not become a denormal number, which costs time
                gradient.sub_(side.abs().clamp_min_(0.1).pow_(beta - 1).mul_(side.sign()),
                              o.regularization * 2 * beta);
            }
            // 0 where h or the code is at an end
            auto const slope = sigmoid * (1 - sigmoid) * ((h > 0) & (h < 1) & (soft == below + h));
            gradient.mul_(slope).mul_(zeta - gamma);
            m.mul_(0.9).add_(gradient, 0.1), u.mul_(0.999).addcmul_(gradient, gradient, 0.001);
            double const c1 = 1 - std::pow(0.9, t + 1), c2 = 1 - std::pow(0.999, t + 1);
            v.addcdiv_(m, (u / c2).sqrt_().add_(1e-8), -o.rate / c1);
        }
        auto const up = torch::sigmoid(v) * (zeta - gamma) + gamma >= 0.5;
        auto const found = torch::minimum(torch::maximum(below + up, low), high);
        return improve(torch::where((error(found) < error(nearest)).view({-1, 1}), found, nearest), o.flips);
    }

    /// In every row, again and again, the one code that gains most is rounded the other way; until none gains.
    torch::Tensor improve(torch::Tensor codes, int flips) const {
        auto const below = torch::floor(weight / step);
        auto const diagonal = moments.diagonal();
        auto slope = (codes * step - weight).mm(moments) - wanted;       // dE/dw / 2
        auto const least_gain = 1e-4 * step.square() * diagonal.mean();  // less is float's own error
        for (int t = 0; t < flips; ++t) {
            auto const way = 1 - 2 * (codes > below).to(torch::kFloat);  // +1: one up
            auto const allowed = (codes + way >= low) & (codes + way <= high);
            auto const d = way * step;
            auto const gain = (2 * d * slope + d.square() * diagonal).masked_fill(allowed.logical_not(), 0);
            auto const [least, at] = gain.min(1, true);
            auto const better = least < -least_gain;
            if (!better.any().item<bool>()) break;
            auto const move = way.gather(1, at) * better;
            codes = codes.scatter_add(1, at, move);
            slope.addcmul_(moments.index_select(0, at.flatten()), move * step);
        }
        return codes;
    }
};

}  // namespace qat::calibrate
