// The fused pass of the CPU: against the scalar rules element by element, against separate operations, and what it keeps.

#include "support/doctest.hpp"

#include <qat/core/describe.hpp>
#include <qat/core/rounding/floor.hpp>
#include <qat/core/rounding/half_away_from_zero.hpp>
#include <qat/core/rounding/half_up.hpp>
#include <qat/core/rounding/stochastic.hpp>
#include <qat/ops/codes.hpp>
#include <qat/ops/fake_quantize.hpp>
#include <qat/ops/fused.hpp>

#include <cstring>

namespace {
using namespace qat;
namespace loops = qat::detail;
using loops::InstructionSet;
using torch::Tensor;

constexpr float inf = std::numeric_limits<float>::infinity();

using Tensor8 = Quantizer<Int<8>, PerTensorAffine>;
using Shift8 = Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Ceil>>;
using Unsigned8 = Quantizer<UInt<8>, PerTensorAffine>;
using Int4 = Quantizer<Int<4>, PerTensorAffine>;
using Int16 = Quantizer<Int<16>, PerTensorSymmetric>;

// A policy of the test's own, so that this file does not depend on one of the library's.
struct PassesOutside {
    using slot = qat::slot::estimator;
    static constexpr std::string_view name = "passes outside";
    static constexpr Learns learns = Learns::nothing;
    static constexpr bool passes_outside = true;
};
using Through8 = Quantizer<Int<8>, PerTensorAffine, PassesOutside>;

template <class... Ts, class F> void for_each_type(F&& f) { (f(std::type_identity<Ts>{}), ...); }

template <class F> void for_each_spec(F&& f) {
    for_each_type<Tensor8, Shift8, Unsigned8, Int4, Int16, Through8, Tensor8::vary<HalfUp>,
                  Tensor8::vary<HalfAwayFromZero>, Tensor8::vary<RoundDown>>(
        [&]<class Q>(std::type_identity<Q>) {
        CAPTURE(describe<Q>());
        f(std::type_identity<Q>{});
    });
}

Tensor sample(std::int64_t n) {  // ties, signed zeros, extremes, NaN and infinities
    torch::manual_seed(7);
    auto x = torch::randn({n}) * 3;
    float const special[] = {0.0f,          -0.0f, 0.5f, 1.5f, -2.5f, 1e30f, -1e30f, 1e-30f,
                             std::nanf(""), inf,   -inf, 6.0f, 5.99f, 6.01f, 0.125f, -0.125f};
    for (std::int64_t i = 0; i < std::min<std::int64_t>(n, 16); ++i) x[(i * 5 + 3) % n] = special[i];
    return x;
}
Tensor finite_sample(std::vector<std::int64_t> shape) {
    torch::manual_seed(8);
    return torch::randn(shape) * 3;
}

template <class Q> GridTensors some_grid() {
    auto const span = static_cast<float>(Q::format::hi - Q::format::lo);
    auto const scale = Q::scale::power_of_two ? 0.03125f : 9.0f / span;
    return {torch::full({}, scale),
            torch::full({}, Q::scheme::symmetric ? 0 : static_cast<int>(Q::format::lo) + 3, torch::kInt)};
}

// The slow, obvious version.
template <class A, class Q>
std::pair<Tensor, Tensor> by_hand(Tensor const& x, GridTensors const& g, Levels levels) {
    auto y = torch::empty_like(x), passes = torch::empty_like(x);
    auto const* in = x.data_ptr<float>();
    float const scale = g.scale.item<float>();
    auto const b = bounds(levels.lo, levels.hi, g.zero_point.item<int>());
    for (std::int64_t i = 0; i < x.numel(); ++i) {
        auto const code = quantize<typename Q::rounding>(A::value(in[i]), 1.0f / scale, b);
        y.data_ptr<float>()[i] = dequantize(code.value, scale);
        bool const there = Q::estimator::passes_outside || code.inside;
        passes.data_ptr<float>()[i] = there && A::passes(in[i]);
    }
    return {y, passes};
}

bool same_bits(Tensor const& a, Tensor const& b) {
    auto const x = a.detach().contiguous(), y = b.detach().contiguous();
    return x.sizes() == y.sizes() && x.scalar_type() == y.scalar_type() &&
           (x.numel() == 0 || std::memcmp(x.data_ptr(), y.data_ptr(), x.nbytes()) == 0);
}

struct Threads {
    int before = torch::get_num_threads();
    explicit Threads(int n) { torch::set_num_threads(n); }
    ~Threads() { torch::set_num_threads(before); }
};

Tensor on_grid(Tensor const& leaf, bool codes,
               GridTensors const& g = {torch::full({}, 0.0625f), torch::zeros({}, torch::kInt)}) {
    return activate_and_quantize<ReLU, Shift8>(leaf * 1, g, levels_of<Int<8>>,
                                               {.storage = Storage::reuse, .codes = codes});
}
}  // namespace

