// Stability tools on problems whose answer is known: oscillating weights, batch norm's statistics, moving and clipping grids.

#include "support/doctest.hpp"

#include <qat/nn/drift.hpp>
#include <qat/nn/oscillation.hpp>
#include <qat/nn/reestimate.hpp>
#include <qat/qat.hpp>

namespace {
using namespace qat;
using InFloat = Quantizer<Float>;
using PerTensor = Quantizer<Int<4>, PerTensorSymmetric, MinMax>;
using PerRow = Quantizer<Int<4>, PerChannelSymmetric<0>, MinMax>;
using AffineRow = Quantizer<UInt<4>, PerChannelAffine<0>, MinMax>;
template <class W, class BatchNorm>
using Toy = typename Experiment<"toy", ReLU, Weights<W>, Outputs<InFloat>, BatchNorm>::arithmetic;

// A convolution whose six weights are trained towards targets that are given in steps of its grid. A target that is no
// integer is one which no code can reach: its weight is drawn across the boundary of two bins for ever.
template <class W, class BatchNorm> struct Pulled {
    nn::Conv<Toy<W, BatchNorm>> conv{{.in = 3, .out = 2}};
    torch::Tensor target;  // [2, 3, 1, 1]
    torch::Tensor factor = torch::ones({2, 1, 1, 1});
    double step = 0.125;

    explicit Pulled(double restless = 2.5) {
        torch::NoGradGuard no_grad;
        if constexpr (BatchNorm::live) {
            conv->bn->weight.copy_(torch::tensor({2.0, -0.5}));
            conv->bn->running_var.copy_(torch::tensor({3.0, 0.25}));
            conv->freeze_statistics();
            factor = (conv->bn->weight * torch::rsqrt(conv->bn->running_var + 1e-3)).view({2, 1, 1, 1});
            conv->bn->bias.zero_();
        } else {
            conv->conv->bias.zero_();
        }
        // An end in every row keeps the grid where it is: 7.5 steps, signed. Else 15 unsigned ones, z = 0.
        bool const is_signed = W::format::is_signed;
        double const end = is_signed ? 7.5 : 15;
        target = torch::tensor({end, restless, 1.0, end, 5.0, 3.0}).view({2, 3, 1, 1}) * step;
        auto start = target.clone();
        start[0][1] = 2.3 * step;
        conv->conv->weight.copy_(start / factor);
        parameters = {conv->conv->weight};
    }

    torch::Tensor seen() const {
        return (conv->conv->weight * factor).detach();
    }  // in units of the grid's steps
    double code(std::int64_t row, std::int64_t column) {
        return nn::on_grid(*conv->weight_grid, seen())[row][column].template item<double>() / step;
    }

    std::vector<torch::Tensor> parameters;

    // L = 1/2 sum (Q(w) - target)^2 + dampening * sum (Q(w) - w)^2
    void train(int steps, nn::WeightOscillation& oscillation, double dampening = 0) {
        for (int i = 0; i < steps; ++i) {
            conv->zero_grad();
            auto const w = conv->weight_grid(conv->conv->weight * factor);
            ((w - target).square().sum() / 2).backward();
            if (dampening > 0) nn::dampen(*conv, dampening);
            torch::NoGradGuard no_grad;
            // w = weight * factor moves by 0.1 dL/dw, whatever the factor.
            conv->conv->weight.sub_(0.1 * conv->conv->weight.grad() / factor.square());
            oscillation.follow();
        }
    }
};
}  // namespace

TEST_CASE_TEMPLATE_DEFINE("a weight between two bins oscillates, and nothing else does", Case, oscillates) {
    Case toy;
    nn::WeightOscillation oscillation(*toy.conv);
    toy.train(3, oscillation);
    CHECK(oscillation.share() == 0);  // 2.3 steps is still a bin away from the first change
    toy.train(300, oscillation);
    CHECK(oscillation.share() == doctest::Approx(1.0 / 6));
    CHECK(oscillation.share(0.8) == doctest::Approx(1.0 / 6));  // it changes with nearly every step
    CHECK(oscillation.frozen() == 0);

    Case still(2.0);  // a target that a code can reach
    nn::WeightOscillation none(*still.conv);
    still.train(300, none);
    CHECK(none.share() == 0);
}

