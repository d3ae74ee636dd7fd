// The fused operation on devices: torch's operators, and the CUDA kernels run on the CPU, both against the scalar rules.

#include "support/doctest.hpp"

#include "cuda/rules.hpp"

#include "cuda/emulated.hpp"

namespace {
using namespace qat;
using namespace rules;
}  // namespace

TEST_CASE("torch's operators give the scalar rules' values, gradients, codes and extremes, in every layout") {
    for (auto const& x : layouts(sample()))
        for_each_case([&]<class A, class Q>(Case<A, Q>) { check_against_rules<A, Q>(x, nullptr); });
}

TEST_CASE("the CUDA kernels, run on the CPU, give the scalar rules' values, gradients, codes and extremes") {
    for (auto const& x : layouts(sample()))
        for_each_case(
            [&]<class A, class Q>(Case<A, Q>) { check_against_rules<A, Q>(x, &emulated::kernels); });
}

TEST_CASE("so they do for every combination of what a device computes, with the integers of every format") {
    check_combinations(&emulated::kernels);
    check_combinations(nullptr);
}

TEST_CASE("half precision is computed in float32 and its gradient comes back in its own type") {
    using Q = Quantizer<Int<8>, PerTensorAffine>;
    for (auto const type : {torch::kHalf, torch::kBFloat16})
        for (auto const& x : layouts(sample())) {
            auto const t = x.to(type);
            check_against_rules<ReLU, Q>(t, nullptr);
            check_against_rules<ReLU, Q>(t, &emulated::kernels);
            check_against_rules<Identity, Quantizer<Int<8>, PerChannelAffine<1>>>(t, &emulated::kernels);
        }
}

TEST_CASE("tensors of any size are done to the last element, and no further") {
    using Q = Quantizer<Int<8>, PerTensorAffine>;
    using C = Quantizer<Int<8>, PerChannelAffine<0>>;
    torch::manual_seed(5);
    for (std::int64_t const n : {0, 1, 7, 8, 9, 31, 33, 127, 129, 2049, 5000}) {
        CAPTURE(n);
        auto const x = torch::randn({n}) * 20;
        check_against_rules<ReLU, Q>(x, &emulated::kernels);
        check_against_rules<ReLU, Q>(x, nullptr);
        if (n < 200) check_against_rules<Identity, C>(x.view({n, 1}), &emulated::kernels);
        check_against_rules<Identity, C>(x.view({1, n}), &emulated::kernels);
    }
    check_against_rules<ReLU, Q>(torch::tensor(1.3f), &emulated::kernels);
    check_against_rules<ReLU, Q>(torch::tensor(1.3f), nullptr);
}

TEST_CASE("a kernel writes nothing beyond its tensors") {
    torch::manual_seed(6);
    for (std::int64_t const n : {1, 9, 250}) {
        auto const x = torch::randn({n});
        auto const y = torch::full({n + 8}, 77.0f), ends = torch::zeros({2});
        auto const passes = torch::full({(n + 7) / 8 + 8}, 77, torch::kByte),
                   codes = torch::full({n + 8}, 77, torch::kByte);
        auto const scale = torch::ones({1}), zero = torch::zeros({1}, torch::kInt);
        emulated::kernels.forward(
            {.plan = {},
             .grid = {scale.data_ptr<float>(), zero.data_ptr<std::int32_t>(), -128, 127, 1, 1},
             .x = x.data_ptr(),
             .y = y.data_ptr<float>(),
             .passes = passes.data_ptr<std::uint8_t>(),
             .codes = codes.data_ptr<std::uint8_t>(),
             .min = ends.data_ptr<float>(),
             .max = ends.data_ptr<float>() + 1,
             .count = n,
             .type = cuda::Element::float32,
             .device = 0});
        CHECK((y.slice(0, n) == 77).all().item<bool>());
        CHECK((codes.slice(0, n) == 77).all().item<bool>());
        CHECK((passes.slice(0, (n + 7) / 8) == 77).all().item<bool>());
        CHECK(torch::equal(ends, torch::stack({x.min(), x.max()})));
    }
}