TEST_CASE("one pass is the scalar rule, element by element, bit for bit: values, gradient, extremes, codes") {
    for_each_spec([]<class Q>(std::type_identity<Q>) {
        for_each_type<Identity, ReLU, ReLU6>([]<class A>(std::type_identity<A>) {
            auto const g = some_grid<Q>();
            for (std::int64_t n : {0, 1, 7, 63, 64, 65, 1023, 1024, 1025, 5000}) {
                CAPTURE(n);
                auto const x = sample(std::max<std::int64_t>(n, 1)).narrow(0, 0, n).clone();
                auto const levels = levels_of<typename Q::format>;
                auto const [y, passes] = by_hand<A, Q>(x, g, levels);
                CHECK(same_bits(activate_and_quantize<A, Q>(x, g), y));
                auto const leaf = x.clone().requires_grad_();
                RangeTensors seen;
                auto const z = activate_and_quantize<A, Q>(leaf, g, levels, {.seen = &seen, .codes = true});
                CHECK(same_bits(z, y));
                CHECK(codes_of(z).has_value() == (Q::format::bits <= 8));
                if (auto const codes = codes_of(z)) CHECK(same_bits(dequantize(*codes), y));
                auto const upstream = torch::arange(1, n + 1).to(torch::kFloat);
                z.backward(upstream);
                CHECK(
                    same_bits(leaf.grad(), torch::where(passes == 1, upstream, torch::zeros_like(upstream))));
                if (n > 0 && n < 9) {  // no NaN in there
                    auto act = torch::empty_like(x);
                    for (std::int64_t i = 0; i < n; ++i) act[i] = A::value(x[i].item<float>());
                    if (!act.isnan().any().item<bool>()) {
                        CHECK(seen.min.item<float>() == act.min().template item<float>());
                        CHECK(seen.max.item<float>() == act.max().template item<float>());
                    }
                }
                if (n == 0) CHECK(seen.min.item<float>() == inf);
                auto const alone = activated_range<A, typename Q::scheme>(x);
                CHECK(alone.min.equal(seen.min) == !seen.min.isnan().item<bool>());
                CHECK(alone.min.isnan().equal(seen.min.isnan()));
            }
        });
    });
}

TEST_CASE("one pass over a million elements is relu, range and fake quantization one after the other") {
    auto const x = finite_sample({1000003});
    auto const g = some_grid<Tensor8>();
    RangeTensors seen;
    auto const y = activate_and_quantize<ReLU, Tensor8>(x, g, levels_of<Int<8>>, {.seen = &seen});
    auto const act = torch::relu(x);
    auto const apart = range<PerTensorAffine>(act);
    CHECK(torch::equal(y, fake_quantize<Tensor8>(act, g.scale, g.zero_point)));
    CHECK(torch::equal(seen.min, apart.min));
    CHECK(torch::equal(seen.max, apart.max));
    CHECK(torch::equal(seen.min, std::get<0>(torch::aminmax(act))));
    CHECK(torch::equal(seen.max, std::get<1>(torch::aminmax(act))));
}

