#pragma once
// The fused operation out of torch's operators: for devices whose kernels this program does not have. The same values,
// gradients and codes as the scalar rules, NaN and infinities included, in a dozen passes over memory instead of one.
// torch's own fake_quantize_* would be fewer, but what they make of NaN and of codes beyond int64 is nobody's promise.

#include <qat/core/activation/identity.hpp>
#include <qat/core/activation/relu.hpp>
#include <qat/core/noise.hpp>
#include <qat/core/rounding/floor.hpp>
#include <qat/core/rounding/half_away_from_zero.hpp>
#include <qat/core/rounding/half_even.hpp>
#include <qat/core/rounding/half_up.hpp>
#include <qat/core/rounding/stochastic.hpp>
#include <qat/ops/activate.hpp>
#include <qat/ops/choose_grid.hpp>
#include <qat/ops/cuda/request.hpp>

#include <type_traits>

namespace qat::fallback {

/// Activations whose scalar rule is written in torch's operators below; others are applied by activate() before.
template <class A>
inline constexpr bool fuses =
    std::is_same_v<A, Identity> || std::is_same_v<A, ReLU> || std::is_same_v<A, ReLU6>;

// Activation::value, also for NaN, of which torch::relu makes NaN.                                    x's shape
inline torch::Tensor value(Identity, torch::Tensor const& x) { return x; }
inline torch::Tensor value(ReLU, torch::Tensor const& x) {
    return torch::where(x > 0, x, torch::zeros_like(x));
}
inline torch::Tensor value(ReLU6, torch::Tensor const& x) { return value(ReLU{}, x).clamp_max(6); }

// Activation::passes; undefined: everywhere.                                                           x's shape
inline torch::Tensor passes(Identity, torch::Tensor const&) { return {}; }
inline torch::Tensor passes(ReLU, torch::Tensor const& x) { return x > 0; }
inline torch::Tensor passes(ReLU6, torch::Tensor const& x) { return (x >= 0) & (x <= 6); }

// Rounding::round.                                                                                     t's shape
inline torch::Tensor round(HalfEven, torch::Tensor const& t, cuda::Request const&) { return torch::round(t); }
inline torch::Tensor round(HalfUp, torch::Tensor const& t, cuda::Request const&) {
    auto const even = torch::round(t);
    return even + (t - even == 0.5f).to(t.scalar_type());
}
inline torch::Tensor round(HalfAwayFromZero, torch::Tensor const& t, cuda::Request const&) {
    auto const even = torch::round(t), rest = t - even;
    return even + ((rest == 0.5f) & (t > 0)).to(t.scalar_type()) -
           ((rest == -0.5f) & (t < 0)).to(t.scalar_type());
}
inline torch::Tensor round(RoundDown, torch::Tensor const& t, cuda::Request const&) {
    return torch::floor(t);
}
// The noise of an element follows its place in memory. It is made on the host, where its rule is a function, and
// copied: slow, and equal to the kernels' bit for bit.
inline torch::Tensor round(Stochastic, torch::Tensor const& t, cuda::Request const& request) {
    if (!request.noise) return torch::round(t);
    auto noise = torch::empty_like(t, t.options().device(torch::kCPU));
    auto* const out = noise.data_ptr<float>();
    at::parallel_for(0, t.numel(), 1 << 14, [&](std::int64_t from, std::int64_t to) {
        for (auto i = from; i < to; ++i) out[i] = uniform_noise(request.seed, static_cast<std::uint64_t>(i));
    });
    auto const down = torch::floor(t);
    return down + (noise.to(t.device()) >= 1.0f - (t - down)).to(t.scalar_type());
}

/// One value for every channel, in a shape that broadcasts over x. axis: -1 for a tensor's.            [] or [1, C, 1]
inline torch::Tensor along(torch::Tensor const& values, torch::Tensor const& x, std::int64_t axis) {
    if (axis < 0) return values.reshape({});
    std::vector<std::int64_t> shape(static_cast<std::size_t>(x.dim()), 1);
    shape[static_cast<std::size_t>(axis)] = x.size(axis);
    return values.reshape(shape);
}

struct Place {
    torch::Tensor scale,
        low;               // low: lo - z                                                  broadcast over x
    torch::Tensor code;    // q - z                                                        x's shape
    torch::Tensor inside;  // bool: whether it was there before clamping                   x's shape
};

/// Policies as values, so that what follows is compiled once.
struct Rule {
    torch::Tensor (*value)(torch::Tensor const&);   // of the activation
    torch::Tensor (*passes)(torch::Tensor const&);  // likewise
    torch::Tensor (*round)(torch::Tensor const&, cuda::Request const&);
    bool passes_outside;
    std::int64_t axis;  // of the channels; -1: one grid for the tensor
};
template <class Activation, class Spec> constexpr Rule rule() {
    return {
        [](torch::Tensor const& x) { return value(Activation{}, x); },
        [](torch::Tensor const& x) { return passes(Activation{}, x); },
        [](torch::Tensor const& t, cuda::Request const& r) { return round(typename Spec::rounding{}, t, r); },
        Spec::estimator::passes_outside, axis_of<typename Spec::scheme>()};
}

/// quantize of core/arithmetic.hpp. act: float32.
inline Place place(Rule const& rule, torch::Tensor const& act, GridTensors const& grid, Levels levels,
                   cuda::Request const& request) {
    auto const axis = rule.axis;
    auto const scale = along(grid.scale, act, axis), zero = along(grid.zero_point, act, axis);
    auto const low = (levels.lo - zero).to(torch::kFloat), high = (levels.hi - zero).to(torch::kFloat);
    auto const t = act * scale.reciprocal();
    auto const safe = torch::where(torch::isnan(t), low - 1, t);
    auto const near = torch::minimum(torch::maximum(safe, low - 1), high + 1);
    auto const r = rule.round(near, request);
    auto const code = torch::minimum(torch::maximum(r, low), high);
    return {scale, low, code, r == code};
}

/// y, its codes if asked for, and where the gradient passes: bool in x's shape, undefined: everywhere. No autograd.
/// requires x float32, float16 or bfloat16; scale float32 and zero_point int32, [] or [C], on x's device.
/// ensures float32 in x's shape. Empty tensors are fine. Waits for the device only where rounding is stochastic.
inline cuda::Forward forward(Rule const& rule, torch::Tensor const& x, GridTensors const& grid, Levels levels,
                             cuda::Request const& request) {
    torch::NoGradGuard no_grad;
    TORCH_CHECK(!request.codes || levels.hi - levels.lo <= 255, "activate_and_quantize: codes of ",
                levels.hi - levels.lo + 1, " levels do not fit a byte; want 256 levels at most");
    auto const in = (x.is_non_overlapping_and_dense() ? x : x.contiguous()).to(torch::kFloat);
    auto const act = rule.value(in);
    if (request.seen) *request.seen = qat::detail::range(act, rule.axis);
    auto const p = place(rule, act, grid, levels, request);
    auto passes = rule.passes(in);
    if (!rule.passes_outside) passes = passes.defined() ? passes & p.inside : p.inside;
    return {p.scale * p.code, passes, request.codes ? (p.code - p.low).to(torch::kByte) : torch::Tensor()};
}

/// dx = passes ? dy : 0, in x's type.                                                                  dy's shape
inline torch::Tensor backward(torch::Tensor const& dy, torch::Tensor const& passes, torch::ScalarType type) {
    return torch::where(passes, dy, torch::zeros_like(dy)).to(type);
}

}  // namespace qat::fallback
