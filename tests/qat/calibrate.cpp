// Post-training tools: calibration, equalization, bias correction, rounding by data, sensitivity, reports.

#include "support/doctest.hpp"

#include <qat/calibrate/correct_bias.hpp>
#include <qat/calibrate/equalize.hpp>
#include <qat/calibrate/report_text.hpp>
#include <qat/calibrate/round_weights.hpp>
#include <qat/calibrate/sensitivity.hpp>
#include <qat/qat.hpp>

#include <sstream>

namespace {
using namespace qat;
using namespace qat::calibrate;
using Out = Quantizer<UInt<8>, PerTensorAffine, MinMax>;
using Fine = Quantizer<Int<8>, PerChannelSymmetric<0>, MinMax>;
using Coarse = Fine::vary<Int<4>>;
using Folded = Experiment<"folded", ReLU, FoldBatchNorm, Weights<Fine>, Outputs<Out>, Input<Out>>;
using Rough = Folded::vary<"rough", Weights<Coarse>>;
using Live = Folded::vary<"live", LiveBatchNorm>;

// a, b, c one behind the other; or with y = c(b(a(x)) + a(x))
template <class A> struct ChainImpl : torch::nn::Module {
    struct Options {
        bool skip = false;
    };
    using arithmetic = A;
    Options options;
    nn::QuantizeInput<A> input;
    nn::Conv<A> a, b;
    nn::Add<A> add;
    nn::Projection<A> c;

    explicit ChainImpl(Options o = {})
        : options(o), input(register_module("input", nn::QuantizeInput<A>())),
          a(register_module("a", nn::Conv<A>({.in = 3, .out = 8, .kernel = 3, .stride = 2}))),
          b(register_module("b", nn::Conv<A>({.in = 8, .out = 8, .kernel = 3}))),
          add(register_module("add", nn::Add<A>())),
          c(register_module("c", nn::Projection<A>({.in = 8, .out = 5}))) {}

    template <Signal V> V forward(V x) {
        auto const first = a(input(x));
        auto const second = b(first);
        return c(options.skip ? add(second, first) : second);
    }
};
template <class A> using Chain = nn::Handle<ChainImpl<A>>;
template <class E> Chain<typename E::arithmetic> chain(bool skip = false) {
    torch::manual_seed(5);
    Chain<typename E::arithmetic> model(typename ChainImpl<typename E::arithmetic>::Options{skip});
    nn::bind(model, {1, 3, 16, 16});
    return model;
}
template <class M> Network seen_by_tools(M& model) { return network_of(model, {1, 3, 16, 16}); }

Batches some_batches(int count = 3) {
    torch::manual_seed(17);
    Batches batches;
    for (int i = 0; i < count; ++i) batches.push_back(torch::rand({4, 3, 16, 16}));
    return batches;
}
template <class M> torch::Tensor in_float(M& model, torch::Tensor const& x) {
    auto n = seen_by_tools(model);
    return float_results(n, {x}).front().front();
}
QuantizerReport const& of(std::vector<QuantizerReport> const& reports, std::string const& path) {
    for (auto const& r : reports)
        if (r.path == path) return r;
    FAIL("no quantizer " << path);
    return reports.front();
}
}  // namespace

TEST_CASE_TEMPLATE("calibration gives every grid the range of all batches, and batch norm does not move",
                   Movement, ScalesMove<each_forward>, ScalesMove<each_step>) {
    using Moving = Out::vary<Movement>;
    using E = Live::vary<"moving", Outputs<Moving>, Input<Moving>, Weights<typename Fine::vary<Movement>>>;
    auto model = chain<E>();
    auto n = seen_by_tools(model);
    auto const batches = some_batches();
    auto const mean = model->a->batch_norm()->running_mean.clone();
    auto const result = calibrate::calibrate(n, batches);
    CHECK(result.batches == 3);
    CHECK(result.unseen == std::vector<std::string>{"add.output"});  // it is not part of this forward
    CHECK(torch::equal(mean, model->a->batch_norm()->running_mean));
    CHECK(model->is_training());
    auto const largest = torch::cat(batches).max().template item<float>();
    CHECK(model->input->grid()->scale.template item<float>() == doctest::Approx(largest / 255));
    nn::for_each_grid(*model, [](nn::Grid& g) { CHECK(g.mode == nn::GridMode::quantize); });
    auto const wanted = float_results(n, batches);
    CHECK(compare(n, batches, wanted).signal_to_noise() > 30);
    CHECK(std::isfinite(compare(n, batches, wanted).signal_to_noise()));
    auto const largest_result =
        torch::cat({wanted[0][0], wanted[1][0], wanted[2][0]}).max().template item<float>();
    auto const& grid = *model->c->grid();  // nothing is quantized while grids watch: the float range
    CHECK(grid.scale.template item<float>() *
              static_cast<float>(255 - grid.zero_point.template item<int>()) ==
          doctest::Approx(largest_result).epsilon(0.01));
}

