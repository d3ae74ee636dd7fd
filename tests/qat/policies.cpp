// What the choices of an experiment do in modules: heads, joins, biases, exceptions, schedules, trained grids.

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "support/doctest.hpp"

#include <qat/qat.hpp>

namespace {
using namespace qat;
template <int N> using R = std::ratio<N>;
using ShiftOut = Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Ceil>>;
using ShiftWeight = ShiftOut::vary<PerChannelSymmetric<0>, MinMax>;
using Shift =
    Experiment<"shift", ReLU, Weights<ShiftWeight>, Outputs<ShiftOut>, Input<ShiftOut>, FoldBatchNorm>;

// y = a(x) + b(x), then a concatenation with c(y).
template <class A> struct JoinsImpl : torch::nn::Module {
    struct Options {};
    using arithmetic = A;
    Options options;
    nn::QuantizeInput<A> input;
    nn::Conv<A> a, b, c;
    nn::Add<A> add;
    nn::Concat<A> concat;
    explicit JoinsImpl(Options = {})
        : input(register_module("input", nn::QuantizeInput<A>())),
          a(register_module("a", nn::Conv<A>({.in = 3, .out = 4}))),
          b(register_module("b", nn::Conv<A>({.in = 3, .out = 4, .kernel = 3}))),
          c(register_module("c", nn::Conv<A>({.in = 4, .out = 4}))),
          add(register_module("add", nn::Add<A>())), concat(register_module("concat", nn::Concat<A>())) {}
    template <Signal V> V forward(V x) {
        x = input(x);
        auto left = a(x), right = b(x);
        auto y = add(left, right);
        return concat(y, c(y));
    }
};
template <class A> using Joins = nn::Handle<JoinsImpl<A>>;
graph::Shape const shape{1, 3, 8, 8};

double scale_of(std::shared_ptr<nn::Grid> const& grid) { return grid->scale.item<double>(); }
bool on_grid(torch::Tensor const& x, torch::Tensor const& scale) {
    auto const codes = x.detach().to(torch::kDouble) / scale.to(torch::kDouble);
    return torch::equal(codes, codes.round());
}
}  // namespace

TEST_CASE("a head by role equals the same convolution split into one for each role") {
    using E = Shift::vary<"by-role", HeadPerRole<>>;
    using A = E::arithmetic;
    static_assert(std::is_same_v<A::head_outputs, ShiftOut::vary<PerRole>>);
    torch::manual_seed(0);
    std::vector<std::int64_t> const roles{0, 0, 1, 1, 2, 3, 3, 3,
                                          4, 4, 5, 5, 6, 7, 7, 7};  // two anchors, three classes
    nn::Projection<A> whole({.in = 8, .out = 16, .roles = roles});
    {
        torch::NoGradGuard no_grad;  // ranges that differ by role
        for (std::int64_t k = 0; k < 16; ++k) whole->weight[k] *= 1 << roles[static_cast<std::size_t>(k)];
    }
    auto const x = torch::randn({2, 8, 5, 5});
    auto const direction = torch::randn({2, 16, 5, 5});
    auto const y = whole(x);
    (y * direction).sum().backward();
    CHECK(whole->grid()->scale.numel() == 8);
    for (std::int64_t role = 0; role < 8; ++role) {
        std::vector<std::int64_t> channels;
        for (std::size_t k = 0; k < roles.size(); ++k)
            if (roles[k] == role) channels.push_back(static_cast<std::int64_t>(k));
        auto const index = torch::tensor(channels);
        using Split = Shift::vary<"split">::arithmetic;
        nn::Projection<Split> part({.in = 8, .out = static_cast<std::int64_t>(channels.size())});
        {
            torch::NoGradGuard no_grad;
            part->weight.copy_(whole->weight.index_select(0, index));
            part->bias.copy_(whole->bias.index_select(0, index));
        }
        auto const expected = part(x);
        (expected * direction.index_select(1, index)).sum().backward();
        CHECK(torch::allclose(y.index_select(1, index), expected, 0, 1e-6 * scale_of(part->grid())));
        CHECK(whole->grid()->scale[role].item<double>() == scale_of(part->grid()));
        CHECK(torch::allclose(whole->weight.grad().index_select(0, index), part->weight.grad(), 1e-4, 1e-5));
    }
}