TEST_CASE("values and gradients equal torch's relu and fake-quantize operator under autograd") {
    for_each_type<Tensor8, Unsigned8, Int4>([]<class Q>(std::type_identity<Q>) {
        auto const g = some_grid<Q>();
        for (auto const& x : {finite_sample({4, 6, 5, 3}), finite_sample({3, 70000})}) {
            auto const upstream = torch::randn_like(x);
            auto const a = x.clone().requires_grad_(), b = x.clone().requires_grad_();
            auto const ours = activate_and_quantize<ReLU, Q>(a, g);
            auto const torchs = torch::fake_quantize_per_tensor_affine(torch::relu(b), g.scale, g.zero_point,
                                                                       Q::format::lo, Q::format::hi);
            CHECK(torch::equal(ours, torchs));
            ours.backward(upstream), torchs.backward(upstream);
            CHECK(torch::equal(a.grad(), b.grad()));
        }
    });
}

TEST_CASE("NaN becomes the lowest value and makes the range NaN; infinities become the ends") {
    auto const x = torch::tensor({std::nanf(""), inf, -inf, 0.3f}).requires_grad_();
    GridTensors const g{torch::full({}, 0.25f), torch::zeros({}, torch::kInt)};
    RangeTensors seen;
    auto const y = activate_and_quantize<Identity, Shift8>(x, g, levels_of<Int<8>>, {.seen = &seen});
    CHECK(torch::equal(y.detach(), torch::tensor({-32.0f, 31.75f, -32.0f, 0.25f})));
    y.sum().backward();
    CHECK(torch::equal(x.grad(), torch::tensor({0.0f, 0.0f, 0.0f, 1.0f})));
    CHECK(seen.min.isnan().item<bool>());
    CHECK(seen.max.isnan().item<bool>());
    RangeTensors rectified;
    auto const z =
        activate_and_quantize<ReLU, Shift8>(x.detach(), g, levels_of<Int<8>>, {.seen = &rectified});
    CHECK(torch::equal(z, torch::tensor({0.0f, 31.75f, 0.0f, 0.25f})));  // the rule of ReLU makes 0 of NaN
    CHECK(rectified.max.item<float>() == inf);
    CHECK(rectified.min.item<float>() == 0);
}

TEST_CASE("every instruction set and any number of threads give the same bits") {
    std::int64_t const n = 300007;
    auto const x = sample(n), dy = finite_sample({n});
    for_each_spec([&]<class Q>(std::type_identity<Q>) {
        for_each_type<Identity, ReLU6>([&]<class A>(std::type_identity<A>) {
            auto const grids = loops::grids_of(x, some_grid<Q>(), levels_of<typename Q::format>, -1);
            auto const run = [&](InstructionSet set, int threads) {
                Threads const limit(threads);
                auto const y = torch::zeros({n}), dx = torch::zeros({n}), again = torch::zeros({n});
                auto const bytes = torch::zeros({n}, torch::kByte);
                auto const mask = torch::zeros({loops::mask_bytes(n)}, torch::kByte);
                loops::Pass pass;
                pass.x = x.data_ptr<float>(), pass.y = y.template data_ptr<float>(), pass.n = n;
                pass.mask = mask.template data_ptr<std::uint8_t>();
                if (Q::format::bits <= 8) pass.codes = bytes.template data_ptr<std::uint8_t>();
                auto const rule = loops::fused_rule<A, Q>();
                pass.quantize = rule.quantize, pass.passes_outside = rule.passes_outside;
                pass.ends = rule.ends;
                auto const [low, high] = loops::perform(pass, grids, set).range();
                loops::apply_mask(dy.data_ptr<float>(), pass.mask, n, dx.template data_ptr<float>(), set);
                loops::decode(bytes.template data_ptr<std::uint8_t>(), n, again.template data_ptr<float>(),
                              grids, set);
                auto ends = torch::tensor({low, high}).nan_to_num();
                return std::vector<Tensor>{y, mask, bytes, dx, again, ends};
            };
            auto const expected = run(InstructionSet::baseline, 1);
            for (auto set : {InstructionSet::baseline, InstructionSet::avx2, InstructionSet::avx512})
                for (int threads : {1, 2, 3}) {
                    if (!loops::available(set)) continue;
                    CAPTURE(static_cast<int>(set));
                    CAPTURE(threads);
                    auto const got = run(set, threads);
                    for (std::size_t i = 0; i < got.size(); ++i) CHECK(same_bits(got[i], expected[i]));
                }
        });
    });
}

