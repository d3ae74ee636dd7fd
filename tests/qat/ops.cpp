// Tensor functions of whole specifications: torch's own operators and the golden values as oracles. laws.cpp has the rest
// of the combinations.

#include "support/doctest.hpp"

#include <qat/core/catalogue.hpp>
#include <qat/nn/fake_quantize.hpp>
#include <qat/ops/activate.hpp>
#include <qat/ops/fake_quantize.hpp>

#include <boost/hana/size.hpp>

namespace {
using namespace qat;

constexpr auto legal = legal_quantizers(
    hana::tuple_t<Int<8>, Int<8, Range::narrow>, UInt<4>, Int<16>>,
    hana::tuple_t<PerTensorAffine, PerTensorSymmetric, PerChannelAffine<0>, PerChannelSymmetric<1>>,
    hana::tuple_t<MinMax>, hana::tuple_t<AnyScale, PowerOfTwo<Nearest>>);
static_assert(decltype(hana::size(legal))::value == 3 * 2 + 4 * 2 * 2);

template <class F> void for_each_legal(F&& f) {
    hana::for_each(legal, [&](auto q) {
        using Q = typename decltype(q)::type;
        CAPTURE(describe<Q>());
        f(q);
    });
}

torch::Tensor sample() {  // ties, signed zeros, large and tiny values
    torch::manual_seed(3);
    auto x = torch::randn({4, 6, 5, 3}) * 2;
    auto flat = x.view({-1});
    flat[0] = 0.0, flat[1] = -0.0, flat[2] = 0.5, flat[3] = 1.5, flat[4] = -2.5, flat[5] = 1e30,
    flat[6] = -1e30, flat[7] = 1e-30;
    return x;
}

template <class Q> GridTensors grid_for(torch::Tensor const& x) {
    auto const r = range<typename Q::scheme>(x.clamp(-6, 6));
    return choose_grid<Q>(r.min, r.max);
}

// The slow, obvious version: one element after the other through the scalar rule.
template <class Q> torch::Tensor by_hand(torch::Tensor const& x, GridTensors const& g) {
    auto y = torch::empty_like(x, torch::MemoryFormat::Contiguous);
    auto const in = x.contiguous();
    torch::Tensor const s = g.scale.reshape({-1}), z = g.zero_point.reshape({-1});
    std::int64_t inner = 1;
    for (std::int64_t d = Q::scheme::axis + 1; d < x.dim(); ++d) inner *= x.size(d);
    for (std::int64_t i = 0; i < in.numel(); ++i) {
        auto const c = Q::scheme::per_channel ? i / inner % x.size(Q::scheme::axis) : 0;
        float const scale = s[c].template item<float>();
        auto const code = quantize<typename Q::rounding>(
            in.data_ptr<float>()[i], 1.0f / scale,
            bounds(Q::format::lo, Q::format::hi, z[c].template item<std::int32_t>()));
        y.data_ptr<float>()[i] = dequantize(code.value, scale);
    }
    return y;
}
}  // namespace

TEST_CASE("fake quantization is the scalar rule, element by element, bit for bit") {
    auto const x = sample();
    for_each_legal([&](auto q) {
        using Q = typename decltype(q)::type;
        auto const g = grid_for<Q>(x);
        CHECK(torch::equal(fake_quantize<Q>(x, g.scale, g.zero_point), by_hand<Q>(x, g)));
        auto const leaf = x.clone().requires_grad_();  // with a gradient: the same values
        CHECK(torch::equal(fake_quantize<Q>(leaf, g.scale, g.zero_point), by_hand<Q>(x, g)));
    });
}