TEST_CASE("heads: int16, weights only, fixed ranges by role") {
    using Int16 = Shift::vary<"i16", HeadInt16>::arithmetic;
    static_assert(Int16::head_outputs::format::bits == 16 && Int16::head_weights::format::bits == 8);
    using Unsigned = Shift::vary<"u8", Outputs<ShiftOut::vary<UInt<8>>>, HeadInt16>::arithmetic;
    static_assert(Unsigned::head_outputs::format::is_signed);
    using Only = Shift::vary<"weights", HeadWeightsOnly>::arithmetic;
    static_assert(!Only::head_outputs::format::quantized && Only::head_weights::format::quantized);
    using Fixed = Shift::vary<"fixed", HeadPerRole<FixedReaches<R<4>, R<4>, R<16>, R<16>>>>::arithmetic;
    nn::Projection<Fixed> head({.in = 2, .out = 8, .roles = {0, 0, 1, 1, 2, 3, 4, 7}});
    auto const steps =
        torch::tensor({1 / 32.0, 1 / 32.0, 1 / 8.0, 1 / 8.0, 1 / 32.0, 1 / 32.0, 1 / 8.0, 1 / 8.0});
    CHECK(torch::equal(head->grid()->scale, steps.to(torch::kFloat)));
    head(torch::randn({1, 2, 4, 4}) * 100);
    CHECK(torch::equal(head->grid()->scale, steps.to(torch::kFloat)));
}

TEST_CASE("AlignAll puts an addition's result on its inputs' grid; the range is the union, the largest or "
          "the result's") {
    auto const groups = [](auto join) {
        using A = typename Shift::template vary<"j", decltype(join)>::arithmetic;
        Joins<A> model;
        return nn::bind(model, shape);
    };
    auto const inputs = groups(AlignInputs{});
    REQUIRE(inputs.size() == 2);  // a and b meet in the addition; its result and c in the concatenation
    CHECK(inputs[0].members == std::vector<std::string>{"a", "b"});
    auto const all = groups(AlignAll{});
    REQUIRE(all.size() == 1);
    CHECK(all[0].members == std::vector<std::string>{"a", "b", "add", "c"});

    auto const scale = [](auto join) {
        using A =
            typename Shift::template vary<"j", decltype(join),
                                          Outputs<Quantizer<Int<8>, PerTensorSymmetric, MinMax>>>::arithmetic;
        torch::manual_seed(0);
        Joins<A> model;
        nn::bind(model, shape);
        torch::NoGradGuard no_grad;
        // a gives 10, b nothing, c(10) 100 beside the addition's 10
        for (auto& p : model->parameters()) p.zero_();
        model->a->conv->bias.fill_(10);
        model->c->conv->bias.fill_(100);
        nn::observe_once(*model, [&] { model(torch::rand({1, 3, 8, 8})); });
        return scale_of(model->a->grid());
    };
    CHECK(scale(AlignAll{}) == doctest::Approx(100 / 127.5));
    CHECK(scale(AlignAllTo<SharedRange::largest>{}) == doctest::Approx(100 / 127.5));
    CHECK(scale(AlignAllTo<SharedRange::result>{}) == doctest::Approx(10 / 127.5));
    CHECK(scale(AlignInputs{}) == doctest::Approx(10 / 127.5));  // a and b alone
}

TEST_CASE("the largest range of several is kept whole, not mixed with the others' ends") {
    nn::FakeQuantize<Quantizer<UInt<8>, PerTensorAffine, MinMax>> grid;
    grid->share(SharedRange::largest);
    nn::observe_once(*grid, [&] {
        grid(torch::tensor({-1.0f, 2.0f}));
        grid(torch::tensor({0.5f, 5.0f}));
        grid(torch::tensor({-2.0f, 1.0f}));
    });
    CHECK(grid->named_buffers()["min"].item<float>() == 0.5f);  // of the tensor that reaches 5
    CHECK(grid->named_buffers()["max"].item<float>() == 5.0f);
}

TEST_CASE("an accumulator becomes a code in integers as it does in fake quantization") {
    static_assert(shift_half_even(5, 1) == 2 && shift_half_even(7, 1) == 4 && shift_half_even(-5, 1) == -2);
    static_assert(shift_half_even(-7, 1) == -4 && shift_half_even(3, -2) == 12 &&
                  shift_half_even(-1, 3) == 0);
    for (int shift = -2; shift <= 12; ++shift) {
        float const scale = exp2(-10), out = exp2(-10 + shift);
        Bounds const b = bounds(-128, 127, 0);
        bool same = true;
        for (std::int64_t a = -70'000; a <= 70'000; a += 7)
            same &= requantize(a, shift, {-128, 127}) ==
                    static_cast<int>(quantize<HalfEven>(static_cast<float>(a) * scale, 1 / out, b).value);
        CHECK_MESSAGE(same, shift);
    }
    auto const m = multiplier(0.0123);
    CHECK(m.mantissa / std::exp2(m.shift) == doctest::Approx(0.0123).epsilon(1e-9));
    int differing = 0;
    for (std::int64_t a = -20'000; a <= 20'000; ++a)
        differing +=
            requantize(a, m, {0, 255}, 128) !=
            std::clamp(static_cast<int>(std::nearbyint(static_cast<double>(a) * 0.0123)) + 128, 0, 255);
    CHECK(differing == 0);
}

