// The kernels on a GPU. Nothing here runs where there is none, and every test case says so.

#include "cuda/gpu.hpp"
#include "cuda/rules.hpp"

#include <qat/nn/fake_quantize.hpp>
#include <qat/ops/batch_norm.hpp>
#include <qat/ops/fused.hpp>

namespace {
using namespace qat;
using namespace rules;

struct Result {
    torch::Tensor y, dx;
    RangeTensors seen;
};

// The public operation, on the device of x.
template <class A, class Q>
Result run(torch::Tensor const& x, torch::Tensor const& dy, GridTensors const& grid) {
    RangeTensors seen;
    auto const leaf = x.detach().requires_grad_();
    auto const y = activate_and_quantize<A, Q>(leaf, grid, levels_of<typename Q::format>, {.seen = &seen});
    y.backward(dy);
    return {y.detach().cpu(), leaf.grad().cpu(), {seen.min.cpu(), seen.max.cpu()}};
}
}  // namespace

TEST_CASE("on a GPU: values, gradients, codes and extremes are the scalar rules', in every layout and type") {
    if (!have_gpu()) return;
    for (auto const type : {torch::kFloat, torch::kHalf, torch::kBFloat16})
        for (auto const& x : layouts(sample()))
            for_each_case([&]<class A, class Q>(Case<A, Q>) {
                check_against_rules<A, Q>(x.to(type), cuda::kernels(), levels_of<typename Q::format>,
                                          torch::kCUDA);
            });
}

TEST_CASE("on a GPU: every combination, with the integers of every format") {
    if (!have_gpu()) return;
    check_combinations(cuda::kernels(), torch::kCUDA);
    check_combinations(nullptr, torch::kCUDA);
}

TEST_CASE("on a GPU: sizes around those of a group, a warp and a block") {
    if (!have_gpu()) return;
    using Q = Quantizer<Int<8>, PerTensorAffine>;
    using C = Quantizer<Int<8>, PerChannelAffine<0>>;
    torch::manual_seed(5);
    for (std::int64_t const n : {0, 1, 7, 8, 9, 31, 33, 255, 257, 2047, 2049, 5000}) {
        CAPTURE(n);
        auto const x = torch::randn({n}) * 20;
        check_against_rules<ReLU, Q>(x, cuda::kernels(), {-128, 127}, torch::kCUDA);
        check_against_rules<Identity, C>(x.view({1, n}), cuda::kernels(), {-128, 127}, torch::kCUDA);
    }
}

TEST_CASE("on a GPU: a large tensor is the CPU's bit for bit") {
    if (!have_gpu()) return;
    torch::manual_seed(6);
    auto const x = torch::randn({8, 64, 160, 161}) * 2,
               dy = torch::randn_like(x);  // more than one sweep of the grid
    auto const compare = [&]<class A, class Q>(Case<A, Q>, torch::MemoryFormat format) {
        auto const in = x.contiguous(format), up = dy.contiguous(format);
        auto const grid = grid_for<Q>(in, 0.03);
        auto const on_gpu = GridTensors{grid.scale.cuda(), grid.zero_point.cuda()};
        auto const cpu = run<A, Q>(in, up, grid), gpu = run<A, Q>(in.cuda(), up.cuda(), on_gpu);
        CHECK(torch::equal(gpu.y, cpu.y));
        CHECK(torch::equal(gpu.dx, cpu.dx));
        CHECK(torch::equal(gpu.seen.min, cpu.seen.min));
        CHECK(torch::equal(gpu.seen.max, cpu.seen.max));
    };
    for (auto const format : {torch::MemoryFormat::Contiguous, torch::MemoryFormat::ChannelsLast}) {
        compare(Case<ReLU, Quantizer<Int<8>, PerTensorAffine>>{}, format);
        compare(Case<Identity, Quantizer<Int<8>, PerTensorSymmetric>>{}, format);
        compare(Case<Identity, Quantizer<Int<8>, PerChannelSymmetric<1>>>{}, format);
    }
}

TEST_CASE("on a GPU: without kernels torch's operators give the same") {
    if (!have_gpu()) return;
    for (auto const& x : layouts(sample()))
        for_each_case([&]<class A, class Q>(Case<A, Q>) {
            check_against_rules<A, Q>(x, nullptr, levels_of<typename Q::format>, torch::kCUDA);
        });
}