TEST_CASE("fake quantization and its gradient equal torch's operators") {
    auto const x = sample();
    torch::manual_seed(4);
    auto const upstream = torch::randn_like(x);
    for_each_legal([&](auto q) {
        using Q = typename decltype(q)::type;
        auto const g = grid_for<Q>(x);
        auto const run = [&](auto f) {
            auto const leaf = x.clone().requires_grad_();
            auto const y = f(leaf);
            y.backward(upstream);
            return std::pair(y.detach(), leaf.grad());
        };
        auto const ours = run([&](auto const& t) { return fake_quantize<Q>(t, g.scale, g.zero_point); });
        auto const torchs = run([&](auto const& t) {
            if constexpr (Q::scheme::per_channel)
                return torch::fake_quantize_per_channel_affine(t, g.scale, g.zero_point, Q::scheme::axis,
                                                               Q::format::lo, Q::format::hi);
            else
                return torch::fake_quantize_per_tensor_affine(t, g.scale, g.zero_point, Q::format::lo,
                                                              Q::format::hi);
        });
        // 1e30 / s leaves int64 inside torch's kernel, where C++ defines no result: those two elements are ours alone.
        auto const sane = x.abs() < 1e6;
        CHECK(torch::equal(ours.first.index({sane}), torchs.first.index({sane})));
        CHECK(torch::equal(ours.second.index({sane}), torchs.second.index({sane})));
        CHECK(ours.second.index({~sane}).abs().max().template item<float>() == 0);
    });
}

TEST_CASE("a quantized tensor is on the grid, quantizing again changes nothing, and order is kept") {
    auto const x = std::get<0>(sample().flatten().sort()).view({4, 6, 5, 3});
    for_each_legal([&](auto q) {
        using Q = typename decltype(q)::type;
        auto const g = grid_for<Q>(x);
        auto const y = fake_quantize<Q>(x, g.scale, g.zero_point);
        CHECK(torch::equal(fake_quantize<Q>(y, g.scale, g.zero_point), y));
        std::vector<std::int64_t> shape(4, 1);
        if (Q::scheme::per_channel) shape[Q::scheme::axis] = -1;
        auto const codes = y / g.scale.view(Q::scheme::per_channel ? shape : std::vector<std::int64_t>{}) +
                           g.zero_point.view(Q::scheme::per_channel ? shape : std::vector<std::int64_t>{});
        CHECK(torch::allclose(codes, codes.round(), 0, 1e-2));  // 16-bit codes have 2^-8 of float left
        CHECK(codes.round().min().template item<float>() >= Q::format::lo);
        CHECK(codes.round().max().template item<float>() <= Q::format::hi);
        if constexpr (!Q::scheme::per_channel) {
            auto const steps = y.flatten().diff();
            CHECK(steps.min().template item<float>() >= 0);
        }
        if constexpr (Q::scale::power_of_two) {
            auto const k = torch::log2(g.scale);
            CHECK(torch::equal(k, k.round()));
        }
    });
}

TEST_CASE("a symmetric grid is odd inside its range") {
    using Q = Quantizer<Int<8, Range::narrow>, PerTensorSymmetric>;
    auto const x = sample();
    auto const g = grid_for<Q>(x);
    CHECK(torch::equal(fake_quantize<Q>(-x, g.scale, g.zero_point),
                       -fake_quantize<Q>(x, g.scale, g.zero_point)));
}

TEST_CASE("per channel equals a loop of per tensor") {
    using Channels = Quantizer<Int<8>, PerChannelAffine<1>>;
    using Tensor = Quantizer<Int<8>, PerTensorAffine>;
    auto const x = sample();
    auto const g = grid_for<Channels>(x);
    auto const y = fake_quantize<Channels>(x, g.scale, g.zero_point);
    for (std::int64_t c = 0; c < x.size(1); ++c)
        CHECK(
            torch::equal(y.select(1, c), fake_quantize<Tensor>(x.select(1, c), g.scale[c], g.zero_point[c])));
}