TEST_CASE("any strides: channels-last, transposed, slices, expanded, scalars; the gradient's too") {
    auto const x = finite_sample({4, 6, 5, 3});
    auto const g = some_grid<Tensor8>();
    auto const expected = activate_and_quantize<ReLU, Tensor8>(x, g);
    auto const upstream = torch::randn_like(x);
    auto const gradient = [&](Tensor const& t, Tensor const& up) {
        auto const leaf = t.detach().requires_grad_();
        activate_and_quantize<ReLU, Tensor8>(leaf, g).backward(up);
        return leaf.grad();
    };
    auto const expected_gradient = gradient(x, upstream);
    auto const last = [](Tensor const& t) { return t.contiguous(torch::MemoryFormat::ChannelsLast); };
    auto const turned = [](Tensor const& t) { return t.transpose(2, 3).contiguous().transpose(2, 3); };
    auto const slice = [](Tensor const& t) { return torch::stack({t, t}, -1).select(-1, 1); };
    for (auto const& view : {last(x), turned(x), slice(x)}) {
        CHECK(torch::equal(activate_and_quantize<ReLU, Tensor8>(view, g), expected));
        for (auto const& up : {upstream, last(upstream), turned(upstream), slice(upstream)})
            CHECK(torch::equal(gradient(view, up), expected_gradient));
    }
    CHECK(activate_and_quantize<ReLU, Tensor8>(last(x), g).strides() == last(x).strides());
    auto const leaf = x.clone().requires_grad_();
    activate_and_quantize<ReLU, Tensor8>(leaf, g).sum().backward();  // an expanded gradient
    CHECK(torch::equal(leaf.grad(), gradient(x, torch::ones_like(x))));
    CHECK(activate_and_quantize<ReLU, Tensor8>(torch::tensor(0.3f), g).dim() == 0);
    CHECK(activate_and_quantize<ReLU, Tensor8>(torch::ones({1}).expand({5}), g).sizes() ==
          torch::IntArrayRef{5});
    CHECK(activate_and_quantize<ReLU, Tensor8>(torch::empty({4, 0, 2}), g).numel() == 0);
}