TEST_CASE("equalization leaves the float function as it is and makes the ranges of a channel equal") {
    auto model = chain<Folded>();
    {
        torch::NoGradGuard no_grad;
        model->a->conv->weight.mul_(torch::logspace(-2, 2, 8).view({-1, 1, 1, 1}));
        model->b->conv->weight.select(0, 3).zero_();  // a dead channel
    }
    auto n = seen_by_tools(model);
    auto const x = torch::rand({2, 3, 16, 16});
    auto const before = in_float(model, x);
    auto const result = equalize(n);
    CHECK(result.converged);
    REQUIRE(result.pairs.size() == 2);
    CHECK(result.pairs[0].from == "a");
    CHECK(result.pairs[0].to == std::vector<std::string>{"b"});
    CHECK(result.pairs[0].before > 10);
    CHECK(result.pairs[0].after < 1.01);
    CHECK(result.pairs[1].after < 1.01);
    REQUIRE(result.skipped.size() == 1);
    CHECK(result.skipped[0].why == "no convolution reads it");
    CHECK(support::relative_error(in_float(model, x), before) < 1e-5);
    auto const wide = model->a->conv->weight.abs().flatten(1).amax(1);
    auto const read = model->b->conv->weight.abs().transpose(0, 1).flatten(1).amax(1);
    CHECK(torch::allclose(wide, read, 1e-3));
}

TEST_CASE("equalization makes coarse per-tensor weights better") {
    using PerTensor = Folded::vary<"per-tensor", Weights<Quantizer<Int<8>, PerTensorSymmetric, MinMax>>>;
    auto const quality = [](bool equalized) {
        auto model = chain<PerTensor>();
        torch::NoGradGuard no_grad;
        model->a->conv->weight.mul_(torch::logspace(-2, 1, 8).view({-1, 1, 1, 1}));
        model->b->conv->weight.mul_(torch::logspace(2, -1, 8).view({1, -1, 1, 1}));
        auto n = seen_by_tools(model);
        if (equalized) equalize(n);
        auto const batches = some_batches();
        calibrate::calibrate(n, batches);
        return compare(n, batches, float_results(n, batches)).signal_to_noise();
    };
    CHECK(quality(true) > quality(false) + 10);
}

TEST_CASE("equalization says which convolutions it cannot treat, and why") {
    auto silu = chain<Folded::vary<"silu", SiLU>>();
    auto n = seen_by_tools(silu);
    auto const weight = silu->a->conv->weight.clone();
    auto const result = equalize(n);
    CHECK(result.pairs.empty());
    REQUIRE(result.skipped.size() == 3);
    CHECK(result.skipped[0].why.find("silu of a scaled number") == 0);
    CHECK(torch::equal(weight, silu->a->conv->weight));

    auto clipped = chain<Folded::vary<"relu6", ReLU6>>();
    auto n6 = seen_by_tools(clipped);
    CHECK(equalize(n6).skipped[0].why.find("relu6") == 0);

    auto joined = chain<Folded>(true);
    auto nj = seen_by_tools(joined);
    auto const skipped = equalize(nj).skipped;
    REQUIRE(skipped.size() == 3);
    CHECK(skipped[0].why == "it is read by add, which is no convolution");

    auto live = chain<Live>();
    auto nl = seen_by_tools(live);
    CHECK_THROWS_WITH_AS(equalize(nl), doctest::Contains("FoldBatchNorm"), std::runtime_error);
}