TEST_CASE("strides, channels-last, scalars and empty tensors are fine") {
    auto const x = sample();
    for_each_legal([&](auto q) {
        using Q = typename decltype(q)::type;
        auto const g = grid_for<Q>(x);
        auto const expected = fake_quantize<Q>(x, g.scale, g.zero_point);
        auto const upstream = torch::arange(x.numel()).to(torch::kFloat).view_as(x);
        auto const gradient = [&](torch::Tensor const& t) {
            auto const leaf = t.detach().requires_grad_();
            fake_quantize<Q>(leaf, g.scale, g.zero_point).backward(upstream);
            return leaf.grad();
        };
        auto const expected_gradient = gradient(x);
        for (auto const& view :
             {x.contiguous(torch::MemoryFormat::ChannelsLast), x.transpose(2, 3).contiguous().transpose(2, 3),
              torch::stack({x, x}, -1).select(-1, 1)}) {
            CHECK(torch::equal(fake_quantize<Q>(view, g.scale, g.zero_point), expected));
            CHECK(torch::equal(gradient(view), expected_gradient));
        }
        auto const none = torch::empty({4, 6, 0, 3});
        CHECK(fake_quantize<Q>(none, g.scale, g.zero_point).sizes() == none.sizes());
        if constexpr (!Q::scheme::per_channel) {
            auto const scalar = torch::tensor(0.3f);
            auto const y = fake_quantize<Q>(scalar, g.scale, g.zero_point);
            CHECK(y.dim() == 0);
            CHECK(torch::equal(y, torch::fake_quantize_per_tensor_affine(scalar, g.scale, g.zero_point,
                                                                         Q::format::lo, Q::format::hi)));
        }
    });
}

TEST_CASE("whatever the rounding, and where gradients pass outside, fake quantization is the scalar rule") {
    auto const x = sample();
    constexpr auto specs =
        legal_quantizers(hana::tuple_t<Int<4>>, hana::tuple_t<PerTensorAffine, PerChannelSymmetric<3>>,
                         hana::tuple_t<HalfUp, Stochastic>, hana::tuple_t<StraightThrough, PassThrough>);
    static_assert(decltype(hana::size(specs))::value == 2 * 2 * 2);
    hana::for_each(specs, [&](auto q) {
        using Q = typename decltype(q)::type;
        CAPTURE(describe<Q>());
        auto const g = grid_for<Q>(x);
        auto const leaf = x.clone().requires_grad_();
        auto const y = fake_quantize<Q>(leaf, g.scale, g.zero_point);
        CHECK(torch::equal(y.detach(),
                           by_hand<Q>(x, g)));  // stochastic: half to even, since nobody asked for noise
        y.backward(torch::ones_like(x));
        auto const passed = leaf.grad().sum().template item<float>();
        CHECK((passed == static_cast<float>(x.numel())) == Q::estimator::passes_outside);
    });
}

TEST_CASE("with fewer levels the same kernels quantize with fewer bits") {
    auto const x = sample();
    using Q = Quantizer<Int<8>, PerTensorSymmetric>;
    using Fewer = Quantizer<Int<5>, PerTensorSymmetric>;
    auto const g = grid_for<Fewer>(x);
    auto const y = fake_quantize<Q>(x, g.scale, g.zero_point, levels_of<Int<5>>);
    CHECK(torch::equal(y, fake_quantize<Fewer>(x, g.scale, g.zero_point)));
    CHECK_FALSE(torch::equal(y, fake_quantize<Q>(x, g.scale, g.zero_point)));
}