TEST_CASE("element 8 b + k of memory is bit k of byte b, and bits beyond the end are 0") {
    auto const x = torch::zeros({21});
    auto flat = x.accessor<float, 1>();
    for (std::int64_t const i : {0, 3, 9, 20}) flat[i] = 1.0f;  // all others do not pass the relu
    auto const scale = torch::ones({}), zero = torch::zeros({}, torch::kInt);
    auto const got = cuda::forward(emulated::kernels, x, scale, zero,
                                   {.activation = cuda::ActivationKind::relu}, {}, true);
    CHECK(torch::equal(got.passes, torch::tensor({0b1001, 0b10, 0b10000}, torch::kByte)));
    auto const all = cuda::forward(emulated::kernels, x, scale, zero, {}, {}, true);
    CHECK(torch::equal(all.passes, torch::tensor({0xff, 0xff, 0x1f}, torch::kByte)));
}

TEST_CASE("levels step down without another type") {
    using Q = Quantizer<Int<8>, PerTensorSymmetric>;
    for (auto const* k : {&emulated::kernels, static_cast<cuda::Kernels const*>(nullptr)})
        check_against_rules<Identity, Q>(sample(), k, {-8, 7});
}

TEST_CASE("the result may take over the memory of x") {
    using Q = Quantizer<Int<8>, PerTensorAffine>;
    auto const g = grid_for<Q>(sample());
    for (auto const format : {torch::MemoryFormat::Contiguous, torch::MemoryFormat::ChannelsLast}) {
        auto const x = sample().contiguous(format);
        auto const want =
            cuda::activate_and_quantize(cuda::rule<ReLU, Q>(), x, g, {-128, 127}, {}, &emulated::kernels).y;
        auto const source = x.clone().requires_grad_();
        auto const temporary = source * 1;  // as a convolution's output, which nobody reads again
        auto const y = cuda::activate_and_quantize(cuda::rule<ReLU, Q>(), temporary, g, {-128, 127},
                                                   {.reuse = true}, &emulated::kernels)
                           .y;
        CHECK(y.data_ptr() == temporary.data_ptr());
        CHECK(torch::equal(y.detach(), want));
        y.sum().backward();
        auto const plain = x.clone().requires_grad_();
        cuda::activate_and_quantize(cuda::rule<ReLU, Q>(), plain, g, {-128, 127}, {}, &emulated::kernels)
            .y.sum()
            .backward();
        CHECK(torch::equal(source.grad(), plain.grad()));
    }
}

TEST_CASE("a gradient in another layout is put in order") {
    using Q = Quantizer<Int<8>, PerTensorAffine>;
    auto const x = sample();
    auto const dy = torch::randn_like(x);
    auto const g = grid_for<Q>(x);
    auto const gradient = [&](torch::Tensor const& upstream) {
        auto const leaf = x.clone().requires_grad_();
        cuda::activate_and_quantize(cuda::rule<ReLU, Q>(), leaf, g, {-128, 127}, {}, &emulated::kernels)
            .y.backward(upstream);
        return leaf.grad();
    };
    auto const wide = torch::zeros({3, 5, 7, 12}).slice(3, 0, 12, 2);
    wide.copy_(dy);
    CHECK(torch::equal(gradient(dy.contiguous(torch::MemoryFormat::ChannelsLast)), gradient(dy)));
    CHECK(torch::equal(gradient(wide), gradient(dy)));
}

TEST_CASE("without noise stochastic rounding rounds half to even, and seeds differ") {
    using S = Quantizer<Int<8>, PerTensorAffine, Stochastic>;
    using E = Quantizer<Int<8>, PerTensorAffine>;
    auto const x = sample();
    auto const g = grid_for<S>(x);
    for (auto const* k : {&emulated::kernels, static_cast<cuda::Kernels const*>(nullptr)}) {
        auto const with = [&](cuda::Request const& r) {
            return cuda::activate_and_quantize(cuda::rule<Identity, S>(), x, g, {-128, 127}, r, k).y;
        };
        CHECK(
            torch::equal(with({.seed = 9}),
                         cuda::activate_and_quantize(cuda::rule<Identity, E>(), x, g, {-128, 127}, {}, k).y));
        CHECK(torch::equal(with({.noise = true, .seed = 9}), with({.noise = true, .seed = 9})));
        CHECK(!torch::equal(with({.noise = true, .seed = 9}), with({.noise = true, .seed = 10})));
    }
}