TEST_CASE_TEMPLATE_DEFINE("dampening holds a weight in its bin once it is stronger than the pull", Case,
                          dampens) {
    // In bin 2 the task pulls with 0.5 steps, the dampening with 2 lambda (w - 2): they balance at w = 2 + 0.25 / lambda,
    // which is inside the bin if lambda > 0.5.
    Case weak, strong;
    nn::WeightOscillation of_weak(*weak.conv), of_strong(*strong.conv);
    weak.train(300, of_weak, 0.3);
    CHECK(of_weak.share() == doctest::Approx(1.0 / 6));
    strong.train(300, of_strong, 1.0);
    CHECK(of_strong.share() == 0);
    CHECK(strong.seen()[0][1].template item<double>() / strong.step == doctest::Approx(2.25));
}

TEST_CASE_TEMPLATE_DEFINE("freezing pins a weight to the integer it was at most", Case, freezes) {
    Case toy;
    nn::WeightOscillation oscillation(*toy.conv, {.momentum = 0.01, .freeze_threshold = 0.02});
    toy.train(300, oscillation);
    CHECK(oscillation.frozen() == 1);
    CHECK(toy.code(0, 1) == doctest::Approx(2));
    CHECK(toy.seen()[0][1].template item<double>() / toy.step == doctest::Approx(2));
    CHECK(toy.code(1, 1) == doctest::Approx(5));
    // Whatever the optimizer does to it.
    {
        torch::NoGradGuard no_grad;
        toy.conv->conv->weight[0][1].add_(4 * toy.step / toy.factor[0].template item<double>());
    }
    oscillation.follow();
    CHECK(toy.code(0, 1) == doctest::Approx(2));
}

#define FOR_ALL_GRIDS(id)                                                                                    \
    TEST_CASE_TEMPLATE_INVOKE(id, Pulled<PerTensor, FoldBatchNorm>, Pulled<PerRow, FoldBatchNorm>,           \
                              Pulled<AffineRow, FoldBatchNorm>, Pulled<PerTensor, LiveBatchNorm>,            \
                              Pulled<PerRow, LiveBatchNorm>)
FOR_ALL_GRIDS(oscillates);
FOR_ALL_GRIDS(dampens);
FOR_ALL_GRIDS(freezes);

TEST_CASE("a weight that travels through the integers does not oscillate until it turns back") {
    Pulled<PerTensor, FoldBatchNorm> toy;
    auto const weight = toy.conv->conv->weight;
    toy.conv->weight_grid(weight);
    nn::WeightOscillation oscillation(*toy.conv);
    auto const put = [&](double steps) {
        torch::NoGradGuard no_grad;
        weight[0][1].fill_(steps * toy.step);
        oscillation.follow();
    };
    for (double steps : {-3.0, -2.0, 0.0, 0.4, 1.0, 4.0, 4.0, 5.0}) put(steps);
    CHECK(oscillation.share() == 0);
    put(4);
    CHECK(oscillation.share() == doctest::Approx(1.0 / 6));
    for (int i = 0; i < 68; ++i) put(4);
    CHECK(oscillation.share() == doctest::Approx(1.0 / 6));
    for (int i = 0; i < 3; ++i) put(4);
    CHECK(oscillation.share() == 0);  // forgotten
}

