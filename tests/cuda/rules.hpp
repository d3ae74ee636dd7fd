#pragma once
// What the fused operation on a device must compute: the scalar rules, one element after the other. The same checks for
// torch's operators, for the kernels run on the CPU, and for a GPU.

#include "support/doctest.hpp"

#include <qat/core/catalogue.hpp>
#include <qat/ops/cuda/fused.hpp>

#include <boost/hana/size.hpp>

#include <limits>
#include <vector>

namespace rules {
using namespace qat;

inline constexpr auto not_a_number = std::numeric_limits<float>::quiet_NaN();
inline constexpr auto inf = std::numeric_limits<float>::infinity();

template <class A, class S> struct Case {
    using activation = A;
    using spec = S;
};

// Every activation, rounding and scheme that kernels know, each with several of the others.
template <class F> void for_each_case(F&& f) {
    f(Case<Identity, Quantizer<Int<8>, PerTensorAffine>>{});
    f(Case<ReLU, Quantizer<Int<8>, PerTensorAffine>>{});
    f(Case<ReLU6, Quantizer<UInt<8>, PerTensorAffine>>{});
    f(Case<ReLU, Quantizer<Int<4>, PerTensorSymmetric, HalfUp>>{});
    f(Case<Identity, Quantizer<Int<8>, PerTensorSymmetric, HalfAwayFromZero>>{});
    f(Case<ReLU6, Quantizer<Int<8>, PerTensorAffine, RoundDown>>{});
    f(Case<Identity, Quantizer<Int<8>, PerTensorAffine, Stochastic>>{});
    f(Case<ReLU, Quantizer<Int<8>, PerTensorAffine, PassThrough>>{});
    f(Case<Identity, Quantizer<Int<8>, PerTensorAffine, PassThrough>>{});
    f(Case<Identity, Quantizer<Int<8>, PerChannelAffine<0>>>{});
    f(Case<Identity, Quantizer<Int<8>, PerChannelAffine<1>, HalfUp>>{});
    f(Case<ReLU, Quantizer<Int<8>, PerChannelSymmetric<1>, Stochastic>>{});
}

// Ties, zeros of both signs, values far outside; NaN and infinities.                               [3, 5, 7, 6]
inline torch::Tensor sample() {
    torch::manual_seed(3);
    auto const x = torch::randn({3, 5, 7, 6}) * 3;
    auto flat = x.view({-1});
    float const special[] = {0.0f, -0.0f, 0.5f,   1.5f,   -2.5f,        0.25f, -0.25f,
                             6.0f, 1e30f, -1e30f, 1e-30f, not_a_number, inf,   -inf};
    for (std::size_t i = 0; i < std::size(special); ++i)
        flat[static_cast<std::int64_t>(40 * i + 3)] = special[i];
    return x;
}

// The same numbers in several layouts: all dense but the last two.
inline std::vector<torch::Tensor> layouts(torch::Tensor const& x) {
    auto const wide = torch::zeros({3, 5, 7, 12}).slice(3, 0, 12, 2);
    wide.copy_(x);
    auto shifted = torch::zeros({x.numel() + 1}).slice(0, 1).view(x.sizes());  // memory that is not aligned
    shifted.copy_(x);
    return {x,
            x.contiguous(torch::MemoryFormat::ChannelsLast),
            x.permute({2, 0, 3, 1}).contiguous().permute({1, 3, 0, 2}),
            shifted,
            wide,
            x.slice(0, 0, 1).expand({3, 5, 7, 6})};
}

inline GridTensors grid_for(torch::Tensor const& x, std::int64_t axis, bool symmetric, double step = 0.25,
                            Levels levels = {-128, 127}) {
    auto const shape = axis < 0 ? std::vector<std::int64_t>{} : std::vector<std::int64_t>{x.size(axis)};
    auto const options = torch::TensorOptions(x.device());
    auto const n = axis < 0 ? 1 : shape[0];
    auto const scale = step * (1 + 0.37 * torch::arange(n, options.dtype(torch::kFloat)));
    auto const zero =
        torch::arange(n, options.dtype(torch::kInt)) * (symmetric ? 0 : 3) + (symmetric ? 0 : 5);
    return {scale.reshape(shape), zero.clamp(levels.lo, levels.hi).reshape(shape)};
}
template <class Q> GridTensors grid_for(torch::Tensor const& x, double step = 0.25) {
    return grid_for(x, axis_of<typename Q::scheme>(), Q::scheme::symmetric, step);
}

// Policies as values: their scalar rules, and what a device is told of them.
struct Subject {
    float (*value)(float);
    bool (*passes)(float);
    Code (*quantize)(float, float, Bounds);
    Code (*quantize_noisily)(float, float, Bounds, float);  // null: its rounding takes no noise
    bool passes_outside;
    std::int64_t axis;  // of the channels; -1: one grid
    bool symmetric;
    cuda::Rule rule;
};
template <class A, class Q> constexpr Subject subject() {
    using R = typename Q::rounding;
    Subject s{&A::value,
              &A::passes,
              &quantize<R>,
              nullptr,
              Q::estimator::passes_outside,
              axis_of<typename Q::scheme>(),
              Q::scheme::symmetric,
              cuda::rule<A, Q>()};
    if constexpr (R::stochastic) s.quantize_noisily = &quantize<R>;
    return s;
}

// Every activation with every rounding, scheme and estimator of a given range, where they may be together.
template <class F> void for_each_combination(F&& f) {
    auto const quantizers = legal_quantizers(
        hana::tuple_t<Int<8>>,
        hana::tuple_t<PerTensorAffine, PerTensorSymmetric, PerChannelAffine<0>, PerChannelSymmetric<1>>,
        hana::tuple_t<HalfEven, HalfAwayFromZero, HalfUp, RoundDown, Stochastic>,
        hana::tuple_t<StraightThrough, PassThrough>);
    static_assert(decltype(hana::size(quantizers))::value == 4 * 5 * 2);
    hana::for_each(quantizers, [&](auto q) {
        using Q = typename decltype(q)::type;
        for (auto const& s : {subject<Identity, Q>(), subject<ReLU, Q>(), subject<ReLU6, Q>()}) f(s);
    });
}

struct Expected {
    torch::Tensor y, dx, codes;
    RangeTensors seen;
};

// The slow, obvious version: one element after the other through the scalar rules. The place in memory, which noise
// follows, is that of a dense tensor with x's strides, or of a contiguous one.
inline Expected by_hand(Subject const& subject, torch::Tensor const& x, torch::Tensor const& dy,
                        GridTensors const& g, Levels levels, cuda::Request const& request) {
    auto const dense = x.is_non_overlapping_and_dense() ? x : x.contiguous();
    auto const y = torch::empty_like(dense, torch::kFloat), dx = torch::empty_like(y);
    auto const codes = torch::empty_like(y, torch::kByte);
    auto const s = g.scale.reshape({-1}), z = g.zero_point.reshape({-1});
    auto const low = torch::full(g.scale.sizes(), inf), high = -low;
    std::vector<std::int64_t> at(static_cast<std::size_t>(x.dim()), 0);
    for (std::int64_t i = 0; i < x.numel(); ++i) {
        std::int64_t place = 0;
        for (std::size_t d = 0; d < at.size(); ++d)
            place += at[d] * dense.stride(static_cast<std::int64_t>(d));
        auto const read = [&](torch::Tensor t) {
            for (auto const k : at) t = t[k];
            return t.item<float>();
        };
        auto const c = subject.axis >= 0 ? at[static_cast<std::size_t>(subject.axis)] : 0;
        float const value = read(x), scale = s[c].item<float>(), act = subject.value(value);
        auto const b = bounds(levels.lo, levels.hi, z[c].item<std::int32_t>());
        auto const code =
            subject.quantize_noisily && request.noise
                ? subject.quantize_noisily(act, 1.0f / scale, b,
                                           uniform_noise(request.seed, static_cast<std::uint64_t>(place)))
                : subject.quantize(act, 1.0f / scale, b);
        bool const passes = subject.passes(value) && (code.inside || subject.passes_outside);
        y.data_ptr<float>()[place] = dequantize(code.value, scale);
        dx.data_ptr<float>()[place] = passes ? read(dy) : 0.0f;
        codes.data_ptr<std::uint8_t>()[place] = static_cast<std::uint8_t>(code.value - b.low);
        auto& least = low.data_ptr<float>()[c];
        auto& most = high.data_ptr<float>()[c];
        least = act < least || act != act ? act : least;
        most = act > most || act != act ? act : most;
        for (auto d = x.dim() - 1; d >= 0; --d) {
            if (++at[static_cast<std::size_t>(d)] < x.size(d)) break;
            at[static_cast<std::size_t>(d)] = 0;
        }
    }
    return {y, dx, codes, {low, high}};
}

inline bool same(torch::Tensor const& a, torch::Tensor const& b) {
    return torch::equal(a.nan_to_num(1e38), b.nan_to_num(1e38));
}

// k: null for torch's operators. Everything is computed on the device and compared on the CPU.
inline void check_against_rules(Subject const& s, torch::Tensor const& sample, cuda::Kernels const* k,
                                Levels levels, torch::Device device = torch::kCPU) {
    auto const x = sample.to(device);
    auto const host = x.cpu();  // may be laid out differently from sample
    auto const g = grid_for(host, s.axis, s.symmetric, 0.25, levels);
    GridTensors const grid{g.scale.to(device), g.zero_point.to(device)};
    torch::manual_seed(4);
    auto const dy = torch::randn(x.sizes());
    RangeTensors seen;
    bool const codes = levels.hi - levels.lo <= 255;
    cuda::Request const request{.seen = &seen, .codes = codes, .noise = true, .seed = 0x123456789};
    auto const want = by_hand(s, host, dy, g, levels, request);
    auto const leaf = x.detach().requires_grad_();
    auto const got = cuda::activate_and_quantize(s.rule, leaf, grid, levels, request, k);
    CHECK((got.y.scalar_type() == torch::kFloat));
    CHECK((got.y.device() == x.device()));
    CHECK(torch::equal(got.y.detach().cpu(), want.y));
    if (codes) CHECK(torch::equal(got.codes.cpu(), want.codes));
    if (codes) CHECK(!got.codes.requires_grad());
    CHECK(same(seen.min.cpu(), want.seen.min));
    CHECK(same(seen.max.cpu(), want.seen.max));
    got.y.backward(dy.to(device));
    CHECK(torch::equal(leaf.grad().cpu(), want.dx.to(x.scalar_type())));
    torch::NoGradGuard no_grad;
    cuda::Request const plain{.noise = true, .seed = 0x123456789};
    CHECK(torch::equal(cuda::activate_and_quantize(s.rule, x, grid, levels, plain, k).y.cpu(), want.y));
    if (k && codes)
        CHECK(torch::equal(cuda::decode(*k, got.codes, grid.scale, grid.zero_point, levels, s.axis).cpu(),
                           want.y));
}
template <class A, class Q>
void check_against_rules(torch::Tensor const& sample, cuda::Kernels const* k,
                         Levels levels = levels_of<typename Q::format>, torch::Device device = torch::kCPU) {
    check_against_rules(subject<A, Q>(), sample, k, levels, device);
}

// All combinations, with the integers of each format that a network may have.
inline void check_combinations(cuda::Kernels const* k, torch::Device device = torch::kCPU) {
    auto const x = sample().slice(2, 0, 2);  // [3, 5, 2, 6]
    for (auto const levels :
         {levels_of<Int<8>>, levels_of<UInt<8>>, levels_of<Int<8, Range::narrow>>, levels_of<Int<4>>,
          levels_of<UInt<4>>, levels_of<Int<2>>, levels_of<Int<16>>, levels_of<UInt<16>>}) {
        CAPTURE(levels.lo);
        CAPTURE(levels.hi);
        for_each_combination([&](Subject const& s) { check_against_rules(s, x, k, levels, device); });
    }
}

// cuda::learned_backward against the sum of the scalar slopes.
template <class E, class R>
void check_learned(torch::Tensor const& sample, cuda::Kernels const& k, cuda::LearnedKind kind,
                   std::int64_t axis, torch::Device device = torch::kCPU, Levels levels = {-8, 7}) {
    torch::manual_seed(8);
    auto const x = sample.to(device);
    auto const dy = torch::randn(x.sizes());
    auto const channels = axis < 0 ? 1 : x.size(axis);
    auto const scale = 0.25f * (1 + 0.3f * torch::arange(channels, torch::kFloat));
    auto const zero = torch::arange(channels, torch::kInt) % 3;
    cuda::KernelPlan const plan{.rounding = *cuda::rounding_kind<R>(), .levels = levels, .axis = axis};
    auto const run = [&] {
        return cuda::learned_backward(k, x, dy.to(device), scale.to(device), zero.to(device),
                                      torch::full({1}, 1.7f).to(device), kind, plan);
    };
    auto const got = run(), again = run();
    std::vector<double> parameter(static_cast<std::size_t>(channels)), offset(parameter), size(parameter);
    auto const dx = torch::empty(x.sizes()), in = x.cpu().contiguous();
    std::int64_t inner = 1;
    for (auto d = axis + 1; axis >= 0 && d < x.dim(); ++d) inner *= x.size(d);
    for (std::int64_t i = 0; i < x.numel(); ++i) {
        auto const c = axis < 0 ? 0 : i / inner % channels;
        auto const z = zero.template data_ptr<std::int32_t>()[c];
        LearnedGrid grid{1.0f / scale.template data_ptr<float>()[c], bounds(levels.lo, levels.hi, z),
                         static_cast<float>(z), 0};
        if constexpr (E::learns == Learns::clip) grid.clip = E::clip(1.7f, levels);
        Slope const slope = E::template slope<R>(in.data_ptr<float>()[i], grid);
        float const up = dy.template data_ptr<float>()[i];
        dx.template data_ptr<float>()[i] = slope.input ? up : 0.0f;
        auto const at = static_cast<std::size_t>(c);
        parameter[at] += static_cast<double>(up * slope.parameter);
        offset[at] += static_cast<double>(up * slope.offset);
        size[at] += static_cast<double>(std::abs(up * slope.parameter));
    }
    CHECK(torch::equal(got.dx.cpu(), dx));
    CHECK(got.parameter.dim() == (axis < 0 ? 0 : 1));
    for (std::size_t c = 0; c < parameter.size(); ++c) {
        auto const at = static_cast<std::int64_t>(c);
        CHECK(std::abs(got.parameter.reshape({-1})[at].template item<double>() - parameter[c]) <=
              1e-6 * size[c]);
        CHECK(std::abs(got.offset.reshape({-1})[at].template item<double>() - offset[c]) <= 1e-5);
    }
    CHECK(torch::equal(got.parameter, again.parameter));
    CHECK(torch::equal(got.offset, again.offset));
}

// Ranges and grids that are moved by a kernel, against the scalar rules.
inline void check_moves(cuda::Kernels const& k, torch::Device device = torch::kCPU) {
    torch::manual_seed(12);
    auto const old_min =
                   torch::cat({-torch::rand({300}), torch::tensor({inf, inf, -1.0f, not_a_number, 0.0f})}),
               old_max = torch::cat({torch::rand({300}), torch::tensor({-inf, -inf, 1.0f, 1.0f, 0.0f})});
    auto const seen_min = torch::cat({torch::randn({300}), torch::tensor({-3.0f, inf, -inf, -2.0f, 0.0f})}),
               seen_max =
                   torch::cat({torch::randn({300}), torch::tensor({4.0f, -inf, not_a_number, 3.0f, 0.0f})});
    for (auto const observer : {MinMax::rule, MovingAverageMinMax<>::rule,
                                MovingAverageMinMax<std::ratio<1, 3>>::rule, MeanSquaredError<>::rule})
        for (auto const rule : {grid_rule<Quantizer<Int<8>, PerTensorAffine>>(),
                                grid_rule<Quantizer<Int<8>, PerTensorSymmetric>>(),
                                grid_rule<Quantizer<UInt<8>, PerTensorSymmetric>>(),
                                grid_rule<Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Ceil>>>(),
                                grid_rule<Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Nearest>>>(),
                                grid_rule<Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Floor>>>()})
            for (auto const n : {std::int64_t{0}, std::int64_t{1}, old_min.numel()}) {
                Levels const levels = rule.is_signed ? Levels{-128, 127} : Levels{0, 255};
                auto const part = [&](torch::Tensor const& t) { return t.narrow(0, t.size(0) - n, n); };
                auto const on = [&](torch::Tensor const& t) { return part(t).clone().to(device); };
                auto const min = on(old_min), max = on(old_max), scale = torch::full_like(min, 0.5f);
                auto const zero = torch::full_like(min, 9, torch::kInt);
                cuda::move(k, observer, rule, levels, {on(seen_min), on(seen_max)}, {min, max}, scale, zero);
                auto want_min = part(old_min).clone(), want_max = part(old_max).clone();
                auto want_scale = torch::full({n}, 0.5f);
                auto want_zero = torch::full({n}, 9, torch::kInt);
                for (std::int64_t c = 0; c < n; ++c) {
                    auto const at = [&](torch::Tensor const& t) { return part(t)[c].item<float>(); };
                    float const low = follow(observer, at(old_min), at(seen_min), true),
                                high = follow(observer, at(old_max), at(seen_max), false);
                    want_min[c] = low, want_max[c] = high;
                    if (!std::isfinite(low) || !std::isfinite(high)) continue;
                    auto const g = choose_grid(rule, low, high, levels);
                    want_scale[c] = g.scale, want_zero[c] = g.zero_point;
                }
                CHECK(same(min.cpu(), want_min));
                CHECK(same(max.cpu(), want_max));
                CHECK(torch::equal(scale.cpu(), want_scale));
                CHECK(torch::equal(zero.cpu(), want_zero));
            }
}

inline void check_learned_grids(cuda::Kernels const& k, torch::Device device = torch::kCPU) {
    torch::manual_seed(13);
    auto const parameter =
        torch::cat({torch::randn({300}) * 4, torch::tensor({not_a_number, inf, -inf, 0.0f, 2.5f, -7.5f})});
    auto const offset = torch::randn(parameter.sizes()) * 3;
    for (auto const rule : {ParameterRule{Learns::step}, ParameterRule{Learns::step_and_offset},
                            ParameterRule{Learns::clip}, ParameterRule{Learns::log2_threshold, Toward::up},
                            ParameterRule{Learns::log2_threshold, Toward::nearest},
                            ParameterRule{Learns::log2_threshold, Toward::down}}) {
        bool const with_offset = rule.learns == Learns::step_and_offset;
        auto const scale = torch::zeros(parameter.sizes(), device);
        auto const zero = torch::full(parameter.sizes(), 9, torch::TensorOptions(torch::kInt).device(device));
        cuda::learned_grids(k, rule, parameter.to(device), with_offset ? offset.to(device) : torch::Tensor(),
                            {-128, 127}, scale, zero);
        auto want_scale = torch::zeros_like(parameter);
        auto want_zero = torch::zeros_like(parameter, torch::kInt);
        for (std::int64_t c = 0; c < parameter.numel(); ++c) {
            auto const g = learned_grid(rule, parameter[c].item<float>(),
                                        with_offset ? offset[c].item<float>() : 0.0f, {-128, 127});
            want_scale[c] = g.scale, want_zero[c] = g.zero_point;
        }
        CHECK(torch::equal(scale.cpu(), want_scale));
        CHECK(torch::equal(zero.cpu(), want_zero));
    }
}

}  // namespace rules