TEST_CASE("per channel is a loop of per tensor, for every axis and layout, with gradient, range and codes") {
    auto const compare = [&]<int Axis>(std::integral_constant<int, Axis>) {
        using C = Quantizer<Int<8>, PerChannelAffine<Axis>>;
        auto const x = finite_sample({5, 7, 11, 13});
        auto const channels = x.size(Axis);
        GridTensors const g{torch::rand(channels) * 0.05 + 0.01,
                            torch::randint(-20, 20, channels, torch::kInt)};
        auto const upstream = torch::randn_like(x);
        for (auto const& t :
             {x, x.contiguous(torch::MemoryFormat::ChannelsLast),
              x.transpose(0, 2).contiguous().transpose(0, 2), torch::stack({x, x}, -1).select(-1, 0)}) {
            auto const leaf = t.detach().requires_grad_();
            RangeTensors seen;
            auto const y =
                activate_and_quantize<ReLU, C>(leaf, g, levels_of<Int<8>>, {.seen = &seen, .codes = true});
            y.backward(upstream);
            auto const codes = codes_of(y);
            CHECK(!codes.has_value());  // freed with the graph
            auto const again = activate_and_quantize<ReLU, C>(leaf, g, levels_of<Int<8>>, {.codes = true});
            CHECK(same_bits(dequantize(codes_of(again).value()), y));
            for (std::int64_t c = 0; c < channels; ++c) {
                auto const one = x.select(Axis, c).contiguous().requires_grad_();
                auto const z = activate_and_quantize<ReLU, Tensor8>(one, {g.scale[c], g.zero_point[c]});
                z.backward(upstream.select(Axis, c));
                CHECK(torch::equal(y.select(Axis, c), z));
                CHECK(torch::equal(leaf.grad().select(Axis, c), one.grad()));
                auto const r = activated_range<ReLU, PerTensorAffine>(one);
                CHECK(torch::equal(seen.min[c], r.min));
                CHECK(torch::equal(seen.max[c], r.max));
            }
        }
    };
    compare(std::integral_constant<int, 0>{});
    compare(std::integral_constant<int, 1>{});
    compare(std::integral_constant<int, 3>{});
    using C = Quantizer<Int<8>, PerChannelAffine<0>>;  // an axis of one, and none
    GridTensors const one{torch::full({1}, 0.1f), torch::zeros({1}, torch::kInt)};
    auto const x = finite_sample({1, 9});
    CHECK(torch::equal(activate_and_quantize<Identity, C>(x, one),
                       activate_and_quantize<Identity, Tensor8>(x, {one.scale[0], one.zero_point[0]})));
    GridTensors const none{torch::empty({0}), torch::empty({0}, torch::kInt)};
    CHECK(activate_and_quantize<Identity, C>(torch::empty({0, 9}), none).numel() == 0);
    CHECK_THROWS_AS((activate_and_quantize<Identity, C>(finite_sample({3, 9}), one)), c10::Error);
}

TEST_CASE("fewer levels than the format's are respected") {
    auto const x = finite_sample({4000});
    GridTensors const g{torch::full({}, 0.25f), torch::zeros({}, torch::kInt)};
    Levels const six{-32, 31};
    auto const y = activate_and_quantize<Identity, Shift8>(x, g, six);
    CHECK(y.min().item<float>() == -8.0f);
    CHECK(y.max().item<float>() == 7.75f);
    CHECK(torch::equal(y, by_hand<Identity, Shift8>(x, g, six).first));
    CHECK(torch::equal(fake_quantize<Shift8>(x, g.scale, g.zero_point, six), y));
}

TEST_CASE(
    "stochastic rounding: two neighbours, right on average, a seed decides, and without noise half to even") {
    using S = Quantizer<Int<8>, PerTensorSymmetric, Stochastic>;
    GridTensors const g{torch::full({}, 0.5f), torch::zeros({}, torch::kInt)};
    auto const x = torch::full({200000}, 1.6f);
    FusedOptions const noisy{.noise = true};
    torch::manual_seed(1);
    auto const y = activate_and_quantize<Identity, S>(x, g, levels_of<Int<8>>, noisy);
    CHECK(((y == 1.5f) | (y == 2.0f)).all().item<bool>());
    CHECK(y.mean().item<float>() == doctest::Approx(1.6).epsilon(0.002));  // 5 standard errors
    auto const other = activate_and_quantize<Identity, S>(x, g, levels_of<Int<8>>, noisy);
    CHECK(!torch::equal(y, other));
    torch::manual_seed(1);
    {
        Threads const one(1);
        CHECK(torch::equal(activate_and_quantize<Identity, S>(x, g, levels_of<Int<8>>, noisy), y));
    }
    CHECK(torch::equal(activate_and_quantize<Identity, S>(x, g),
                       activate_and_quantize<Identity, Shift8>(x, g)));
    // Neighbouring elements are independent: as many pairs of equals as chance gives.
    auto const up = (y == 2.0f).to(torch::kFloat);
    auto const pairs = (up.slice(0, 1) * up.slice(0, 0, -1)).mean().item<float>();
    CHECK(pairs == doctest::Approx(0.04).epsilon(0.05));
}