TEST_CASE_TEMPLATE("bias correction removes an injected bias, and then finds nothing to do", E, Folded,
                   Live) {
    auto model = chain<E>();
    auto wanted = nn::replicate(model, {1, 3, 16, 16});
    auto n = seen_by_tools(model);
    auto reference = seen_by_tools(wanted);
    auto const batches = some_batches(1);
    calibrate::calibrate(n, batches);
    auto const bias = n.graph[3].producer->quantized_weight()->bias.detach().clone();
    REQUIRE(n.graph[3].path == "b");
    {
        torch::NoGradGuard no_grad;
        for (auto const& layer : layers_of(n.graph)) torch::Tensor(layer.weight.bias).add_(0.3);
    }
    auto const first = correct_bias(n, reference, batches);
    REQUIRE(first.size() == 3);
    for (auto const& c : first) CHECK(c.largest == doctest::Approx(0.3).epsilon(0.1));
    CHECK(torch::allclose(bias, n.graph[3].producer->quantized_weight()->bias, 0, 0.02));
    for (auto const& c : correct_bias(n, reference, batches)) CHECK(c.largest < 1e-4);
    CHECK(model->is_training());
    CHECK_FALSE(model->a->tap);
}

TEST_CASE("bias correction over several batches takes the mean shift of all") {
    auto model = chain<Rough>();
    auto n = seen_by_tools(model);
    auto const batches = some_batches(4);
    calibrate::calibrate(n, batches);
    auto replica = nn::replicate(model, {1, 3, 16, 16});
    auto reference = seen_by_tools(replica);
    auto const before = correct_bias(n, reference, batches);
    auto const after = correct_bias(n, reference, batches);
    for (std::size_t i = 0; i < before.size(); ++i) CHECK(after[i].largest < 0.1 * before[i].largest);
}

TEST_CASE_TEMPLATE("rounding by data is never worse than nearest, is baked, and is the same each time", E,
                   Rough, Rough::vary<"rough-live", LiveBatchNorm>,
                   Rough::vary<"rough-affine", Weights<Quantizer<Int<4>, PerTensorAffine, MinMax>>>) {
    auto const batches = some_batches();
    auto const test = torch::rand({4, 3, 16, 16});
    auto const run = [&](bool rounded, torch::Tensor* weight = nullptr) {
        auto model = chain<E>();
        auto n = seen_by_tools(model);
        calibrate::calibrate(n, batches);
        auto replica = nn::replicate(model, {1, 3, 16, 16});
        auto reference = seen_by_tools(replica);
        if (rounded) {
            auto const layers = round_weights(n, reference, torch::cat(batches));
            REQUIRE(layers.size() == 3);
            for (auto const& layer : layers) {
                CAPTURE(layer.path);
                CHECK(layer.chosen < layer.nearest);
                CHECK(layer.changed > 0);
                CHECK(layer.changed < 0.6);
            }
            torch::NoGradGuard no_grad;
            for (auto const& layer : layers_of(n.graph)) {
                auto const seen = layer.weight.seen();
                layer.weight.grid->eval();
                CHECK(torch::allclose(layer.weight.grid->forward(seen), seen, 1e-6, 1e-7));
                CHECK_FALSE(layer.weight.grid->observing);
            }
            if (weight) *weight = model->b->conv->weight.detach().clone();
        }
        return compare(n, {test}, float_results(reference, {test})).signal_to_noise();
    };
    torch::Tensor first, again;
    double const by_data = run(true, &first);
    run(true, &again);
    CHECK(torch::equal(first, again));
    double const nearest = run(false);
    CAPTURE(nearest);
    CAPTURE(by_data);
    CHECK(by_data > nearest + 1);
}

