// Modules: grids and their sharing, Conv-BN in training form, binding, copies.

#include "support/doctest.hpp"

#include <qat/qat.hpp>

namespace {
using namespace qat;
using ShiftOut = Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Ceil>>;
using ShiftWeight = ShiftOut::vary<PerChannelSymmetric<0>>;
using Shift = Experiment<"shift", ReLU, Weights<ShiftWeight>, Outputs<ShiftOut>, AlignInputs>::arithmetic;
using Split = Experiment<"split", ReLU, Weights<ShiftWeight>, Outputs<ShiftOut>>::arithmetic;
using InFloat = Quantizer<Float>;
using Plain = Experiment<"plain", ReLU, Weights<InFloat>, Outputs<InFloat>>::arithmetic;
using Folded = Experiment<"folded", ReLU, Weights<InFloat>, Outputs<InFloat>, FoldBatchNorm>::arithmetic;

// y = a(x) + b(c(x)), then a concatenation with the pooled a(x): everything but c on one grid under AlignInputs.
template <class A> struct BranchesImpl : torch::nn::Module {
    struct Options {
        std::int64_t channels = 4;
    };
    using arithmetic = A;
    Options options;
    nn::Conv<A> a, b, c;
    nn::Add<A> add;
    nn::Concat<A> concat;

    explicit BranchesImpl(Options o = {})
        : options(o), a(register_module("a", nn::Conv<A>({.in = o.channels, .out = o.channels}))),
          b(register_module("b", nn::Conv<A>({.in = o.channels, .out = o.channels, .kernel = 3}))),
          c(register_module("c", nn::Conv<A>({.in = o.channels, .out = o.channels}))),
          add(register_module("add", nn::Add<A>())), concat(register_module("concat", nn::Concat<A>())) {}

    template <Signal V> V forward(V x) {
        auto left = a(x);
        return concat(add(left, b(c(x))), max_pool(left, 3));
    }
};
template <class A> using Branches = nn::Handle<BranchesImpl<A>>;
graph::Shape const input_shape{1, 4, 8, 8};

torch::Tensor buffer(torch::nn::Module const& m, std::string const& name) { return m.named_buffers()[name]; }
}  // namespace

TEST_CASE(
    "a grid of one producer takes the tensor in, then moves, then quantizes; evaluation leaves it alone") {
    nn::FakeQuantize<Quantizer<Int<8>, PerTensorSymmetric, MinMax>> grid;
    auto const x = torch::tensor({-1.0f, 12.75f});
    CHECK(torch::allclose(grid(x), torch::tensor({-1.0f, 12.7f})));  // s = 0.1 at once
    CHECK(grid->scale.item<float>() == doctest::Approx(0.1));
    grid->eval();
    grid(x * 10);
    CHECK(grid->scale.item<float>() == doctest::Approx(0.1));
    grid->train();
    nn::stop_observers(*grid);
    grid(x * 10);
    CHECK(grid->scale.item<float>() == doctest::Approx(0.1));
    nn::start_observers(*grid);
    grid(x * 10);
    CHECK(grid->scale.item<float>() == doctest::Approx(1.0));
}

TEST_CASE("a shared grid is constant within a step and covers all its producers after it") {
    nn::FakeQuantize<Quantizer<Int<8>, PerTensorSymmetric>> grid;
    grid->share(SharedRange::whole);
    nn::observe_once(*grid, [&] { grid(torch::full({4}, 2.0f)), grid(torch::full({4}, 1.0f)); });
    CHECK(grid->scale.item<float>() == doctest::Approx(2 / 127.5));
    grid(torch::full({4}, 1.0f));
    grid(torch::full({4}, 12.0f));
    CHECK(grid->scale.item<float>() == doctest::Approx(2 / 127.5));
    nn::refresh_scales(*grid);  // one average of the union: 2 + 0.01 * (12 - 2)
    CHECK(grid->scale.item<float>() == doctest::Approx(2.1 / 127.5));
    nn::refresh_scales(*grid);  // nothing new: nothing moves
    CHECK(grid->scale.item<float>() == doctest::Approx(2.1 / 127.5));
}