TEST_CASE("the most frequent integer is what a weight is frozen to, not the one it happened to be at") {
    Pulled<PerTensor, FoldBatchNorm> toy;
    auto const weight = toy.conv->conv->weight;
    nn::on_grid(*toy.conv->weight_grid, weight.detach());
    toy.conv->weight_grid(weight);
    nn::WeightOscillation oscillation(*toy.conv, {.momentum = 0.1, .freeze_threshold = 0.25});
    auto const put = [&](double steps) {
        torch::NoGradGuard no_grad;
        weight[0][1].fill_(steps * toy.step);
        oscillation.follow();
    };
    for (int i = 0; i < 30; ++i) put(3);
    for (double steps : {4.0, 3.0, 3.0, 4.0, 3.0}) put(steps);  // changes back: the second, third and fourth
    CHECK(oscillation.frozen() == 1);                           // 0.1, 0.19 less a rest, 0.26
    put(4);
    CHECK(weight[0][1].item<double>() / toy.step == doctest::Approx(3));
}

TEST_CASE("the gradient of the dampening is autograd's, outside the range too") {
    torch::manual_seed(0);
    using W = Quantizer<Int<4>, PerChannelSymmetric<0>, MinMax>;
    nn::Conv<Toy<W, LiveBatchNorm>> conv({.in = 3, .out = 4, .kernel = 3});
    {
        torch::NoGradGuard no_grad;
        conv->bn->weight.uniform_(-2, 2), conv->bn->running_var.uniform_(0.1, 3);
        conv->eval(), conv->train();
    }
    conv->forward(torch::randn({1, 3, 6, 6}));
    nn::stop_observers(*conv);
    {
        torch::NoGradGuard no_grad;
        conv->conv->weight.mul_(1.7);  // beyond both ends
    }
    auto const w = *conv->quantized_weight();
    auto const seen = w.seen();
    auto const scale = w.grid->scale.view({-1, 1, 1, 1});
    auto const clipped = torch::minimum(torch::maximum(seen, scale * -8), scale * 7);
    CHECK((seen != clipped).sum().item<int>() > 5);
    auto const expected = 0.3 * (clipped - nn::on_grid(*w.grid, seen)).square().sum();
    auto const gradient = torch::autograd::grad({expected}, {conv->conv->weight})[0];

    conv->conv->weight.mutable_grad() = torch::ones_like(gradient);
    auto const loss = nn::dampen(*conv, 0.3);
    CHECK(loss.item<double>() == doctest::Approx(expected.item<double>()));
    CHECK(support::relative_error(conv->conv->weight.grad() - 1, gradient) < 1e-5);
    conv->conv->weight.set_requires_grad(false);
    conv->conv->weight.mutable_grad() = torch::Tensor();
    CHECK(nn::dampen(*conv, 0.3).item<double>() == 0);
    CHECK_FALSE(conv->conv->weight.grad().defined());
}

TEST_CASE("the dampening grows from 0 to its full strength along a cosine") {
    CHECK(nn::dampening_share(0) == 0);
    CHECK(nn::dampening_share(0.25) == doctest::Approx((1 - std::sqrt(0.5)) / 2));
    CHECK(nn::dampening_share(0.5) == doctest::Approx(0.5));
    CHECK(nn::dampening_share(1) == doctest::Approx(1));
    CHECK(nn::dampening_share(1.5) == doctest::Approx(1));
}

TEST_CASE("oscillations are counted anew when the bits step down, and not before quantization starts") {
    Pulled<PerTensor, FoldBatchNorm> toy;
    nn::WeightOscillation oscillation(*toy.conv, {.momentum = 0.01, .freeze_threshold = 0.02});
    nn::set_mode(*toy.conv, nn::GridMode::observe);
    toy.train(5, oscillation);
    CHECK(oscillation.share() == 0);
    nn::set_mode(*toy.conv, nn::GridMode::quantize);
    toy.train(300, oscillation);
    CHECK(oscillation.frozen() == 1);
    nn::step_bits(*toy.conv, 3);
    oscillation.follow();
    CHECK(oscillation.frozen() == 0);
    CHECK(oscillation.share() == 0);

    nn::Conv<Toy<InFloat, FoldBatchNorm>> in_float({.in = 3, .out = 2});
    nn::WeightOscillation nothing(*in_float);
    nothing.follow();
    CHECK(nothing.share() == 0);
    CHECK(nn::dampen(*in_float, 1).item<double>() == 0);
}