TEST_CASE("a bias on the accumulator's grid is a multiple of input scale times weight scale, and keeps its "
          "gradient") {
    using A = Shift::vary<"acc", AccumulatorBias, AlignInputs>::arithmetic;
    torch::manual_seed(0);
    Joins<A> model;
    nn::bind(model, shape);
    auto const x = torch::rand({1, 3, 8, 8});
    nn::observe_once(*model, [&] { model(x); });
    torch::Tensor input, result;
    model->a->tap = [&](torch::Tensor const& in, torch::Tensor const& out) {
        input = in.detach(), result = out;
    };
    model(x);
    REQUIRE(model->a->input_grid() == model->input->grid());
    auto const accumulator = model->input->grid()->scale * model->a->weight_grid->scale;  // [4]
    // Powers of two: products and sums are exact, so every result is an integer on the accumulator's grid.
    CHECK(on_grid(result, accumulator.view({1, -1, 1, 1})));
    auto const gradient = torch::autograd::grad({result.sum()}, {model->a->conv->bias})[0];
    CHECK(torch::equal(gradient, torch::full({4}, 64.0f)));

    using F = Shift::vary<"float-bias", AlignInputs>::arithmetic;
    Joins<F> other;
    nn::bind(other, shape);
    nn::observe_once(*other, [&] { other(x); });
    other->a->tap = [&](torch::Tensor const&, torch::Tensor const& out) { result = out; };
    other(x);
    CHECK_FALSE(
        on_grid(result, (other->input->grid()->scale * other->a->weight_grid->scale).view({1, -1, 1, 1})));
}

TEST_CASE("inputs kept as codes: the same results and gradients, bit for bit") {
    auto const run = [](auto saves, auto join, auto batch_norm) {
        using A = typename Shift::template vary<"s", decltype(saves), decltype(join),
                                                decltype(batch_norm)>::arithmetic;
        torch::manual_seed(0);
        Joins<A> model;
        nn::bind(model, shape);
        auto const x = torch::rand({2, 3, 16, 16});
        nn::observe_once(*model, [&] { model(x); });
        auto const y = model(x);
        CHECK(codes_of(y).has_value() == std::is_same_v<decltype(saves), SaveCodes>);
        (y * torch::linspace(-1, 1, y.numel()).view(y.sizes())).sum().backward();
        std::vector<torch::Tensor> found{y.detach()};
        for (auto const& p : model->parameters()) found.push_back(p.grad());
        return found;
    };
    auto const same = [&](auto join, auto batch_norm) {
        auto const floats = run(SaveFloats{}, join, batch_norm), codes = run(SaveCodes{}, join, batch_norm);
        REQUIRE(floats.size() == codes.size());
        for (std::size_t i = 0; i < floats.size(); ++i) CHECK(torch::equal(floats[i], codes[i]));
    };
    same(AlignInputs{}, FoldBatchNorm{});
    same(Unaligned{}, FoldBatchNorm{});
    same(AlignAll{}, LiveBatchNorm{});
}

TEST_CASE("exceptions change the quantizers of the stages they cover, and nothing else") {
    using E = Shift::vary<"but", Exceptions<Except<"head", Float>, Except<"body.first", Int<16>>>>;
    using A = E::arithmetic;
    static_assert(!A::at<"head">::weights::format::quantized &&
                  !A::at<"head.left">::outputs::format::quantized);
    static_assert(A::at<"body.first">::weights::format::bits == 16 &&
                  A::at<"body.first">::outputs::format::bits == 16);
    static_assert(A::at<"body.first">::weights::scheme::per_channel);
    static_assert(std::is_same_v<A::at<"body.second">, A> && std::is_same_v<A::at<"header">, A>);
    using One = Shift::vary<"one", Except<"body", Float>>::arithmetic;
    static_assert(!One::at<"body.first">::outputs::format::quantized);
    CHECK(describe<E>()[12] == std::pair<std::string, std::string>("exceptions", "head, body.first"));
}