TEST_CASE("extremes: of a tensor and of channels, with NaN, infinities and nothing at all") {
    auto const check = [&]<class A, class S>(torch::Tensor const& x, A, S) {
        for (auto const* k : {&emulated::kernels, static_cast<cuda::Kernels const*>(nullptr)}) {
            auto const got = cuda::activated_range<A, S>(x, k);
            auto const want = range<S>(activate(A{}, x.to(torch::kFloat)));
            CHECK(got.min.sizes() == want.min.sizes());
            CHECK(same(got.min, want.min));
            CHECK(same(got.max, want.max));
        }
    };
    torch::manual_seed(7);
    auto const x = torch::randn({6, 4, 5, 9}) * 3 - 1;
    auto const negative = -x.abs() - 1, positive = x.abs() + 1;
    auto const infinite = x.clone(), poisoned = x.clone();
    infinite.view({-1})[17] = inf, infinite.view({-1})[999] = -inf, poisoned.view({-1})[555] = not_a_number;
    for (auto const& t : {x, negative, positive, infinite, poisoned, -poisoned}) {
        check(t, Identity{}, PerTensorAffine{});
        check(t, Identity{}, PerChannelAffine<0>{});
        check(t, Identity{}, PerChannelAffine<1>{});
        check(t.contiguous(torch::MemoryFormat::ChannelsLast), Identity{}, PerChannelAffine<1>{});
        check(t.slice(3, 0, 9, 2), Identity{}, PerTensorAffine{});
        check(t.to(torch::kHalf), Identity{}, PerTensorAffine{});
        check(t.to(torch::kBFloat16), Identity{}, PerChannelAffine<1>{});
    }
    for (auto const& t : {x, negative, positive, infinite}) {
        check(t, ReLU{}, PerTensorAffine{});
        check(t, ReLU6{}, PerTensorAffine{});
        check(t, ReLU{}, PerChannelAffine<1>{});
        check(t, SiLU{}, PerTensorAffine{});
    }
    check(torch::empty({0, 3}), Identity{}, PerTensorAffine{});
    check(torch::empty({0, 3}), Identity{}, PerChannelAffine<1>{});
}

TEST_CASE("learned ranges: the kernels' gradients are the sums of the scalar slopes, and equal every time") {
    using cuda::LearnedKind;
    auto const& k = emulated::kernels;
    auto const x = sample().clamp(-1e3, 1e3);  // keeps NaN; dy * 1e30 is no number to compare
    torch::manual_seed(9);
    auto const large = torch::randn({33001}) * 2;  // several blocks
    auto const last = x.contiguous(torch::MemoryFormat::ChannelsLast);
    for (auto const& t : {x, last, x.slice(3, 1, 4), large}) {
        check_learned<LearnedStep, HalfEven>(t, k, LearnedKind::step, -1);
        check_learned<TrainedThreshold, HalfUp>(t, k, LearnedKind::log2_threshold, -1);
        check_learned<PACT, HalfEven>(t, k, LearnedKind::clip, -1);
    }
    for (auto const& t : {x, last}) {
        check_learned<LearnedStep, HalfAwayFromZero>(t, k, LearnedKind::step, 0);
        check_learned<LearnedStep, RoundDown>(t, k, LearnedKind::step, 1);
        check_learned<TrainedThreshold, HalfEven>(t, k, LearnedKind::log2_threshold, 1);
    }
    check_learned<LearnedStep, HalfEven>(torch::randn({2, 90000}), k, LearnedKind::step,
                                         0);  // several a channel
    check_learned<LearnedStep, HalfEven>(torch::empty({0}), k, LearnedKind::step, -1);
}

TEST_CASE("ranges and grids move by the scalar rules") {
    check_moves(emulated::kernels);
    check_learned_grids(emulated::kernels);
}