TEST_CASE("putting a tensor on a grid moves nothing and shows no probe") {
    nn::FakeQuantize<PerTensor> grid;
    grid(torch::tensor({-7.5f, 7.5f}));
    bool probed = false;
    grid->probe = [&](auto const&, auto const&) { probed = true; };
    auto const y = nn::on_grid(*grid, torch::tensor({100.0f, 2.4f}));
    CHECK(torch::equal(y, torch::tensor({7.0f, 2.0f})));
    CHECK_FALSE(probed);
    CHECK(grid->is_training());
    CHECK(bool(grid->probe));
    CHECK(grid->scale.item<float>() == 1);
}

namespace {
using Out = Quantizer<Int<8>, PerTensorSymmetric, MinMax>;
template <class W, class O>
using Norms = typename Experiment<"norms", ReLU, Weights<W>, Outputs<O>, LiveBatchNorm>::arithmetic;

template <class A> struct TwoImpl : torch::nn::Module {
    nn::Conv<A> a{register_module("a", nn::Conv<A>({.in = 3, .out = 4, .kernel = 3}))};
    nn::Conv<A> b{register_module("b", nn::Conv<A>({.in = 4, .out = 5}))};
    torch::Tensor forward(torch::Tensor const& x) { return b(a(x)); }
};

// A network that has trained a little, and batches of it.
template <class A> struct Trained {
    std::shared_ptr<TwoImpl<A>> net = std::make_shared<TwoImpl<A>>();
    std::vector<torch::Tensor> batches;

    Trained() {
        torch::manual_seed(0);
        for (auto const* conv : {&net->a, &net->b}) {
            torch::NoGradGuard no_grad;
            (*conv)->bn->weight.uniform_(0.5, 2), (*conv)->bn->bias.uniform_(-1, 1);
        }
        for (int i = 0; i < 4; ++i) batches.push_back(torch::randn({2, 3, 9, 9}) * (1 + i) + i);
        net->forward(batches.back());
        nn::stop_observers(*net);
    }
    std::function<bool()> feed(std::size_t count) {
        return [this, count, i = std::size_t{0}]() mutable {
            if (i == count) return false;
            net->forward(batches[i++]);
            return true;
        };
    }
};

// What batch norm normalises: the convolution with the weights on their grid as folded, the fold undone.
template <class C> torch::Tensor before_norm(C& conv, torch::Tensor const& x) {
    auto const w = *conv->quantized_weight();
    auto const seen = w.grid->quantized() ? nn::on_grid(*w.grid, w.seen()) : w.seen();
    return torch::conv2d(x, seen / w.factor.view({-1, 1, 1, 1}), {}, 1, conv->options.padding());
}
}  // namespace