TEST_CASE("a schedule's events are printed in advance: start, bits, thresholds, batch norm") {
    using E = Experiment<"long", QuantizeFrom<after_epochs(1), after_steps(5)>,
                         StopObservers<after_epochs(2)>, FreezeBatchNorm<after_epochs(3), Affine::frozen>,
                         StepBits<BitsStep{6, after_epochs(2)}, BitsStep{4, after_epochs(4)}>,
                         ReestimateBatchNorm<50>>;
    std::vector<std::string> found;
    for (auto const& event : plan(E::schedule, 10, 6)) found.push_back(event.what);
    CHECK(found == std::vector<std::string>{
                       "observers start at step 5", "quantization starts at step 10 = end of epoch 0",
                       "observers stop at step 20 = end of epoch 1", "6 bits at step 20 = end of epoch 1",
                       "batch norm freezes, gamma and beta too at step 30 = end of epoch 2",
                       "4 bits at step 40 = end of epoch 3"});
    CHECK(E::schedule.reestimate_batches == 50);
    CHECK(plan(Schedule{}, 10, 6).empty());
}

TEST_CASE("modes: watch without quantizing, let pass, quantize") {
    nn::FakeQuantize<Quantizer<Int<8>, PerTensorSymmetric, MinMax>> grid;
    auto const x = torch::tensor({-1.0f, 0.123f, 12.75f});
    nn::set_mode(*grid, nn::GridMode::bypass);
    CHECK(torch::equal(grid(x), x));
    CHECK(grid->unseen());
    nn::set_mode(*grid, nn::GridMode::observe);
    CHECK(torch::equal(grid(x), x));
    CHECK_FALSE(grid->unseen());
    CHECK(grid->scale.item<float>() == doctest::Approx(0.1));
    nn::set_mode(*grid, nn::GridMode::quantize);
    CHECK_FALSE(torch::equal(grid(x), x));
}

TEST_CASE("bits step down on the range that is known; a format with fewer keeps them") {
    nn::FakeQuantize<Quantizer<Int<8>, PerTensorSymmetric, MinMax>> grid;
    auto const x = torch::linspace(-1, 1, 1001);
    grid(x), grid->eval();
    CHECK(std::get<0>(torch::_unique(grid(x))).numel() > 200);
    nn::step_bits(*grid, 4);
    CHECK(grid->levels == Levels{-8, 7});
    CHECK(std::get<0>(torch::_unique(grid(x))).numel() <= 16);
    CHECK(grid(x).abs().max().item<float>() == doctest::Approx(8 / 7.5).epsilon(0.07));
    nn::step_bits(*grid, 6);  // more than now, fewer than the format: allowed
    CHECK(grid->levels == Levels{-32, 31});
    nn::FakeQuantize<Quantizer<Int<4>, PerTensorSymmetric, MinMax>> small;
    nn::step_bits(*small, 6);
    CHECK(small->levels == Levels{-8, 7});
}

TEST_CASE("a trained grid starts where the observer says, moves with its parameter, survives copies and can "
          "be frozen") {
    using Spec = Quantizer<Int<8>, PerTensorSymmetric, MinMax, LearnedStep>;
    nn::FakeQuantize<Spec> grid;
    CHECK(grid->unseen());
    auto const x = torch::linspace(-1, 12.75, 100);
    grid(x);
    CHECK(grid->learned().item<float>() == doctest::Approx(0.1));
    {
        torch::NoGradGuard no_grad;
        grid->learned().mul_(2);
    }
    grid->refresh();
    CHECK(grid->scale.item<float>() == doctest::Approx(0.2));
    nn::FakeQuantize<Spec> copy;
    nn::copy_state(*grid, *copy);
    CHECK(torch::equal(copy(x * 100), grid(x * 100)));  // it does not start again
    CHECK(copy->learned().item<float>() == doctest::Approx(0.2));
    grid->freeze_learned();
    CHECK_FALSE(grid(x).requires_grad());
}

TEST_CASE("frozen batch norm keeps gamma and beta when told so") {
    using A = Shift::vary<"live", LiveBatchNorm>::arithmetic;
    for (bool affine : {false, true}) {
        nn::Conv<A> conv({.in = 3, .out = 4});
        nn::freeze_batch_norm(*conv, affine);
        conv(torch::rand({1, 3, 4, 4})).sum().backward();
        CHECK(conv->batch_norm()->weight.grad().defined() == !affine);
        CHECK(conv->conv->weight.grad().defined());
    }
}

TEST_CASE("stochastic rounding moves weights in training only") {
    using Q = Quantizer<Int<8>, PerTensorSymmetric, FixedRange<R<-128>, R<127>>, Stochastic>;
    nn::FakeQuantize<Q> grid;
    auto const x = torch::full({10'000}, 0.25f);
    auto const mean = grid(x).mean().item<float>();
    CHECK(mean > 0.22);
    CHECK(mean < 0.28);
    grid->eval();
    CHECK(grid(x).abs().max().item<float>() == 0);
}
