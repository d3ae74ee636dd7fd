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
    int steps = 400;              // of Adam
    double rate = 0.02;           // of Adam
    std::int64_t patches = 4096;  // places of the result that count; all of them if there are fewer
    double regularization = 0.2;   // weight of the term that drives the variables to 0 or 1
    double beta_first = 20, beta_last = 2;  // its exponent, annealed after the first fifth of the steps
    double damping = 0.01;  // of the inputs' second moments, as a share of their mean: against fitting the sample
    std::uint64_t seed = 0;
};

/// Minimise over the codes q, each floor(w / s) or one above it, within the levels:
///     E = mean over patches of (s q x - w x - r)^2     x: what the layer reads, r: what its result should have beyond w x
struct RoundingProblem {
    torch::Tensor weight;   // w                                [out, K]
    torch::Tensor nearest;  // the codes that the quantizer takes, relative to the zero point          [out, K]
    torch::Tensor step;     // s                                [out, 1]
    torch::Tensor low, high;  // of codes, relative to the zero point                                  [out, 1]
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
        for (int t = 0; t < o.steps; ++t) {
            auto const sigmoid = torch::sigmoid(v);
            auto const raw = sigmoid * (zeta - gamma) + gamma;
            auto const h = raw.clamp(0.0, 1.0);
            auto const soft = below + h;
            auto const d = torch::minimum(torch::maximum(soft, low), high) * step - weight;
            // dE/dh in units of step^2 * level, so that one regularization fits all layers
            auto gradient = 2 * (d.mm(damped) - wanted) / (step * level);
            double const progress = static_cast<double>(t) / std::max(o.steps, 1);
            if (progress >= 0.2) {
                double const beta = o.beta_last + (o.beta_first - o.beta_last) * (1 - (progress - 0.2) / 0.8);
                auto const side = 2 * h - 1;
                gradient -= o.regularization * 2 * beta * side.abs().pow(beta - 1) * side.sign();
            }
            gradient = gradient * (raw > 0) * (raw < 1) * (soft >= low) * (soft <= high) * (zeta - gamma) * sigmoid *
                       (1 - sigmoid);
            m.mul_(0.9).add_(gradient, 0.1), u.mul_(0.999).addcmul_(gradient, gradient, 0.001);
            double const c1 = 1 - std::pow(0.9, t + 1), c2 = 1 - std::pow(0.999, t + 1);
            v.addcdiv_(m, (u / c2).sqrt() + 1e-8, -o.rate / c1);
        }
        auto const up = torch::sigmoid(v) * (zeta - gamma) + gamma >= 0.5;
        auto const found = torch::minimum(torch::maximum(below + up, low), high);
        return torch::where((error(found) < error(nearest)).view({-1, 1}), found, nearest);
    }
};

}  // namespace qat::calibrate