TEST_CASE("so they are for every estimator, rounding and format") {
    using cuda::LearnedKind;
    auto const x = sample().clamp(-1e3, 1e3).slice(2, 0, 2);
    auto const each_format = [&]<class E, class R>(E, R, LearnedKind kind) {
        for (auto const levels :
             {levels_of<Int<8>>, levels_of<Int<4>>, levels_of<UInt<8>>, levels_of<Int<2>>})
            for (std::int64_t const axis : {-1, 0, 1})
                if (axis < 0 || kind != LearnedKind::clip)  // PACT clips a whole tensor
                    check_learned<E, R>(x, emulated::kernels, kind, axis, torch::kCPU, levels);
    };
    auto const each_estimator = [&](auto rounding) {
        each_format(LearnedStep{}, rounding, LearnedKind::step);
        each_format(LearnedStepAndOffset{}, rounding, LearnedKind::step);
        each_format(TrainedThreshold{}, rounding, LearnedKind::log2_threshold);
        each_format(PACT{}, rounding, LearnedKind::clip);
    };
    each_estimator(HalfEven{}), each_estimator(HalfAwayFromZero{});
    each_estimator(HalfUp{}), each_estimator(RoundDown{});
}

TEST_CASE("the place in memory of a channel's elements is a permutation") {
    for (std::int64_t const channels : {1, 3, 8})
        for (std::int64_t const inner : {1, 2, 5})
            for (std::int64_t const outer : {1, 4}) {
                std::vector<int> met(static_cast<std::size_t>(channels * inner * outer));
                for (std::int64_t c = 0; c < channels; ++c)
                    for (std::int64_t j = 0; j < inner * outer; ++j) {
                        auto const i = cuda::place_in_channel(c, j, channels, inner);
                        CHECK(i / inner % channels == c);
                        ++met[static_cast<std::size_t>(i)];
                    }
                CHECK(std::all_of(met.begin(), met.end(), [](int n) { return n == 1; }));
            }
    // beyond 32 bits
    std::int64_t const far = (std::int64_t{1} << 33) + 5;
    CHECK(cuda::place_in_channel(2, far, 4, 3) == (far / 3 * 4 + 2) * 3 + far % 3);
}

TEST_CASE("wrong arguments are refused with what was found and what was wanted") {
    auto const& k = emulated::kernels;
    auto const x = torch::zeros({2, 3}), one = torch::ones({}), zero = torch::zeros({}, torch::kInt);
    auto const run = [&](torch::Tensor const& t, torch::Tensor const& s, torch::Tensor const& z,
                         cuda::KernelPlan const& p,
                         cuda::Request const& r = {}) { return cuda::forward(k, t, s, z, p, r, true); };
    CHECK_THROWS_WITH_AS(run(x.to(torch::kDouble), one, zero, {}),
                         doctest::Contains("want float32, float16 or bfloat16"), c10::Error);
    CHECK_THROWS_WITH_AS(run(x, torch::ones({2}), zero, {}),
                         doctest::Contains("of 2 elements, want 1 of float32"), c10::Error);
    CHECK_THROWS_WITH_AS(run(x, one, torch::zeros({}), {}), doctest::Contains("want 1 of int32"), c10::Error);
    CHECK_THROWS_WITH_AS(run(x, one, zero, {.axis = 1}),
                         doctest::Contains("of 1 elements, want 3 of float32"), c10::Error);
    CHECK_THROWS_WITH_AS(run(x, one, zero, {.axis = 2}), doctest::Contains("x has 2 axes"), c10::Error);
    CHECK_THROWS_WITH_AS(run(x, one, zero, {.levels = {0, 65536}}), doctest::Contains("at most 16 bits"),
                         c10::Error);
    CHECK_THROWS_WITH_AS(run(x, one, zero, {.levels = {-32768, 32767}}, {.codes = true}),
                         doctest::Contains("do not fit a byte"), c10::Error);
    cuda::Kernels on_gpu = k;
    on_gpu.emulated = false;
    CHECK_THROWS_WITH_AS(cuda::forward(on_gpu, x, one, zero, {}, {}, true),
                         doctest::Contains("want a tensor on a CUDA device"), c10::Error);
    CHECK_THROWS_WITH_AS(cuda::backward(k, x, torch::zeros({2}, torch::kByte), x.strides(), torch::kFloat),
                         doctest::Contains("want 1 bytes"), c10::Error);
}