TEST_CASE("memory is reused only where nobody else can read it") {
    auto const g = some_grid<Tensor8>();
    auto const reuse = [&](Tensor const& x) {
        return activate_and_quantize<ReLU, Tensor8>(x, g, levels_of<Int<8>>, {.storage = Storage::reuse});
    };
    auto const shares = [](Tensor const& a, Tensor const& b) { return a.data_ptr() == b.data_ptr(); };
    auto const leaf = finite_sample({1000}).requires_grad_();
    SUBCASE("a temporary: reused") {
        auto const x = leaf * 2;
        auto const* memory = x.data_ptr();
        auto const y = reuse(x);
        CHECK(y.data_ptr() == memory);
        y.sum().backward();
        auto const copy = leaf.detach().clone().requires_grad_();
        activate_and_quantize<ReLU, Tensor8>(copy * 2, g).sum().backward();
        CHECK(torch::equal(leaf.grad(), copy.grad()));
    }
    SUBCASE("a leaf, a view, its base, a second handle, what autograd saved: not") {
        CHECK(!shares(reuse(leaf), leaf));
        auto const x = leaf * 2;
        auto const before = x.detach().clone();
        auto const view = x.view({10, 100});
        CHECK(!shares(reuse(view), x));
        CHECK(!shares(reuse(x), x));
        CHECK(torch::equal(x, before));
        auto const z = leaf * 2;
        auto const second = z;
        CHECK(!shares(reuse(z), z));
        auto const saved = torch::sigmoid(leaf);  // its gradient needs its result
        auto const y = reuse(saved);
        CHECK(!shares(y, saved));
        y.sum().backward();
        CHECK(leaf.grad().isfinite().all().item<bool>());
    }
    SUBCASE("fresh: never") {
        auto const x = leaf * 2;
        CHECK(!shares(activate_and_quantize<ReLU, Tensor8>(x, g), x));
    }
    SUBCASE("an activation that does not mask runs before, and its result is reused") {
        auto const y = activate_and_quantize<SiLU, Tensor8>(leaf, g);
        CHECK(torch::equal(y, activate_and_quantize<Identity, Tensor8>(torch::silu(leaf), g)));
        y.sum().backward();
        auto const copy = leaf.detach().clone().requires_grad_();
        activate_and_quantize<Identity, Tensor8>(torch::silu(copy), g).sum().backward();
        CHECK(torch::equal(leaf.grad(), copy.grad()));
    }
}

TEST_CASE("a convolution's gradients are right when its result was overwritten") {
    auto const x = finite_sample({2, 3, 9, 9}), w = finite_sample({4, 3, 3, 3});
    auto const run = [&](Storage storage) {
        auto const a = x.clone().requires_grad_(), b = w.clone().requires_grad_();
        auto const g = some_grid<Tensor8>();
        auto const y = activate_and_quantize<ReLU, Tensor8>(torch::conv2d(a, b), g, levels_of<Int<8>>,
                                                            {.storage = storage});
        (y * y).sum().backward();
        return std::pair(a.grad(), b.grad());
    };
    auto const reused = run(Storage::reuse), fresh = run(Storage::fresh);
    CHECK(torch::equal(reused.first, fresh.first));
    CHECK(torch::equal(reused.second, fresh.second));
}

