#pragma once
// Batch norm in training of what a convolution with folded weights gives: y = bn(z / f), f what its weights were multiplied
// by. The division costs no pass of its own, and nothing but z is kept for the backward pass.
//     u = z / f ;  m, v: mean and variance of u ;  r = 1 / sqrt(v + eps) ;  y = gamma * (u - m) * r + beta
// Krishnamoorthi 2018, arXiv:1806.08342, section 3.2.2: f times r / gamma is its correction factor; torch.ao: ConvBn2d.

#include <qat/torch.hpp>

#include <algorithm>
#include <cmath>

namespace qat {

/// The state of a batch norm layer as torch.nn.BatchNorm2d keeps it, and its settings.
struct BatchNormState {
    torch::Tensor gamma, beta;                // [C]
    torch::Tensor running_mean, running_var;  // [C], moved in place
    double momentum, eps;
};

namespace detail {

// PairSums over one channel of [N, C, H, W]: of a and of a * b, where per_element(i) gives the pair. Sixteen lanes of
// float over a block, blocks in double: deterministic, and as exact as torch's.
struct PairSums {
    double first = 0, second = 0;
};
template <class PerElement> PairSums sum_pairs(std::int64_t count, PerElement const& per_element) {
    constexpr std::int64_t lanes = 16, block = 1024;
    PairSums total;
    for (std::int64_t from = 0; from < count; from += block) {
        auto const to = std::min(from + block, count);
        float a[lanes] = {}, b[lanes] = {};
        auto i = from;
        for (; i + lanes <= to; i += lanes) {
#pragma omp simd
            for (std::int64_t k = 0; k < lanes; ++k) {
                auto const [p, q] = per_element(i + k);
                a[k] += p, b[k] += q;
            }
        }
        for (; i < to; ++i) {
            auto const [p, q] = per_element(i);
            a[0] += p, b[0] += q;
        }
        for (std::int64_t k = 0; k < lanes; ++k) total.first += a[k], total.second += b[k];
    }
    return total;
}

// Calls f(c, plane) for every channel and every image of it; a channel's planes in order, in one thread.
template <class F> void for_each_channel(torch::Tensor const& z, F&& f) {
    auto const channels = z.size(1), plane = z.size(2) * z.size(3);
    at::parallel_for(0, channels, 1, [&](std::int64_t from, std::int64_t to) {
        for (auto c = from; c < to; ++c)
            f(c, [&](auto&& per_plane) {
                for (std::int64_t n = 0; n < z.size(0); ++n) per_plane((n * channels + c) * plane, plane);
            });
    });
}

// On CUDA by the parts that torch's synchronized batch norm is made of. They know nothing of f: with the mean m_z and the
// variance v_z of z, (u - m) * r = (z - m_z) * r_z where r_z = sign(f) / sqrt(v_z + eps * f^2).
struct BatchNormOnCuda {
    torch::Tensor y, mean, r;  // of z
};
inline BatchNormOnCuda batch_norm_on_cuda(torch::Tensor const& z, torch::Tensor const& f,
                                          BatchNormState const& bn) {
    auto const [mean, inverse] = at::batch_norm_stats(z, /*eps=*/0);
    auto const variance = torch::where(inverse > 0, inverse.pow(-2), torch::zeros_like(inverse));
    auto const r = torch::sign(f) * torch::rsqrt(variance + bn.eps * f * f);
    auto const count = static_cast<double>(z.numel() / z.size(1));
    bn.running_mean.lerp_(mean / f, bn.momentum);
    bn.running_var.lerp_(variance / (f * f) * (count / std::max(count - 1, 1.0)), bn.momentum);
    return {at::batch_norm_elemt(z, bn.gamma, bn.beta, mean, r, bn.eps), mean, r};
}
// saved: z, f, gamma, mean, r. The result: the gradients of z, f, gamma and beta.
inline torch::autograd::variable_list batch_norm_backward_on_cuda(torch::autograd::variable_list const& saved,
                                                                  torch::Tensor const& gradient, double eps) {
    auto const &z = saved[0], &f = saved[1], &gamma = saved[2], &mean = saved[3], &r = saved[4];
    auto const dy = gradient.contiguous(z.suggest_memory_format());
    auto const [sum, product, dgamma, dbeta] =
        at::batch_norm_backward_reduce(dy, z, mean, r, gamma, true, true, true);
    auto const count = torch::full({1}, z.numel() / z.size(1), f.options().dtype(torch::kInt));
    // The result hardly depends on f: only by eps.
    return {at::batch_norm_backward_elemt(dy, z, mean, r, gamma, sum, product, count),
            -eps * f * r * r * gamma * dgamma, dgamma, dbeta};
}

struct ScaledBatchNorm : torch::autograd::Function<ScaledBatchNorm> {
    static torch::Tensor forward(torch::autograd::AutogradContext* context, torch::Tensor const& z,
                                 torch::Tensor const& f, torch::Tensor const& gamma,
                                 torch::Tensor const& beta, torch::Tensor const& running_mean,
                                 torch::Tensor const& running_var, double momentum, double eps) {
        context->saved_data["eps"] = eps;
        if (z.is_cuda()) {
            auto const done =
                batch_norm_on_cuda(z, f, {gamma, beta, running_mean, running_var, momentum, eps});
            context->save_for_backward({z, f, gamma, done.mean, done.r});
            return done.y;
        }
        auto const y = torch::empty_like(z);
        auto const mean = torch::empty_like(f), rstd = torch::empty_like(f);
        auto const* in = z.data_ptr<float>();
        auto* out = y.data_ptr<float>();
        auto const *fs = f.data_ptr<float>(), *gs = gamma.data_ptr<float>(), *bs = beta.data_ptr<float>();
        auto *rm = running_mean.data_ptr<float>(), *rv = running_var.data_ptr<float>();
        auto *ms = mean.data_ptr<float>(), *rs = rstd.data_ptr<float>();
        auto const count = static_cast<double>(z.numel() / z.size(1));
        for_each_channel(z, [&](std::int64_t c, auto const& planes) {
            float const shift = in[c * z.size(2) * z.size(3)];  // any value of the channel: no cancellation
            PairSums total;
            planes([&](std::int64_t at, std::int64_t size) {
                auto const part = sum_pairs(size, [p = in + at, shift](std::int64_t i) {
                    float const d = p[i] - shift;
                    return std::pair(d, d * d);
                });
                total.first += part.first, total.second += part.second;
            });
            double const d = total.first / count, inverse = 1.0 / fs[c];
            double const variance_z = std::max(0.0, total.second / count - d * d);
            double const m = (shift + d) * inverse, v = variance_z * inverse * inverse,
                         r = 1 / std::sqrt(v + eps);
            ms[c] = static_cast<float>(m), rs[c] = static_cast<float>(r);
            rm[c] += static_cast<float>(momentum * (m - rm[c]));
            rv[c] += static_cast<float>(momentum * (v * count / std::max(count - 1, 1.0) - rv[c]));
            auto const slope = static_cast<float>(gs[c] * r * inverse),
                       rest = static_cast<float>(bs[c] - gs[c] * r * m);
            planes([&](std::int64_t at, std::int64_t size) {
                auto const* p = in + at;
                auto* q = out + at;
#pragma omp simd
                for (std::int64_t i = 0; i < size; ++i) q[i] = slope * p[i] + rest;
            });
        });
        context->save_for_backward({z, f, gamma, mean, rstd});
        return y;
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   torch::autograd::variable_list const& gradients) {
        auto const saved = context->get_saved_variables();
        auto const& z = saved[0];
        if (z.is_cuda()) {
            auto of = batch_norm_backward_on_cuda(saved, gradients[0], context->saved_data["eps"].toDouble());
            of.resize(8);
            return of;
        }
        auto const g = gradients[0].contiguous();
        auto const dz = torch::empty_like(z);
        auto const df = torch::empty_like(saved[1]), dgamma = torch::empty_like(df),
                   dbeta = torch::empty_like(df);
        auto const *in = z.data_ptr<float>(), *dy = g.data_ptr<float>();
        auto const *fs = saved[1].data_ptr<float>(), *gs = saved[2].data_ptr<float>(),
                   *ms = saved[3].data_ptr<float>(), *rs = saved[4].data_ptr<float>();
        auto *out = dz.data_ptr<float>(), *dfs = df.data_ptr<float>(), *dgs = dgamma.data_ptr<float>(),
             *dbs = dbeta.data_ptr<float>();
        auto const count = static_cast<double>(z.numel() / z.size(1)),
                   eps = context->saved_data["eps"].toDouble();
        for_each_channel(z, [&](std::int64_t c, auto const& planes) {
            // xhat = p * z + q
            auto const p = rs[c] / fs[c], q = -ms[c] * rs[c];
            PairSums total;  // of dy, of dy * xhat
            planes([&](std::int64_t at, std::int64_t size) {
                auto const part = sum_pairs(size, [x = in + at, d = dy + at, p, q](std::int64_t i) {
                    return std::pair(d[i], d[i] * (p * x[i] + q));
                });
                total.first += part.first, total.second += part.second;
            });
            dbs[c] = static_cast<float>(total.first), dgs[c] = static_cast<float>(total.second);
            // The result hardly depends on f: only by eps.
            dfs[c] = static_cast<float>(-gs[c] / fs[c] * total.second * eps * rs[c] * rs[c]);
            auto const slope = gs[c] * p;
            auto const a = static_cast<float>(total.first / count),
                       b = static_cast<float>(total.second / count);
            planes([&](std::int64_t at, std::int64_t size) {
                auto const *x = in + at, *d = dy + at;
                auto* o = out + at;
#pragma omp simd
                for (std::int64_t i = 0; i < size; ++i) o[i] = slope * (d[i] - a - (p * x[i] + q) * b);
            });
        });
        return {dz, df, dgamma, dbeta, {}, {}, {}, {}};
    }
};
}  // namespace detail

/// bn(z / f) with the statistics of this batch; the running ones move.                    z [N, C, H, W], f [C] -> z's
/// requires float32 (on CUDA also float16 and bfloat16, and y is of z's type), at least one element a channel, f != 0.
inline torch::Tensor scaled_batch_norm(torch::Tensor const& z, torch::Tensor const& f,
                                       BatchNormState const& bn) {
    bool const on_cpu = z.is_cpu() && z.is_contiguous() && z.scalar_type() == torch::kFloat;
    if ((on_cpu || z.is_cuda()) && z.dim() == 4 && z.numel() > 0)
        return detail::ScaledBatchNorm::apply(on_cpu ? z : z.contiguous(z.suggest_memory_format()),
                                              f.contiguous(), bn.gamma, bn.beta, bn.running_mean,
                                              bn.running_var, bn.momentum, bn.eps);
    return torch::batch_norm(z / f.view({1, -1, 1, 1}), bn.gamma, bn.beta, bn.running_mean, bn.running_var,
                             /*training=*/true, bn.momentum, bn.eps, /*cudnn_enabled=*/true);
}

}  // namespace qat