TEST_CASE("a grid per group is a grid per channel whose scales are shared, the last group smaller") {
    auto const follow = [&]<class Spec>(Spec, auto const& group_of) {
        torch::manual_seed(6);
        auto const x = torch::randn({7, 5, 3, 3}) * torch::arange(1, 8).view({7, 1, 1, 1});
        nn::FakeQuantize<Spec> grid(7);
        auto const y = grid(x);
        auto const groups = grid->scale;
        REQUIRE(groups.numel() == 3);
        auto const [scale, zero_point] = grid->by_channel();
        REQUIRE(scale.numel() == 7);
        for (std::int64_t c = 0; c < 7; ++c)
            CHECK(scale[c].template item<float>() == groups[group_of(c)].template item<float>());
        using Channels = typename Spec::template vary<PerChannelSymmetric<0>>;
        CHECK(torch::equal(y, fake_quantize<Channels>(x, scale, zero_point)));
        for (std::int64_t g = 0; g < 3; ++g) {  // and each group is a tensor of its own
            auto const part = x.narrow(0, 3 * g, g < 2 ? 3 : 1);
            nn::FakeQuantize<typename Spec::template vary<PerTensorSymmetric>> alone;
            CHECK(torch::equal(alone(part), y.narrow(0, 3 * g, part.size(0))));
            CHECK(alone->scale.template item<float>() == groups[g].template item<float>());
        }
    };
    auto const thirds = [](std::int64_t c) { return c / 3; };
    follow(Quantizer<Int<8>, PerGroup<3>, MinMax>{}, thirds);
    follow(Quantizer<Int<4>, PerGroup<3>, PowerOfTwo<Ceil>, HalfUp>{}, thirds);
}

TEST_CASE("NaN becomes the lowest value without a gradient, infinities the ends") {
    using Q = Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Ceil>>;
    constexpr float inf = std::numeric_limits<float>::infinity();
    auto const x = torch::tensor({std::nanf(""), inf, -inf, 0.3f}).requires_grad_();
    auto const scale = torch::tensor(0.25f), zero = torch::tensor(0, torch::kInt);
    auto const y = fake_quantize<Q>(x, scale, zero);
    CHECK(torch::equal(y.detach(), torch::tensor({-32.0f, 31.75f, -32.0f, 0.25f})));
    y.sum().backward();
    CHECK(torch::equal(x.grad(), torch::tensor({0.0f, 0.0f, 0.0f, 1.0f})));
}

TEST_CASE("grids chosen for tensors equal the scalar rule, bit for bit") {
    torch::manual_seed(5);
    auto const lo =
        torch::cat({-torch::rand(200) * 20, torch::zeros(3), torch::tensor({-4.0f, -8.0f, 1.0f, -1e-12f})});
    auto const hi =
        torch::cat({torch::rand(200) * 20, torch::zeros(3), torch::tensor({4.0f, 1.0f, 2.0f, 1e-12f})});
    for_each_legal([&](auto q) {
        using Q = typename decltype(q)::type;
        auto const g = choose_grid<Q>(lo, hi);
        for (std::int64_t i = 0; i < lo.numel(); ++i) {
            auto const one = choose_grid<Q>(lo[i].item<float>(), hi[i].item<float>());
            CHECK(g.scale[i].template item<float>() == one.scale);
            CHECK(g.zero_point[i].template item<std::int32_t>() == one.zero_point);
        }
    });
}

TEST_CASE("activations are what their names say") {
    auto const x = torch::linspace(-8, 8, 33);
    CHECK(torch::equal(activate(ReLU{}, x), x.clamp_min(0)));
    CHECK(torch::equal(activate(ReLU6{}, x), x.clamp(0, 6)));
    CHECK(torch::allclose(activate(SiLU{}, x), x * torch::sigmoid(x)));
    for (auto const& y : {activate(ReLU{}, x), activate(ReLU6{}, x)}) CHECK(y.min().item<float>() >= 0);
    CHECK(activate(SiLU{}, x).min().item<float>() < 0);
}