TEST_CASE("ScalesMove<each_step> moves a grid between steps though nobody shares it") {
    nn::FakeQuantize<Quantizer<Int<8>, PerTensorSymmetric, MinMax, ScalesMove<each_step>>> grid;
    nn::observe_once(
        *grid, [&] { CHECK(grid(torch::full({2}, 12.75f))[0].item<float>() == 12.75f); });  // not quantized
    CHECK(grid->scale.item<float>() == doctest::Approx(0.1));
    grid(torch::full({2}, 25.5f));
    CHECK(grid->scale.item<float>() == doctest::Approx(0.1));
    nn::stop_observers(*grid);  // the last step counts
    CHECK(grid->scale.item<float>() == doctest::Approx(0.2));
}

TEST_CASE("a range ignores what is not finite") {
    nn::FakeQuantize<Quantizer<Int<8>, PerTensorSymmetric, MinMax>> grid;
    grid(torch::tensor({std::nanf(""), 1.0f}));
    CHECK(grid->scale.item<float>() == 1.0f);  // nothing seen yet
    grid(torch::tensor({-12.75f, 1.0f}));
    grid(torch::tensor({std::numeric_limits<float>::infinity(), 1.0f}));
    CHECK(grid->scale.item<float>() == doctest::Approx(0.1));
    grid(torch::empty({0}));
    CHECK(grid->scale.item<float>() == doctest::Approx(0.1));
}

TEST_CASE("a fixed range is there from the beginning and never moves") {
    nn::FakeQuantize<
        Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Ceil>, FixedRange<std::ratio<-8>, std::ratio<8>>>>
        grid;
    CHECK(grid->scale.item<float>() == 1.0f / 16);
    grid(torch::full({2}, 100.0f));
    CHECK(grid->scale.item<float>() == 1.0f / 16);
}

TEST_CASE("a float grid has no state and returns its input") {
    nn::FakeQuantize<Quantizer<Float>> grid;
    auto const x = torch::rand({3});
    CHECK(grid(x).is_same(x));
    CHECK(grid->named_buffers().size() == 0);
}

TEST_CASE("live batch norm with float weights is convolution, batch norm, activation") {
    torch::manual_seed(1);
    nn::Conv<Plain> conv({.in = 3, .out = 5, .kernel = 3, .stride = 2});
    auto const x = torch::randn({2, 3, 9, 9});
    auto const mean = conv->bn->running_mean.clone();
    auto const y = conv(x);
    CHECK(y.sizes() == torch::IntArrayRef({2, 5, 5, 5}));
    CHECK_FALSE(torch::equal(mean, conv->bn->running_mean));  // the statistics move
    conv->eval();
    auto const folded = conv(x);
    auto const direct = torch::relu(conv->bn(torch::conv2d(x, conv->conv->weight, {}, 2, 1)));
    CHECK(support::relative_error(folded, direct) < 1e-5);
}

TEST_CASE("quantized weights are those of the folded convolution, in training and evaluation") {
    torch::manual_seed(2);
    nn::Conv<Split> conv({.in = 3, .out = 5, .kernel = 3});
    {
        torch::NoGradGuard no_grad;
        conv->bn->weight.uniform_(0.5, 2), conv->bn->running_var.uniform_(0.5, 2),
            conv->bn->running_mean.normal_();
    }
    auto const x = torch::randn({2, 3, 8, 8});
    conv(x).sum().backward();
    for (auto const& p : conv->named_parameters()) {
        CAPTURE(p.key());
        CHECK(p.value().grad().defined());
        CHECK(p.value().grad().isfinite().all().item<bool>());
    }
    conv->eval();
    auto const f = conv->bn->weight * torch::rsqrt(conv->bn->running_var + 1e-3);
    auto const w = fake_quantize<ShiftWeight>(conv->conv->weight * f.view({-1, 1, 1, 1}),
                                              conv->weight_grid->scale, conv->weight_grid->zero_point);
    auto const y = torch::relu(torch::conv2d(x, w, conv->bn->bias - conv->bn->running_mean * f, 1, 1));
    auto const expected = fake_quantize<ShiftOut>(y, conv->grid()->scale, conv->grid()->zero_point);
    CHECK(torch::equal(conv(x), expected));
}