TEST_CASE("on a GPU: learned ranges") {
    if (!have_gpu()) return;
    using cuda::LearnedKind;
    auto const& k = *cuda::kernels();
    auto const x = sample().clamp(-1e3, 1e3);
    auto const last = x.contiguous(torch::MemoryFormat::ChannelsLast);
    torch::manual_seed(9);
    for (auto const& t : {x, last, torch::randn({70001}) * 2}) {
        check_learned<LearnedStep, HalfEven>(t, k, LearnedKind::step, -1, torch::kCUDA);
        check_learned<TrainedThreshold, HalfUp>(t, k, LearnedKind::log2_threshold, -1, torch::kCUDA);
        check_learned<PACT, HalfEven>(t, k, LearnedKind::clip, -1, torch::kCUDA);
    }
    for (auto const& t : {x, last})
        check_learned<LearnedStep, HalfEven>(t, k, LearnedKind::step, 1, torch::kCUDA);
    check_learned<TrainedThreshold, HalfEven>(torch::randn({2, 90000}), k, LearnedKind::log2_threshold, 0,
                                              torch::kCUDA);
}

TEST_CASE("on a GPU: ranges and grids move by the scalar rules") {
    if (!have_gpu()) return;
    check_moves(*cuda::kernels(), torch::kCUDA);
    check_learned_grids(*cuda::kernels(), torch::kCUDA);
}

TEST_CASE("on a GPU: a module's grid is the CPU's after every step") {
    if (!have_gpu()) return;
    torch::manual_seed(14);
    auto const compare = [](auto q) {
        using Q = decltype(q);
        nn::FakeQuantize<Q> on_cpu(4), on_gpu(4);
        on_gpu->to(torch::kCUDA);
        for (int step = 0; step < 4; ++step) {
            auto const x = torch::randn({4, 6, 5}) * (step == 2 ? inf : 3);
            auto const y = on_cpu->forward(x), z = on_gpu->forward(x.cuda());
            on_cpu->refresh(), on_gpu->refresh();
            CHECK(torch::equal(on_gpu->scale.cpu(), on_cpu->scale));
            CHECK(torch::equal(on_gpu->zero_point.cpu(), on_cpu->zero_point));
            CHECK(torch::equal(z.cpu(), y));
        }
    };
    compare(Quantizer<Int<8>, PerTensorAffine, MovingAverageMinMax<>>{});
    compare(Quantizer<Int<8>, PerTensorSymmetric, MinMax, PowerOfTwo<Ceil>>{});
    compare(Quantizer<Int<8>, PerChannelSymmetric<0>, MinMax>{});
    compare(Quantizer<Int<8>, PerTensorSymmetric, MovingAverageMinMax<>, PowerOfTwo<Nearest>,
                      TrainedThreshold>{});
}

TEST_CASE("on a GPU: batch norm of z / f is the CPU's up to rounding, in both layouts") {
    if (!have_gpu()) return;
    torch::manual_seed(15);
    auto const z = torch::randn({4, 6, 9, 7}) * 0.2 + 3,
               f = torch::tensor({0.5f, -2.0f, 1.0f, 4.0f, -0.7f, 3.0f}), gamma = torch::randn(6),
               beta = torch::randn(6), dy = torch::randn_like(z);
    z.select(1, 2).fill_(1);  // a channel that is constant
    auto const run = [&](auto const& place) {
        auto const leaf = [&](torch::Tensor const& t) { return place(t).detach().clone().requires_grad_(); };
        std::vector<torch::Tensor> const leaves{leaf(z), leaf(f), leaf(gamma), leaf(beta)};
        auto const mean = place(torch::zeros(6)).clone(), variance = place(torch::ones(6)).clone();
        auto const y =
            scaled_batch_norm(leaves[0], leaves[1], {leaves[2], leaves[3], mean, variance, 0.03, 1e-3});
        y.backward(place(dy));
        std::vector<torch::Tensor> result{y.detach().cpu(), mean.cpu(), variance.cpu()};
        for (auto const& l : leaves) result.push_back(l.grad().cpu());
        return result;
    };
    auto const want = run([](torch::Tensor const& t) { return t; });
    for (auto const format : {torch::MemoryFormat::Contiguous, torch::MemoryFormat::ChannelsLast}) {
        auto const got = run(
            [&](torch::Tensor const& t) { return t.dim() == 4 ? t.cuda().contiguous(format) : t.cuda(); });
        for (std::size_t i = 0; i < want.size(); ++i) {
            CAPTURE(i);
            CHECK(((got[i] - want[i]).norm() / want[i].norm()).template item<double>() < 1e-3);
        }
    }
}