TEST_CASE_TEMPLATE("re-estimated statistics are the averages over batches, each normalised by its own", A,
                   Norms<Quantizer<Int<8>, PerChannelSymmetric<0>, MinMax>, Out>, Norms<InFloat, InFloat>) {
    for (bool frozen : {false, true}) {
        CAPTURE(frozen);
        Trained<A> trained;
        auto& net = *trained.net;
        if (frozen) nn::freeze_batch_norm(net);
        torch::Tensor mean[2] = {torch::zeros(4), torch::zeros(5)},
                      var[2] = {torch::zeros(4), torch::zeros(5)};
        {
            torch::NoGradGuard no_grad;
            for (std::size_t i = 0; i < 3; ++i) {
                auto x = trained.batches[i];
                int k = 0;
                for (auto* conv : {&net.a, &net.b}) {
                    auto const u = before_norm(*conv, x);
                    mean[k] += u.mean({0, 2, 3}) / 3, var[k] += u.var({0, 2, 3}, /*unbiased=*/true) / 3;
                    auto const& bn = (*conv)->bn;
                    auto const y = torch::batch_norm(u, bn->weight, bn->bias, {}, {}, true, 0, 1e-3, false);
                    x = nn::on_grid(*(*conv)->grid(), torch::relu(y));
                    ++k;
                }
            }
        }
        auto const scale = net.a->grid()->scale;
        auto const scale_before = scale.defined() ? scale.clone() : torch::Tensor();
        CHECK(nn::reestimate_batch_norm(net, 3, trained.feed(4)) == 3);
        CHECK(support::relative_error(net.a->bn->running_mean, mean[0]) < 1e-5);
        CHECK(support::relative_error(net.a->bn->running_var, var[0]) < 1e-5);
        CHECK(support::relative_error(net.b->bn->running_mean, mean[1]) < 1e-4);
        CHECK(support::relative_error(net.b->bn->running_var, var[1]) < 1e-4);
        CHECK(net.a->bn->num_batches_tracked.template item<std::int64_t>() == 3);
        if (scale.defined()) CHECK(torch::equal(scale, scale_before));

        // And everything else is as it was: 3 % a batch again, or nothing.
        CHECK(net.is_training());
        CHECK(*net.a->bn->options.momentum() == doctest::Approx(0.03));
        auto const before = net.a->bn->running_var.clone();
        net.forward(trained.batches[3]);
        CHECK(torch::equal(before, net.a->bn->running_var) == frozen);
    }
}

namespace {
// Weights by the quantizer, and what the grid makes of them before and after new statistics.
template <class Q> struct Reestimated {
    Trained<Norms<Q, Out>> trained;
    torch::Tensor scale, codes, seen;  // before
    torch::Tensor grown;               // by how much each channel is

    Reestimated() {
        auto& conv = trained.net->b;
        torch::NoGradGuard no_grad;
        conv->conv->weight.mul_(1 + 0.3 * torch::randn_like(conv->conv->weight));  // since observers stopped
        seen = folded(), scale = conv->weight_grid->scale.clone(), codes = code();
        nn::reestimate_batch_norm(*trained.net, 3, trained.feed(3));
        grown = folded().abs().amax({1, 2, 3}) / seen.abs().amax({1, 2, 3});
    }
    torch::Tensor folded() { return trained.net->b->quantized_weight()->seen().detach(); }
    torch::Tensor code() {
        auto& grid = *trained.net->b->weight_grid;
        auto const s = grid.by_channel().first;
        auto const z = grid.by_channel().second.to(torch::kFloat);
        auto const shape = std::vector<std::int64_t>{-1, 1, 1, 1};
        return torch::round(nn::on_grid(grid, folded()) / (s.dim() ? s.view(shape) : s)) +
               (z.dim() ? z.view(shape) : z);
    }
    nn::FakeQuantize<Q>& grid() { return trained.net->b->weight_grid; }
};
}  // namespace

TEST_CASE_TEMPLATE("new statistics leave every code of a channel's own grid as it was", Q,
                   Quantizer<Int<8>, PerChannelSymmetric<0>, MinMax>,
                   Quantizer<Int<4>, PerChannelAffine<0>, MovingAverageMinMax<>>,
                   Quantizer<Int<4>, PerChannelSymmetric<0>, MeanSquaredError<>>,
                   Quantizer<Int<4>, PerChannelSymmetric<0>, MinMax, LearnedStep>,
                   Quantizer<Int<4>, PerChannelAffine<0>, MinMax, LearnedStepAndOffset>) {
    Reestimated<Q> r;
    CHECK((r.grown - 1).abs().max().template item<double>() > 0.05);  // there is something to follow
    CHECK(torch::equal(r.code(), r.codes));
    CHECK(torch::allclose(r.grid()->scale, r.scale * r.grown, 1e-6));
    auto const kept = r.grid()->scale.clone();
    r.grid()->refresh();
    CHECK(torch::equal(kept, r.grid()->scale));
}