TEST_CASE("the gradient can be taken twice, differentiated, and kept by others; a freed graph says so") {
    auto const g = some_grid<Tensor8>();
    auto const leaf = finite_sample({3000}).requires_grad_();
    auto const y = activate_and_quantize<ReLU, Tensor8>(leaf, g);
    auto const up = torch::randn({3000}), before = up.clone();
    y.backward(up, /*retain_graph=*/true);
    CHECK(torch::equal(up, before));  // the caller's gradient is not overwritten
    auto const once = leaf.grad().clone();
    y.backward(up);
    CHECK(torch::equal(leaf.grad(), 2 * once));
    CHECK_THROWS_WITH_AS(y.backward(up), doctest::Contains("second time"), c10::Error);

    auto const z = activate_and_quantize<ReLU, Tensor8>(leaf * 1, g);
    z.retain_grad();
    (z * z).sum().backward();
    CHECK(torch::equal(z.grad(), 2 * z));

    auto const a = finite_sample({50}).requires_grad_();
    auto const q = activate_and_quantize<ReLU, Tensor8>(a * a, g);
    auto const first = torch::autograd::grad({(q * q).sum()}, {a}, {}, true, /*create_graph=*/true)[0];
    auto const second = torch::autograd::grad({first.sum()}, {a})[0];
    auto const mask = by_hand<ReLU, Tensor8>((a * a).detach(), g, levels_of<Int<8>>).second;
    // q = Q(a^2): dL/da = 2 q m 2 a; with dq/da = m 2 a its derivative is m (8 a^2 m + 4 q)
    CHECK(torch::allclose(second, mask * (8 * a * a * mask + 4 * q)));
}

TEST_CASE("nothing is kept for the backward pass where there is none") {
    auto const g = some_grid<Tensor8>();
    auto const x = finite_sample({100});
    CHECK(!activate_and_quantize<ReLU, Tensor8>(x, g, levels_of<Int<8>>).requires_grad());
    auto const leaf = x.clone().requires_grad_();
    torch::NoGradGuard no_grad;
    auto const y = activate_and_quantize<ReLU, Tensor8>(leaf, g, levels_of<Int<8>>, {.codes = true});
    CHECK(!y.requires_grad());
    CHECK(!codes_of(y));
}

TEST_CASE("a coded convolution has the values and gradients of torch's, bit for bit") {
    torch::manual_seed(2);
    auto const x = torch::randn({2, 16, 20, 20}), w = torch::randn({32, 16, 3, 3}), b = torch::randn({32});
    using PerChannel = Quantizer<Int<8>, PerChannelSymmetric<0>>;
    for (auto const format : {torch::MemoryFormat::Contiguous, torch::MemoryFormat::ChannelsLast})
        for (bool coded_weights : {false, true})
            for (std::int64_t stride : {1, 2}) {
                auto const run = [&](bool coded) {
                    auto const lx = x.clone(format).requires_grad_(), lw = w.clone().requires_grad_(),
                               lb = b.clone().requires_grad_();
                    auto const q = on_grid(lx, coded);
                    auto const weight = activate_and_quantize<Identity, PerChannel>(
                        lw, {torch::full({32}, 0.02f), torch::zeros({32}, torch::kInt)}, levels_of<Int<8>>,
                        {.codes = coded && coded_weights});
                    auto const y = coded ? coded_conv2d(q, weight, lb, stride, 1)
                                         : torch::conv2d(q, weight, lb, stride, 1);
                    (y * y).sum().backward();
                    return std::vector<Tensor>{y, lx.grad(), lw.grad(), lb.grad()};
                };
                auto const ours = run(true), torchs = run(false);
                for (std::size_t i = 0; i < ours.size(); ++i) CHECK(same_bits(ours[i], torchs[i]));
            }
    // without a bias, and of an image that wants no gradient
    auto const image = activate_and_quantize<Identity, Shift8>(
        x, {torch::full({}, 0.0625f), torch::zeros({}, torch::kInt)}, levels_of<Int<8>>, {.codes = true});
    CHECK(codes_of(image).has_value());
    auto const lw = w.clone().requires_grad_();
    coded_conv2d(image, lw, {}, 1, 1).sum().backward();
    auto const copy = w.clone().requires_grad_();
    torch::conv2d(image.detach(), copy, {}, 1, 1).sum().backward();
    CHECK(same_bits(lw.grad(), copy.grad()));
}