TEST_CASE("with the batch's own statistics Conv-BN in training form equals convolution and batch norm, but "
          "for the weights' grid") {
    torch::manual_seed(3);
    nn::Conv<Split> conv({.in = 3, .out = 4, .kernel = 3});
    auto const x = torch::randn({4, 3, 8, 8});
    auto const f = conv->bn->weight * torch::rsqrt(conv->bn->running_var + 1e-3);
    conv->weight_grid(conv->conv->weight * f.view({-1, 1, 1, 1}));
    auto const w = fake_quantize<ShiftWeight>(conv->conv->weight * f.view({-1, 1, 1, 1}),
                                              conv->weight_grid->scale, conv->weight_grid->zero_point) /
                   f.view({-1, 1, 1, 1});
    auto const normal = torch::relu(torch::batch_norm(torch::conv2d(x, w, {}, 1, 1), conv->bn->weight,
                                                      conv->bn->bias, {}, {}, true, 0.1, 1e-3, false));
    conv->grid()->mode = nn::GridMode::observe;  // outputs as they are
    CHECK(support::relative_error(conv(x), normal) < 1e-4);
}

TEST_CASE("a channel whose gamma is 0 gives beta, and no NaN") {
    torch::manual_seed(4);
    nn::Conv<Split> conv({.in = 3, .out = 4, .kernel = 3});
    {
        torch::NoGradGuard no_grad;
        conv->bn->weight[1] = 0, conv->bn->bias.fill_(0.5);
    }
    auto const y = conv(torch::randn({2, 3, 8, 8}));
    y.sum().backward();
    auto const channel = y.select(1, 1);
    CHECK(torch::equal(channel, channel.max().expand_as(channel)));
    CHECK(std::abs(channel.max().item<float>() - 0.5f) < 0.1f);  // on the grid
    for (auto const& t : {conv->bn->running_mean, conv->bn->running_var, conv->bn->weight.grad(),
                          conv->bn->bias.grad(), conv->conv->weight.grad(), conv->weight_grid->scale})
        CHECK(t.isfinite().all().item<bool>());
}

TEST_CASE("frozen batch norm uses its statistics in training, and they stay") {
    nn::Conv<Split> conv({.in = 3, .out = 4});
    conv(torch::randn({2, 3, 4, 4}));
    nn::freeze_batch_norm(*conv);
    auto const before = conv->bn->running_mean.clone();
    conv->train();
    conv(torch::randn({2, 3, 4, 4}) + 3).sum().backward();
    CHECK(torch::equal(before, conv->bn->running_mean));
    CHECK(conv->bn->weight.grad().abs().sum().item<float>() > 0);  // gamma and beta are still trained
}

TEST_CASE("binding makes the branches of every join share one grid, owned by the first, and is idempotent") {
    Branches<Shift> model;
    CHECK(nn::misaligned_joins(nn::trace(model, input_shape)) == std::vector<std::string>{"add", "concat"});
    auto const groups = nn::bind(model, input_shape);
    REQUIRE(groups.size() == 1);
    CHECK(groups[0].members == std::vector<std::string>{"a", "b", "add"});
    CHECK(groups[0].joins == std::vector<std::string>{"add", "concat"});
    CHECK(nn::misaligned_joins(nn::trace(model, input_shape)).empty());
    CHECK(model->a->grid() == model->b->grid());
    CHECK(model->a->grid() == model->add->grid());
    CHECK(model->a->grid() != model->c->grid());
    auto const tensors = model->named_buffers().size();
    nn::bind(model, input_shape);
    CHECK(model->named_buffers().size() == tensors);
    CHECK(model->named_buffers().contains("a.output.scale"));
    CHECK_FALSE(model->named_buffers().contains("b.output.scale"));
}