TEST_CASE(
    "new statistics widen a grid by its own rule: a power of two, one grid for all, a range that was given") {
    auto const octaves = [](torch::Tensor const& scale) { return torch::log2(scale); };
    auto const holds = [&](auto& r) {
        auto const moved = octaves(r.grid()->scale) - octaves(r.scale);
        CHECK(torch::equal(moved, moved.round()));
        // no farther from the ratio than one step of the exponent
        CHECK((moved - torch::log2(r.grown)).abs().max().template item<double>() <= 1);
    };
    Reestimated<Quantizer<Int<8>, PerChannelSymmetric<0>, MinMax, PowerOfTwo<Ceil>>> ceil;
    holds(ceil);
    Reestimated<Quantizer<Int<8>, PerChannelSymmetric<0>, MinMax, PowerOfTwo<LeastError>>> least;
    holds(least);
    Reestimated<Quantizer<Int<8>, PerChannelSymmetric<0>, MinMax, PowerOfTwo<Mode>>> mode;
    holds(mode);
    Reestimated<Quantizer<Int<8>, PerChannelSymmetric<0>, MinMax, PowerOfTwo<Ceil>, TrainedThreshold>>
        trained;
    holds(trained);

    Reestimated<Quantizer<Int<8>, PerTensorSymmetric, MinMax>> one;
    auto const ratio = one.folded().abs().max() / one.seen.abs().max();
    CHECK(torch::allclose(one.grid()->scale, one.scale * ratio, 1e-6));
    Reestimated<Quantizer<Int<8>, PerTensorSymmetric, Histogram<>>> counted;
    CHECK(torch::allclose(counted.grid()->scale,
                          counted.scale * counted.folded().abs().max() / counted.seen.abs().max(), 1e-6));
    Reestimated<Quantizer<Int<8>, PerTensorSymmetric, FixedRange<std::ratio<-1>, std::ratio<1>>>> given;
    CHECK(torch::equal(given.grid()->scale, given.scale));
}

TEST_CASE("a scale that is an average is widened, not replaced by the observer's choice") {
    auto const widened = [](auto q, float scale) {
        nn::FakeQuantize<decltype(q)> grid;
        grid(torch::tensor({-7.5f, 7.5f}));
        grid->scale.fill_(scale);
        auto const x = torch::tensor({-1.0f, 1.0f});
        grid->widen(x, x * 1.9);
        return grid->scale.template item<float>();
    };
    CHECK(widened(PerTensor{}, 0.7f) == doctest::Approx(0.7f * 1.9f));
    using Shift = Quantizer<Int<8>, PerTensorSymmetric, MinMax, PowerOfTwo<Ceil>>;
    CHECK(widened(Shift{}, 1.0f / 16) == 1.0f / 8);   // the choice: 7.5 is below 8, 14.25 below 16
    CHECK(widened(Shift{}, 1.0f / 32) == 1.0f / 16);  // another: 1.9 is nearest to 2
}

TEST_CASE(
    "re-estimation takes what batches there are, and changes nothing where there are none or one fails") {
    Trained<Norms<Quantizer<Int<8>, PerChannelSymmetric<0>, MinMax>, Out>> trained;
    auto& net = *trained.net;
    auto const mean = net.a->bn->running_mean.clone();
    net.eval();
    CHECK(nn::reestimate_batch_norm(net, 3, [] { return false; }) == 0);
    CHECK(torch::equal(mean, net.a->bn->running_mean));
    CHECK_THROWS(nn::reestimate_batch_norm(net, 3, [&]() -> bool {
        net.forward(trained.batches[0]);
        throw std::runtime_error("unreadable image");
    }));
    CHECK(torch::equal(mean, net.a->bn->running_mean));
    CHECK_FALSE(net.is_training());
    CHECK(nn::reestimate_batch_norm(net, 9, trained.feed(2)) == 2);
    CHECK_FALSE(torch::equal(mean, net.a->bn->running_mean));
    CHECK_FALSE(net.is_training());

    nn::Conv<Toy<PerRow, FoldBatchNorm>> folded({.in = 3, .out = 2});
    int calls = 0;
    CHECK(nn::reestimate_batch_norm(*folded, 3, [&] { return ++calls < 9; }) == 0);
    CHECK(calls == 0);
}