TEST_CASE(
    "what rounding by data reports is the error of the rounded network's results, with or without biases") {
    for (bool const bias : {false, true}) {
        CAPTURE(bias);
        auto model = chain<Rough>();
        auto n = seen_by_tools(model);
        auto const images = torch::cat(some_batches());
        calibrate::calibrate(n, {images});
        auto replica = nn::replicate(model, {1, 3, 16, 16});
        auto reference = seen_by_tools(replica);
        RoundingOptions o;
        o.bias = bias, o.patches = images.size(0) * 8 * 8;  // every place
        auto const layers = round_weights(n, reference, images, o);
        for (auto* network : {&n, &reference}) network->module.eval();
        run_in_float(reference);
        std::vector<torch::Tensor> found, wanted;
        for (auto* network : {&n, &reference})
            for (auto const& layer : layers_of(network->graph))
                layer.producer->tap = [&, network](torch::Tensor const&, torch::Tensor const& y) {
                    (network == &n ? found : wanted).push_back(y.clone());
                };
        torch::NoGradGuard no_grad;
        n.forward(images), reference.forward(images);
        REQUIRE(found.size() == 3);
        for (std::size_t i = 0; i < 3; ++i) {
            CHECK((found[i] - wanted[i]).square().mean().item<double>() ==
                  doctest::Approx(layers[i].chosen).epsilon(0.01));
            if (bias) CHECK((found[i] - wanted[i]).mean({0, 2, 3}).abs().max().item<double>() < 1e-4);
        }
    }
}

TEST_CASE("rounding by data takes a sample of the places where there are many, the same for the same seed") {
    auto const y = torch::arange(2 * 40 * 50).view({2, 1, 40, 50}).to(torch::kFloat);
    RoundingOptions o;
    o.patches = 500;
    auto const places = calibrate::detail::Places(y, o, 3).of(y).flatten();
    CHECK(places.numel() == 500);
    CHECK(places.mean().item<float>() == doctest::Approx(2000).epsilon(0.1));
    CHECK(torch::equal(places, calibrate::detail::Places(y, o, 3).of(y).flatten()));
    CHECK_FALSE(torch::equal(places, calibrate::detail::Places(y, o, 4).of(y).flatten()));
    o.patches = 4000;
    CHECK(torch::equal(calibrate::detail::Places(y, o, 0).of(y).flatten(), y.flatten()));
}

TEST_CASE("the objective of rounding is the mean squared error of the layer's result") {
    torch::manual_seed(3);
    auto const x =
        torch::randn({64, 10}) + 2 * torch::randn({64, 1});  // alike, as neighbours in an image are
    auto const w = torch::randn({8, 10}), r = 0.1 * torch::randn({64, 8});
    RoundingProblem p{.weight = w,
                      .nearest = torch::round(w / 0.25),
                      .step = torch::full({8, 1}, 0.25),
                      .low = torch::full({8, 1}, -128.0),
                      .high = torch::full({8, 1}, 127.0),
                      .moments = x.t().mm(x) / 64,
                      .wanted = r.t().mm(x) / 64,
                      .offset = r.square().mean(0)};
    auto const direct = (x.mm((0.25 * p.nearest).t()) - x.mm(w.t()) - r).square().mean(0);
    CHECK(support::relative_error(p.error(p.nearest), direct) < 1e-4);
    auto const found = p.solve({});
    CHECK((p.error(found) <= p.error(p.nearest)).all().item<bool>());
    auto const away = found - w / 0.25;
    CHECK((away.abs() < 1).all().item<bool>());
    // All 1024 roundings of a row: the best is hardly better.
    auto const floor = torch::floor(w / 0.25);
    auto best = torch::full({8}, 1e9);
    for (int choice = 0; choice < 1024; ++choice) {
        auto up = torch::zeros({10});
        for (int k = 0; k < 10; ++k) up[k] = (choice >> k) & 1;
        best = torch::minimum(best, p.error(floor + up));
    }
    auto const gained = p.error(p.nearest).mean() - p.error(found).mean();
    auto const possible = p.error(p.nearest).mean() - best.mean();
    CHECK(possible.item<float>() > 0);
    CHECK(gained.item<float>() > 0.8 * possible.item<float>());
}