TEST_SUITE("shared") {
    TEST_CASE("fake quantization and gradient equal the golden values") {
        NEEDS_SHARED("golden/fake_quant.pt");
        auto const golden = support::golden("fake_quant.pt");
        auto const x = golden.at("x"), upstream = golden.at("grad_out");
        int compared = 0;
        auto const compare =
            [&]<class Q>(Q, std::string const& name, torch::Tensor const& scale, torch::Tensor const& zero) {
            CAPTURE(name);
            auto const leaf = x.clone().requires_grad_();
            auto const y = fake_quantize<Q>(leaf, scale, zero);
            y.backward(upstream);
            CHECK(torch::equal(y.detach(), golden.at(name + ".y")));
            CHECK(torch::equal(leaf.grad(), golden.at(name + ".grad")));
            ++compared;
        };
        auto const tensor = [&]<class Q>(Q spec, std::string const& name) {
            auto const p = golden.at("tensor." + name + ".param");
            CHECK(p[2].template item<double>() == Q::format::lo);
            CHECK(p[3].template item<double>() == Q::format::hi);
            compare(spec, "tensor." + name, p[0].to(torch::kFloat), p[1].to(torch::kInt));
        };
        auto const channel = [&]<class Q>(Q spec, std::string const& name) {
            compare(spec, "channel." + name, golden.at("channel." + name + ".scale"),
                    golden.at("channel." + name + ".zero_point"));
        };
        for (auto const* name : {"sym8", "asym8", "pow2", "ties"})
            tensor(Quantizer<Int<8>, PerTensorAffine>{}, name);
        tensor(Quantizer<UInt<8>, PerTensorAffine>{}, "uint8");
        tensor(Quantizer<Int<4>, PerTensorAffine>{}, "int4");
        for (auto const* name : {"sym8", "asym8"}) channel(Quantizer<Int<8>, PerChannelAffine<1>>{}, name);
        channel(Quantizer<Int<4>, PerChannelAffine<1>>{}, "int4");
        CHECK(compared == 9);
    }

    TEST_CASE("observers follow a sequence of tensors as torch.ao's do") {
        NEEDS_SHARED("golden/observers.pt");
        auto const golden = support::golden("observers.pt");
        auto const sequence = golden.at("sequence");
        auto const follow = [&]<class Q>(Q, std::string const& name) {
            nn::FakeQuantize<Q> grid(6);
            for (std::int64_t k = 0; k < sequence.size(0); ++k) {
                auto const key = name + ".after" + std::to_string(k) + ".";
                CAPTURE(key);
                grid(sequence[k]);
                auto const buffers = grid->named_buffers();
                CHECK(support::relative_error(buffers["min"], golden.at(key + "min")) < 1e-6);
                CHECK(support::relative_error(buffers["max"], golden.at(key + "max")) < 1e-6);
                CHECK(support::relative_error(buffers["scale"], golden.at(key + "scale")) < 1e-6);
                CHECK(torch::equal(buffers["zero_point"].reshape({-1}),
                                   golden.at(key + "zero_point").to(torch::kInt)));
            }
        };
        follow(Quantizer<Int<8>, PerTensorAffine, MinMax>{}, "minmax.affine");
        follow(Quantizer<Int<8>, PerTensorSymmetric, MinMax>{}, "minmax.symmetric");
        follow(Quantizer<UInt<8>, PerTensorAffine, MinMax>{}, "minmax.uint8");
        follow(Quantizer<Int<8>, PerTensorAffine, MovingAverageMinMax<>>{}, "moving.affine");
        follow(Quantizer<Int<8>, PerTensorSymmetric, MovingAverageMinMax<>>{}, "moving.symmetric");
        follow(Quantizer<Int<8>, PerChannelAffine<1>, MinMax>{}, "channel.affine");
        follow(Quantizer<Int<8>, PerChannelSymmetric<1>, MinMax>{}, "channel.symmetric");
        follow(Quantizer<Int<8>, PerChannelAffine<1>, MovingAverageMinMax<>>{}, "moving_channel.affine");

        nn::FakeQuantize<Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Ceil>, MinMax>> shift;
        shift(sequence[0]);
        CHECK(shift->scale.item<float>() == golden.at("pow2_ceil.int8.first").item<float>());
    }
}