TEST_CASE("codes keep their grid when the scale moves on, and are gone when the tensor was modified") {
    auto const leaf = finite_sample({100}).requires_grad_();
    GridTensors const g{torch::full({}, 0.0625f), torch::zeros({}, torch::kInt)};
    auto y = on_grid(leaf, true, g);
    auto const before = y.detach().clone();
    g.scale.fill_(3), g.zero_point.fill_(5);
    CHECK(same_bits(dequantize(codes_of(y).value()), before));
    CHECK(!codes_of(y.view({10, 10})));
    CHECK(!codes_of(y.detach()));
    CHECK(!codes_of(Tensor()));
    {
        torch::NoGradGuard no_grad;
        y.add_(1);
    }
    CHECK(!codes_of(y));
}

TEST_CASE("a coded concatenation has torch's values and gradients, and joins codes that lie on one grid") {
    auto const a = finite_sample({2, 8, 6, 6}), b = finite_sample({2, 4, 3, 3});
    auto const w = finite_sample({5, 20, 1, 1});
    auto const run = [&](bool coded) {
        auto const la = a.clone().requires_grad_(), lb = b.clone().requires_grad_(),
                   lw = w.clone().requires_grad_();
        auto const qa = on_grid(la, coded), qb = on_grid(lb, coded);
        std::vector<Tensor> const parts{torch::upsample_nearest2d(qb, {6, 6}), qa,
                                        torch::max_pool2d(qa, 3, 1, 1)};
        auto const y = coded ? coded_cat(parts, 1) : torch::cat(parts, 1);
        if (coded) {
            REQUIRE(codes_of(y).has_value());
            CHECK(same_bits(dequantize(*codes_of(y)), y));
        }
        auto const z = coded ? coded_conv2d(y, lw, {}) : torch::conv2d(y, lw);
        (z * z).sum().backward();
        return std::vector<Tensor>{z, la.grad(), lb.grad(), lw.grad()};
    };
    auto const ours = run(true), torchs = run(false);
    for (std::size_t i = 0; i < ours.size(); ++i) CHECK(same_bits(ours[i], torchs[i]));

    auto const la = a.clone().requires_grad_();
    auto const q = on_grid(la, true);
    auto const elsewhere = on_grid(la, true, {torch::full({}, 0.1f), torch::zeros({}, torch::kInt)});
    auto const mixed = coded_cat({q, elsewhere}, 1);
    CHECK(!codes_of(mixed));
    CHECK(torch::equal(mixed, torch::cat({q, elsewhere}, 1)));
    CHECK(!codes_of(coded_cat({q, la}, 1)));                      // floats off the grid
    CHECK(codes_of(coded_cat({q, q.detach()}, -3)).has_value());  // floats on it
}

TEST_CASE("two consumers share one copy of the codes, and the floats are freed") {
    auto const leaf = finite_sample({2, 8, 16, 16}).requires_grad_();
    auto const w1 = finite_sample({8, 8, 1, 1}).requires_grad_(),
               w2 = finite_sample({8, 8, 3, 3}).requires_grad_();
    Tensor y = on_grid(leaf, true);
    auto const codes = codes_of(y).value();
    c10::weak_intrusive_ptr<c10::StorageImpl> const floats(
        c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(y.storage().unsafeGetStorageImpl()));
    auto const a = coded_conv2d(y, w1, {}), b = coded_conv2d(y, w2, {}, 1, 1);
    auto const c = coded_conv2d(coded_cat({y, y}, 1), torch::cat({w1, w1}, 1), {});
    CHECK(codes_of(y)->values.data_ptr() == codes.values.data_ptr());
    y.reset();
    CHECK(floats.expired());
    auto const alive = codes.values.storage().use_count();
    CHECK(alive == 1);  // one tensor, which the history, both convolutions and this test refer to
    (a.sum() + b.sum() + c.sum()).backward();
    CHECK(leaf.grad().defined());
}