TEST_CASE_TEMPLATE("the most sensitive layer is the one that was made bad", Which,
                   std::integral_constant<int, 0>, std::integral_constant<int, 1>) {
    auto model = chain<Folded>();
    auto n = seen_by_tools(model);
    auto const batches = some_batches(1);
    calibrate::calibrate(n, batches);
    model->b->weight_grid->set_bits(2, true);
    auto const measured = Which::value == 0 ? Measured::alone : Measured::left_out;
    auto const ranked = sensitivity(n, n, batches, {.measured = measured});
    REQUIRE(ranked.size() == 3 + 4);
    CHECK(ranked[0].path == "b.weight_grid");
    auto const outputs = sensitivity(n, n, batches, {.measured = measured, .weights = false});
    CHECK(outputs.size() == 4);
    auto const layers = sensitivity(n, n, batches, {.measured = measured, .by_layer = true});
    CHECK(layers.size() == 4);
    CHECK(layers[0].path == "b");
    nn::for_each_grid(*model, [](nn::Grid& g) { CHECK(g.mode == nn::GridMode::quantize); });
    int calls = 0;
    auto const by_metric = sensitivity(n, n, batches, {.measured = measured, .by_layer = true, .metric = [&] {
                                                           return ++calls == 3 ? 0.0 : 1.0;
                                                       }});
    CHECK(calls == 4);
    CHECK((Which::value == 0 ? by_metric.front() : by_metric.back()).path == "b");
}

TEST_CASE("a report says what each quantizer does") {
    auto model = chain<Folded>();
    auto n = seen_by_tools(model);
    auto const batches = some_batches();
    calibrate::calibrate(n, batches);
    auto const reports = report(n, batches);
    REQUIRE(reports.size() == 3 + 4 + 1);  // weights, outputs, and the addition that nothing passes
    CHECK(reports[0].path == "input.output");
    CHECK(reports[1].path == "a.weight_grid");
    auto const& weights = of(reports, "b.weight_grid");
    auto const w = model->b->conv->weight.detach();
    auto const q = model->b->weight_grid->forward(w);
    double const ratio =
        10 * std::log10((w * w).sum().item<double>() / (w - q).square().sum().item<double>());
    CHECK(weights.signal_to_noise == doctest::Approx(ratio).epsilon(1e-4));
    CHECK(weights.cosine > 0.9999);
    // torch.ao's symmetric scale lets the largest of each channel end half a step beyond the last code
    CHECK(weights.clip_rate <= 8.0 / static_cast<double>(w.numel()));
    CHECK(weights.values == 3 * w.numel());
    CHECK(weights.scale_max == doctest::Approx(model->b->weight_grid->scale.max().item<float>()));
    CHECK(weights.codes == 256);
    CHECK(weights.codes_used > 128);
    CHECK(weights.bits_used() > 7);
    auto const& out = of(reports, "b.output");
    CHECK(out.finding == Finding::none);
    CHECK(out.min == 0.0);
    CHECK(out.grid_max >= out.max - 1e-4);
    CHECK(of(reports, "add.output").finding == Finding::never_ran);

    model->b->grid()->scale.mul_(0.5);  // half the range is outside now
    auto const clipped = of(report(n, batches), "b.output");
    CHECK(clipped.clip_rate > 0.005);
    CHECK(clipped.signal_to_noise < out.signal_to_noise);

    std::ostringstream table, data, script;
    write_table(table, reports);
    CHECK(table.str().find("add.output: this quantizer did not quantize anything") != std::string::npos);
    write_plot_data(data, reports);
    CHECK(data.str().find("1 \"a.weight_grid\" weights ") != std::string::npos);
    write_plot_script(script, "it's.dat", "a.png", "title", 7);
    CHECK(script.str().find("'it''s.dat' using") != std::string::npos);
}