TEST_CASE("drift is in octaves of the range, grids that had seen nothing do not count") {
    Trained<Norms<Quantizer<Int<8>, PerChannelSymmetric<0>, MinMax>, Out>> trained;
    auto& net = *trained.net;
    nn::ScaleDrift drift(net);
    CHECK(drift.step().largest == 0);
    net.a->grid()->scale.mul_(8);
    net.b->weight_grid->scale[2].mul_(0.5);
    auto const moved = drift.step();
    CHECK(moved.largest == doctest::Approx(3));
    CHECK(moved.path == "a.output");
    CHECK(moved.mean == doctest::Approx((3 + 1.0 / 5) / 4));  // four grids, one of five channels
    CHECK(drift.step().largest == 0);

    using Shift = Quantizer<Int<8>, PerTensorSymmetric, MinMax, PowerOfTwo<Ceil>>;
    nn::FakeQuantize<Shift> grid;
    nn::ScaleDrift fresh(*grid);
    grid(torch::tensor({1.0f}));
    CHECK(fresh.step().mean == 0);
    nn::step_bits(*grid, 4);
    CHECK(grid->scale.item<float>() == 1.0f / 8);  // sixteen times the step, the same range
    CHECK(fresh.step().largest == 0);
    grid->scale.fill_(NAN);
    CHECK(std::isnan(fresh.step().largest));
}

TEST_CASE("the clip rate is the share of values farther outside than rounding explains") {
    using Narrow = Quantizer<Int<8>, PerTensorSymmetric, FixedRange<std::ratio<-1>, std::ratio<1>>>;
    nn::FakeQuantize<PerTensor> grid;
    grid(torch::tensor({-7.5f, 7.5f}));  // codes -8 to 7, a step is 1
    auto const x = torch::tensor({-9.0f, -8.4f, -3.0f, 7.4f, 7.6f, 100.0f, NAN, 0.0f});
    bool probed = false;
    grid->probe = [&](auto const&, auto const&) { probed = true; };
    auto const found = nn::clip_rates(*grid, [&] { grid(x), grid(torch::zeros(8)); });
    REQUIRE(found.size() == 1);
    CHECK(found[0].values == 16);
    CHECK(found[0].outside == 4);
    CHECK(found[0].rate() == doctest::Approx(0.25));
    CHECK_FALSE(found[0].fixed);
    CHECK_FALSE(probed);
    CHECK(grid->scale.item<float>() == 1);
    CHECK(grid->is_training());
    grid(x.slice(0, 2, 3));
    CHECK(probed);  // it is back

    nn::FakeQuantize<Narrow> chosen;
    auto const narrow = nn::clip_rates(*chosen, [&] { chosen(torch::tensor({0.5f, 2.0f})); });
    CHECK(narrow.at(0).fixed);
    CHECK(narrow.at(0).rate() == 0.5);
}

TEST_CASE("clip rates know the channels of weights") {
    Trained<Norms<Quantizer<Int<8>, PerChannelSymmetric<0>, MinMax>, Out>> trained;
    auto& net = *trained.net;
    auto const rate = [&](std::string const& path) {
        for (auto const& c : nn::clip_rates(net, [&] { net.forward(trained.batches[0]); }))
            if (c.path == path) return c;
        return nn::Clipped{};
    };
    CHECK(nn::clip_rates(net, [&] { net.forward(trained.batches[0]); }).size() == 4);
    {
        torch::NoGradGuard
            no_grad;  // one of five rows far outside, in a tensor as long in both directions as it may be
        auto const w = *net.b->quantized_weight();
        net.b->weight_grid->scale.copy_(w.seen().abs().amax({1, 2, 3}) / 127);
        net.b->weight_grid->scale[3].mul_(1e-3);
    }
    auto const found = rate("b.weight_grid");
    CHECK(found.values == 20);
    CHECK(found.outside == 4);
}