TEST_CASE("unaligned branches keep their grids, and the concatenation gets one") {
    Branches<Split> model;
    CHECK(nn::bind(model, input_shape).empty());
    CHECK(model->concat->grid()->quantized());
    model(torch::randn({2, 4, 8, 8}));
    CHECK_FALSE(torch::equal(buffer(*model, "a.output.max"), buffer(*model, "add.output.max")));
}

TEST_CASE("within a training step a bound model has one scale per group, and moves it between steps") {
    torch::manual_seed(6);
    Branches<Shift> model;
    nn::bind(model, input_shape);
    auto const x = torch::randn({2, 4, 8, 8});
    nn::observe_once(*model, [&] { model(x); });
    CHECK(model->is_training());
    auto const first = model->a->grid()->scale.clone();
    CHECK(first.item<float>() != 1.0f);
    model(x * 100).sum().backward();
    CHECK(torch::equal(model->a->grid()->scale, first));
    CHECK(model->c->grid()->scale.item<float>() > first.item<float>());  // its own: moved in the forward
    for (int i = 0; i < 100; ++i) nn::refresh_scales(*model), model(x * 100);
    nn::refresh_scales(*model);
    CHECK(model->a->grid()->scale.item<float>() > first.item<float>());
}

TEST_CASE("observing once moves no batch norm and counts nothing twice") {
    Branches<Shift> model;
    nn::bind(model, input_shape);
    auto const mean = model->a->bn->running_mean.clone();
    nn::observe_once(*model, [&] { model(torch::randn({2, 4, 8, 8})); });
    CHECK(torch::equal(mean, model->a->bn->running_mean));
    CHECK(std::isinf(buffer(*model, "c.output.max").item<float>()));  // moves each forward: not this one
    CHECK(std::isfinite(buffer(*model, "a.output.max").item<float>()));
}

TEST_CASE("results with different quantizers cannot share a grid, and the error says what to do") {
    nn::Conv<Shift> shift({.in = 4, .out = 4});
    nn::Conv<Plain> plain({.in = 4, .out = 4});
    CHECK_THROWS_WITH_AS(plain->share_grid_of(*shift),
                         doctest::Contains("give both the same, or use Unaligned"), c10::Error);
}

TEST_CASE("a copy is built, bound and filled by name") {
    Branches<Shift> model;
    nn::bind(model, input_shape);
    model(torch::randn({2, 4, 8, 8}));
    auto copy = nn::replicate(model, input_shape);
    model->eval(), copy->eval();
    auto const x = torch::randn({1, 4, 8, 8});
    CHECK(torch::equal(model(x), copy(x)));
    CHECK(copy->a->grid() == copy->add->grid());
    CHECK(copy->a->grid() != model->a->grid());
    Branches<Shift> unbound;
    CHECK_THROWS_WITH_AS(nn::copy_state(*model, *unbound), doctest::Contains("bind both models before"),
                         c10::Error);
}

TEST_CASE("the graph has shapes, quantizers and paths; shapes that do not fit are errors with sizes") {
    Branches<Split> model;
    auto const g = nn::trace(model, input_shape);
    CHECK(g.nodes.size() == 7);
    CHECK(g.nodes.back().path == "concat");
    CHECK(g.nodes.back().shape == qat::graph::Shape{1, 8, 8, 8});
    CHECK(g[1].computes == "1x1 relu");
    CHECK(g[1].weights == "int8, per-channel symmetric, moving-average min-max, power of two, rounded up");
    CHECK_THROWS_WITH_AS(nn::trace(model, {1, 3, 8, 8}),
                         doctest::Contains("conv: the input has 3 channels, want 4"), c10::Error);
}

TEST_CASE("an input quantizer is one more node, and none if it is float") {
    using Quantized = Experiment<"q", ReLU, Input<Quantizer<Int<8>>>>::arithmetic;
    nn::QuantizeInput<Quantized> input;
    graph::Graph g;
    auto const v = input(g.input({1, 3, 8, 8}));
    CHECK(g[v.node].op == graph::Op::quantize);
    nn::QuantizeInput<Plain> none;
    CHECK(none(v).node == v.node);
}