namespace {
// What a quantizer looks like whose author forgot to quantize (defect 1 of the study: an observer in its place).
class Forgotten : public nn::Grid {
public:
    Forgotten() {
        scale = torch::full({}, 0.1), zero_point = torch::zeros({}, torch::kInt);
        levels = {-128, 127};
    }
    torch::Tensor forward(torch::Tensor const& x) override {
        if (probe) probe(x, x);
        return x;
    }
    void refresh() override {}
    void share(SharedRange) override {}
    std::string describe() const override { return "forgotten"; }
    bool quantized() const override { return true; }
    bool fixed() const override { return false; }
    bool unseen() const override { return false; }
    bool power_of_two() const override { return false; }
    void widen(torch::Tensor const&, torch::Tensor const&) override {}
    void set_bits(int, bool) override {}
    torch::Tensor learned() const override { return {}; }
    void freeze_learned() override {}
    std::pair<torch::Tensor, torch::Tensor> by_channel() const override { return {scale, zero_point}; }
};
struct StepImpl : nn::Producer {
    StepImpl() : Producer(std::make_shared<Forgotten>()) {}
    torch::Tensor forward(torch::Tensor const& x) { return grid()->forward(x); }
    graph::Value forward(graph::Value x) {
        return record({.op = graph::Op::quantize, .shape = x.shape()}, {x});
    }
};
using Step = nn::Handle<StepImpl>;
}  // namespace

TEST_CASE("quantizers that change nothing are found: forgotten, switched off, without a range, float") {
    Step step;
    Network n{*step, nn::trace(step, {1, 3, 4, 4}),
              [&](torch::Tensor const& x) { return std::vector{step(x)}; }};
    auto const found = report(n, {torch::rand({1, 3, 4, 4})});
    REQUIRE(found.size() == 1);
    CHECK(found[0].finding == Finding::changes_nothing);
    auto const on_grid = report(n, {torch::tensor({0.1f, -0.3f, 12.7f}).view({1, 3, 1, 1})});
    CHECK(on_grid[0].finding == Finding::none);  // what lies on the grid may stay as it is

    auto model = chain<Folded>();
    auto c = seen_by_tools(model);
    CHECK(of(report(c, some_batches()), "a.output").finding == Finding::unseen);
    calibrate::calibrate(c, some_batches());
    model->a->grid()->mode = nn::GridMode::bypass;
    auto const reports = report(c, some_batches());
    CHECK(of(reports, "a.output").finding == Finding::never_ran);
    CHECK(of(reports, "b.output").finding == Finding::none);

    auto partly = chain<Folded::vary<"float head", HeadFloat, Input<Quantizer<Float>>>>();
    auto p = seen_by_tools(partly);
    calibrate::calibrate(p, some_batches());
    auto const head = report(p, some_batches());
    CHECK(of(head, "c.output").finding == Finding::not_quantized);
    CHECK(of(head, "c.weight_grid").finding == Finding::not_quantized);
    CHECK(of(head, "input.output").finding == Finding::not_quantized);
}

TEST_CASE("a grid that several share is one entry, and names them") {
    auto model = chain<Folded::vary<"aligned", AlignInputs>>(true);
    auto n = seen_by_tools(model);
    calibrate::calibrate(n, some_batches());
    auto const reports = report(n, some_batches());
    CHECK(of(reports, "a.output").shared_with == std::vector<std::string>{"b"});
    CHECK(reports.size() == 3 + 4);  // input, a with b, add, c
}

TEST_CASE("whatever is thrown meanwhile, modes, probes and taps are as they were") {
    auto model = chain<Folded>();
    auto n = seen_by_tools(model);
    calibrate::calibrate(n, some_batches());
    n.forward = [](torch::Tensor const&) -> std::vector<torch::Tensor> { throw std::runtime_error("stop"); };
    auto const untouched = [&] {
        CHECK(model->is_training());
        CHECK(model->a->grid()->is_training());
        CHECK_FALSE(model->a->tap);
        nn::for_each_grid(*model, [](nn::Grid& g) {
            CHECK(g.mode == nn::GridMode::quantize);
            CHECK_FALSE(g.probe);
            CHECK(g.observing);
        });
    };
    CHECK_THROWS(calibrate::calibrate(n, some_batches()));
    untouched();
    CHECK_THROWS(correct_bias(n, n, some_batches()));
    CHECK_THROWS(round_weights(n, n, some_batches()[0]));
    CHECK_THROWS(report(n, some_batches()));
    CHECK_THROWS(sensitivity(n, n, some_batches()));
    CHECK_THROWS_WITH(calibrate::calibrate(n, {}), doctest::Contains("no batches"));
    untouched();
}
