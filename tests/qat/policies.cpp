// What the choices of an experiment do in modules: heads, joins, biases, exceptions, schedules, trained grids.

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
    static_assert(std::is_same_v<A::head::outputs, ShiftOut::vary<PerRole>>);
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
    static_assert(Int16::head::outputs::format::bits == 16 && Int16::head::weights::format::bits == 8);
    using Unsigned = Shift::vary<"u8", Outputs<ShiftOut::vary<UInt<8>>>, HeadInt16>::arithmetic;
    static_assert(Unsigned::head::outputs::format::is_signed);
    using Only = Shift::vary<"weights", HeadWeightsOnly>::arithmetic;
    static_assert(!Only::head::outputs::format::quantized && Only::head::weights::format::quantized);
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

    using Affine = Quantizer<UInt<8>, PerTensorAffine, MinMax>;
    auto const scale = [](auto join) {
        using A = typename Shift::template vary<"j", decltype(join), SiLU, Outputs<Affine>,
                                                Input<Affine>>::arithmetic;
        torch::manual_seed(0);
        Joins<A> model;
        nn::bind(model, shape);
        torch::NoGradGuard no_grad;
        // a gives -0.27, b 4.97, their sum 4.70, and c(sum) 100
        for (auto& p : model->parameters()) p.zero_();
        model->a->conv->bias.fill_(-1);
        model->b->conv->bias.fill_(5);
        model->c->conv->bias.fill_(100);
        nn::observe_once(*model, [&] { model(torch::rand({1, 3, 8, 8})); });
        return scale_of(model->a->grid());
    };
    double const a = -1 / (1 + std::exp(1.0)), b = 5 / (1 + std::exp(-5.0));
    CHECK(scale(AlignAll{}) == doctest::Approx((100 - a) / 255));
    CHECK(scale(AlignAllTo<SharedRange::largest>{}) == doctest::Approx(100.0 / 255));
    CHECK(scale(AlignAllTo<SharedRange::result>{}) ==
          doctest::Approx(100.0 / 255));                            // not a: it is only added
    CHECK(scale(AlignInputs{}) == doctest::Approx((b - a) / 255));  // a and b alone
    CHECK(scale(AlignInputsTo<SharedRange::largest>{}) == doctest::Approx(b / 255));
}

TEST_CASE("a grid that looks at values cannot take the largest range, and says so") {
    nn::FakeQuantize<Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<LeastError>>> grid;
    CHECK_THROWS_WITH_AS(grid->share(SharedRange::largest), doctest::Contains("or SharedRange::whole"),
                         c10::Error);
    grid->share(SharedRange::whole);
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

namespace {
// Codes of the result from codes of the input and the weights, in integers, as an engine computes them.      int64
torch::Tensor integers(torch::Tensor const& input, torch::Tensor const& input_scale,
                       torch::Tensor const& weight, torch::Tensor const& weight_scale,
                       torch::Tensor const& bias, torch::Tensor const& scale, std::int64_t pad, bool relu) {
    auto const by_row = weight_scale.view({-1, 1, 1, 1});
    auto const unit = input_scale * weight_scale;  // [C]
    auto const x = (input / input_scale).to(torch::kDouble), w = (weight / by_row).to(torch::kDouble);
    auto const b = torch::round(bias / unit).to(torch::kDouble);
    auto const sums =
        torch::conv2d(x, w, b, 1, pad).to(torch::kLong).contiguous();  // exact: integers below 2^53
    auto codes = torch::empty_like(sums);
    auto const area = sums.size(2) * sums.size(3);
    for (std::int64_t i = 0; i < sums.numel(); ++i) {
        auto const channel = (i / area) % sums.size(1);
        int const shift = exponent(scale.item<float>(), Floor) - exponent(unit[channel].item<float>(), Floor);
        auto const sum = sums.data_ptr<std::int64_t>()[i];
        codes.data_ptr<std::int64_t>()[i] =
            requantize(relu ? std::max<std::int64_t>(sum, 0) : sum, shift, {-128, 127});
    }
    return codes;
}
torch::Tensor on_its_grid(torch::Tensor const& w, nn::Grid& grid) {
    grid.eval();
    return grid.forward(w).detach();
}
}  // namespace

TEST_CASE("with a bias on the accumulator's grid a layer equals integers and shifts, bit for bit") {
    using Live = Shift::vary<"live", AccumulatorBias, LiveBatchNorm>::arithmetic;
    using Folded = Shift::vary<"folded", AccumulatorBias>::arithmetic;
    torch::manual_seed(3);
    nn::FakeQuantize<ShiftOut> input;
    auto const x = input(torch::rand({2, 3, 6, 6})).detach();
    torch::NoGradGuard no_grad;
    auto const same = [&](auto& layer, torch::Tensor const& weight, torch::Tensor const& bias,
                          std::int64_t pad, bool relu) {
        layer->reads(input.ptr());
        layer(x);
        auto const y = layer(x);  // the scales of both
        auto const& w = *layer->weight_grid;
        auto const expected = integers(x, input->scale, on_its_grid(weight, *layer->weight_grid), w.scale,
                                       bias, layer->grid()->scale, pad, relu);
        CHECK(torch::equal((y / layer->grid()->scale).to(torch::kLong), expected));
        CHECK(expected.abs().max().template item<std::int64_t>() > 60);
    };
    nn::Conv<Folded> folded({.in = 3, .out = 4, .kernel = 3});
    same(folded, folded->conv->weight, folded->conv->bias, 1, true);

    nn::Conv<Live> live({.in = 3, .out = 4, .kernel = 3});
    live->bn->weight.uniform_(0.5, 2), live->bn->bias.normal_(), live->bn->running_mean.normal_(),
        live->bn->running_var.uniform_(0.5, 2);
    nn::freeze_batch_norm(*live);
    auto const f = live->bn->weight * torch::rsqrt(live->bn->running_var + 1e-3);
    same(live, live->conv->weight * f.view({-1, 1, 1, 1}), live->bn->bias - live->bn->running_mean * f, 1,
         true);

    nn::Projection<Folded> head({.in = 3, .out = 4});
    same(head, head->weight, head->bias, 0, false);
}

TEST_CASE("a bias on the accumulator's grid: behind an affine input, and as far as int32 goes") {
    using Affine = Quantizer<UInt<8>, PerTensorAffine, MinMax>;
    using A = Experiment<"affine", ReLU, AccumulatorBias, Outputs<Affine>, Input<Affine>,
                         FoldBatchNorm>::arithmetic;
    nn::FakeQuantize<Affine> input;
    input(torch::tensor({-0.7f, 1.9f}));
    nn::Projection<A> head({.in = 3, .out = 3});
    torch::Tensor sums;
    head->tap = [&](torch::Tensor const&, torch::Tensor const& y) { sums = y.detach().flatten(); };
    head->reads(input.ptr());
    head(torch::zeros({1, 3, 1, 1}));  // zero is on the grid, so the sums are the biases
    auto const unit = input->scale * head->weight_grid->scale;
    CHECK(input->zero_point.item<int>() != 0);
    CHECK(torch::equal(sums, torch::round(head->bias / unit) * unit));
    CHECK_FALSE(torch::equal(sums, head->bias));
    {
        torch::NoGradGuard no_grad;
        head->weight.zero_();
        head->bias.copy_(torch::tensor({1e4f, -1e4f, 0.0f}));
        head->weight_grid = nn::FakeQuantize<A::head::weights>(3);  // the smallest scale
        input->scale.fill_(0.0078125), input->eval();
    }
    head(torch::zeros({1, 3, 1, 1}));
    double const least = 0.0078125 * head->weight_grid->scale[0].item<double>();
    auto const ends = torch::tensor({2147483520.0 * least, -2147483648.0 * least, 0.0}, torch::kDouble);
    CHECK(ends[0].item<double>() < 1e4);
    CHECK(torch::equal(sums, ends.to(torch::kFloat)));
}

namespace {
template <class A> struct StagesImpl : torch::nn::Module {
    struct Options {};
    using arithmetic = A;
    Options options;
    nn::QuantizeInput<A> input{register_module("input", nn::QuantizeInput<A>())};
    nn::Conv<typename A::template at<"first">> first{
        register_module("first", nn::Conv<typename A::template at<"first">>({.in = 3, .out = 4}))};
    nn::Conv<typename A::template at<"second">> second{
        register_module("second", nn::Conv<typename A::template at<"second">>({.in = 4, .out = 4}))};
    nn::Projection<typename A::template at<"head">> head{
        register_module("head", nn::Projection<typename A::template at<"head">>({.in = 4, .out = 4}))};
    explicit StagesImpl(Options = {}) {}
    template <Signal V> V forward(V x) { return head(second(first(input(x)))); }
};
template <class A> using Stages = nn::Handle<StagesImpl<A>>;

// The results before the activations: first, second, head.
template <class A> std::vector<torch::Tensor> sums_of() {
    torch::manual_seed(4);
    Stages<A> model;
    nn::bind(model, shape);
    std::vector<torch::Tensor> sums;
    auto const keep = [&](torch::Tensor const&, torch::Tensor const& y) {
        sums.push_back(y.detach().clone());
    };
    model->first->tap = keep, model->second->tap = keep, model->head->tap = keep;
    model(torch::rand({2, 3, 8, 8})).sum().backward();
    return sums;
}
}  // namespace

TEST_CASE(
    "a stage in float, and one that reads it, have a float bias; the others' is on the accumulator's grid") {
    using In = Shift::vary<"acc", AccumulatorBias, HeadFixed<ShiftOut>>;
    using First = Except<"first", Float>;
    using Head = Except<"head", Float>;
    auto const with = sums_of<In::vary<"w", First>::arithmetic>();
    auto const without = sums_of<In::vary<"wo", First, FloatBias>::arithmetic>();
    CHECK(torch::equal(with[0], without[0]));
    CHECK(torch::equal(with[1], without[1]));
    CHECK_FALSE(torch::equal(with[2], without[2]));
    // What is said of a head's stage holds, whatever the head's policy.
    using A = In::vary<"h", Head>::arithmetic;
    static_assert(!A::at<"head">::head::outputs::format::quantized &&
                  !A::at<"head">::head::weights::format::quantized);
    using Wider = In::vary<"h", HeadFixed<ShiftOut::vary<MinMax>>, Except<"head", Int<16>>>::arithmetic;
    static_assert(std::is_same_v<Wider::at<"head">::head::outputs, ShiftOut::vary<MinMax, Int<16>>>);
    using Only = In::vary<"h", HeadWeightsOnly, Except<"head", Int<4>>>::arithmetic;
    static_assert(Only::at<"head">::head::weights::format::bits == 4 &&
                  !Only::at<"head">::head::outputs::format::quantized);
    static_assert(std::is_same_v<Only::at<"head.a">, Only::at<"head.b">>);  // compiled once
}

namespace {
template <class A> struct MixedImpl : torch::nn::Module {
    struct Options {};
    using arithmetic = A;
    Options options;
    nn::QuantizeInput<A> input{register_module("input", nn::QuantizeInput<A>())};
    nn::Conv<typename A::template at<"left">> left{
        register_module("left", nn::Conv<typename A::template at<"left">>({.in = 3, .out = 4}))};
    nn::Conv<A> right{register_module("right", nn::Conv<A>({.in = 3, .out = 4}))},
        after{register_module("after", nn::Conv<A>({.in = 8, .out = 4}))};
    nn::Concat<A> concat{register_module("concat", nn::Concat<A>())};
    explicit MixedImpl(Options = {}) {}
    template <Signal V> V forward(V x) {
        x = input(x);
        auto a = left(x), b = right(x);
        return after(concat(a, b));
    }
};
}  // namespace

TEST_CASE("what reads a float branch beside a quantized one reads no grid, and such a join is not aligned") {
    using Aligned = Shift::vary<"aligned", AlignInputs, AccumulatorBias>;
    using Mixed = Aligned::vary<"mixed", Except<"left", Float>>;
    auto const looks = []<class A>(A*) {
        torch::manual_seed(4);
        nn::Handle<MixedImpl<A>> model;
        nn::bind(model, shape);
        bool float_bias = false;
        auto& after = *model->after;
        after.tap = [&](torch::Tensor const& x, torch::Tensor const& y) {
            torch::NoGradGuard no_grad;
            auto const& grid = *after.weight_grid;
            auto const w = fake_quantize<ShiftWeight>(after.conv->weight, grid.scale, grid.zero_point);
            float_bias = torch::equal(y, torch::conv2d(x, w, after.conv->bias));
        };
        model(torch::rand({2, 3, 8, 8}));
        return std::pair{float_bias, nn::misaligned_joins(nn::trace(model, shape))};
    };
    CHECK(looks(static_cast<Mixed::arithmetic*>(nullptr)) ==
          std::pair{true, std::vector<std::string>{"concat"}});
    CHECK(looks(static_cast<Aligned::arithmetic*>(nullptr)) == std::pair{false, std::vector<std::string>{}});
}

TEST_CASE("heads at work: 16 bits are 256 times as fine, weights only leave the sums as they are") {
    auto const run = [](auto head) {
        using A = typename Shift::template vary<"h", decltype(head)>::arithmetic;
        torch::manual_seed(5);
        nn::Projection<A> p({.in = 3, .out = 4});
        torch::Tensor sums;
        p->tap = [&](torch::Tensor const&, torch::Tensor const& y) { sums = y.detach().clone(); };
        auto const x = torch::randn({2, 3, 4, 4});
        auto const y = p(x);
        y.sum().backward();
        auto const w =
            fake_quantize<ShiftWeight>(p->weight.detach(), p->weight_grid->scale, p->weight_grid->zero_point);
        CHECK(torch::equal(sums, torch::conv2d(x, w, p->bias.detach())));
        CHECK(torch::allclose(p->bias.grad(), torch::full({4}, 32.0f)));  // nothing is clipped
        CHECK(p->weight.grad().abs().sum().template item<float>() > 0);
        auto const scale = p->grid()->quantized() ? p->grid()->scale : torch::Tensor();
        return std::tuple{y.detach(), sums, scale};
    };
    auto const [only, sums, none] = run(HeadWeightsOnly{});
    CHECK(torch::equal(only, sums));
    auto const [fine, same_sums, step] = run(HeadInt16{});
    double const reach = std::exp2(std::ceil(std::log2(sums.abs().max().item<double>())));
    CHECK(step.item<double>() == reach / 32768);
    CHECK(torch::equal(fine, torch::round(sums / step) * step));
    CHECK_FALSE(torch::equal(fine, sums));
}

TEST_CASE("inputs kept as codes: the same results and gradients, bit for bit") {
    auto const run = []<class E>(E*) {
        using A = typename E::arithmetic;
        torch::manual_seed(0);
        Joins<A> model;
        nn::bind(model, shape);
        auto const x = torch::rand({2, 3, 16, 16});
        nn::observe_once(*model, [&] { model(x); });
        auto const y = model(x);
        CHECK(codes_of(y).has_value() == std::is_same_v<typename A::saves, SaveCodes>);
        (y * torch::linspace(-1, 1, y.numel()).view(y.sizes())).sum().backward();
        std::vector<torch::Tensor> found{y.detach()};
        for (auto const& p : model->parameters()) found.push_back(p.grad());
        return found;
    };
    auto const same = [&]<class E>(E* floating) {
        CAPTURE(E::name);
        using Coded = typename E::template vary<"coded", SaveCodes>;
        auto const floats = run(floating), codes = run(static_cast<Coded*>(nullptr));
        REQUIRE(floats.size() == codes.size());
        for (std::size_t i = 0; i < floats.size(); ++i) CHECK(torch::equal(floats[i], codes[i]));
    };
    using Affine = Quantizer<Int<8>, PerTensorAffine>;
    using Stock = Experiment<"affine", ReLU, Weights<Affine::vary<PerChannelAffine<0>>>, Outputs<Affine>,
                             Input<Affine>, FoldBatchNorm>;
    same(static_cast<Shift::vary<"aligned", AlignInputs>*>(nullptr));
    same(static_cast<Shift*>(nullptr));
    same(static_cast<Shift::vary<"live", AlignAll, LiveBatchNorm>*>(nullptr));
    same(static_cast<Stock*>(nullptr));
    same(static_cast<Stock::vary<"affine, SiLU", SiLU>*>(nullptr));
    same(static_cast<Stock::vary<"affine, unsigned", Outputs<Affine::vary<UInt<8>>>, AlignInputs>*>(nullptr));
    using Step = Quantizer<Int<8>, PerTensorSymmetric, LearnedStep>;
    same(static_cast<Stock::vary<"trained", Outputs<Step>, Input<Step>,
                                 Weights<Step::vary<PerChannelSymmetric<0>>>, AlignInputs>*>(nullptr));
    same(static_cast<Stock::vary<"four bits", Outputs<Affine::vary<Int<4>>>>*>(nullptr));
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

TEST_CASE("a network lets pass, watches and quantizes as it is told, and its bits step down") {
    torch::manual_seed(6);
    Joins<Shift::arithmetic> model;
    using InFloat = Quantizer<Float>;
    Joins<Experiment<"f", ReLU, Weights<InFloat>, Outputs<InFloat>, FoldBatchNorm>::arithmetic> plain;
    {
        torch::NoGradGuard no_grad;
        for (auto const& p : model->named_parameters()) plain->named_parameters()[p.key()].copy_(p.value());
    }
    auto const x = torch::rand({1, 3, 8, 8});
    nn::set_mode(*model, nn::GridMode::bypass);
    CHECK(torch::equal(model(x), plain(x)));
    nn::for_each_grid(*model, [](nn::Grid& g) { CHECK(g.unseen()); });
    nn::set_mode(*model, nn::GridMode::observe);
    CHECK(torch::equal(model(x), plain(x)));
    nn::for_each_grid(*model, [](nn::Grid& g) { CHECK_FALSE(g.unseen()); });
    nn::set_mode(*model, nn::GridMode::quantize);
    model->eval();
    auto const y = model(x);
    CHECK(on_grid(y, model->concat->grid()->scale));
    CHECK_FALSE(torch::equal(y, plain(x)));
    auto const fine = scale_of(model->concat->grid());
    nn::step_bits(*model, 4);
    CHECK(scale_of(model->concat->grid()) == 16 * fine);
    CHECK(model->a->weight_grid->levels == Levels{-8, 7});
    CHECK(std::get<0>(torch::_unique(model(x))).numel() <= 16);
}

TEST_CASE("a frozen parameter stays, whatever momentum and weight decay the optimizer has") {
    using A = Shift::vary<"live", LiveBatchNorm,
                          Outputs<Quantizer<Int<8>, PerTensorSymmetric, MinMax, LearnedStep>>>::arithmetic;
    nn::Conv<A> conv({.in = 3, .out = 4});
    auto const x = torch::rand({2, 3, 4, 4});
    conv(x);
    torch::optim::SGD sgd(conv->parameters(), torch::optim::SGDOptions(0.01).momentum(0.9).weight_decay(0.1));
    auto const step = [&] {
        conv(x).square().sum().backward();
        sgd.step(), sgd.zero_grad();
        nn::for_each_grid(*conv, [](nn::Grid& g) { g.after_update(); });
    };
    step(), step();
    auto const read = [&] {
        return std::vector{conv->grid()->learned().clone(), conv->batch_norm()->weight.clone(),
                           conv->batch_norm()->bias.clone(), conv->conv->weight.clone()};
    };
    auto const before = read();
    nn::freeze_thresholds(*conv), nn::freeze_batch_norm(*conv, true);
    step(), step();
    auto const after = read();
    for (std::size_t i = 0; i < 3; ++i) CHECK(torch::equal(before[i], after[i]));
    CHECK_FALSE(torch::equal(before[3], after[3]));
}

TEST_CASE("the gradient of a learned step is divided by sqrt(N hi): N weights, or features of one image") {
    // All of a step's elements lie above the range, so that each contributes hi.
    auto const gradient = [](auto& grid, torch::Tensor const& small) {
        grid(small), grid->observing = false;
        grid(torch::full_like(small, 1e6f)).sum().backward();
        return grid->learned().grad();
    };
    auto const expected = [](double elements, double n) {
        return doctest::Approx(elements * 127 / std::sqrt(n * 127));
    };
    using Step = Quantizer<Int<8>, PerTensorSymmetric, MinMax, LearnedStep>;
    nn::FakeQuantize<Step> activations;
    CHECK(gradient(activations, torch::rand({6, 5, 2, 3})).item<float>() == expected(180, 30));
    nn::FakeQuantize<Step> weights;
    weights->of_weights = true;
    CHECK(gradient(weights, torch::rand({6, 5, 2, 3})).item<float>() == expected(180, 180));
    nn::FakeQuantize<Step::vary<PerChannelSymmetric<0>>> rows(6);
    CHECK(gradient(rows, torch::rand({6, 5, 2, 3}))[1].template item<float>() == expected(30, 30));
    nn::FakeQuantize<Step::vary<PerGroup<2>>> pairs(5);  // the last group is one channel
    auto const g = gradient(pairs, torch::rand({5, 3, 1, 1}));
    CHECK(g[0].template item<float>() == expected(6, 6));
    CHECK(g[2].template item<float>() == expected(3, 3));
    nn::FakeQuantize<Step::vary<PerRole>> roles(4, std::vector<std::int64_t>{0, 0, 0, 1});
    auto const r = gradient(roles, torch::rand({2, 4, 3, 3}));
    CHECK(r[0].template item<float>() == expected(54, 27));
    CHECK(r[1].template item<float>() == expected(18, 9));
    using A = Shift::vary<"s", Weights<Step>>::arithmetic;
    CHECK(nn::Conv<A>({.in = 3, .out = 4})->weight_grid->of_weights);
    CHECK(nn::Projection<A>({.in = 3, .out = 4})->weight_grid->of_weights);
}

TEST_CASE("a trained threshold that only oscillates is frozen between updates, and has no gradient then") {
    nn::FakeQuantize<Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Ceil>, MinMax, TrainedThreshold>> grid;
    grid(torch::tensor({-1.0f, 0.9f}));
    auto const t = grid->learned();
    auto const put = [&](float value) {
        torch::NoGradGuard no_grad;
        t.fill_(value);
        grid->after_update();
    };
    for (int i = 0; i < 20; ++i) put(i % 2 ? 0.1f : -0.1f);
    put(3.7f);  // it is pinned: the optimizer's momentum does not matter
    CHECK(std::ceil(t.item<float>()) <= 1);
    CHECK(grid->scale.item<float>() <= 2.0f / 128);
    t.mutable_grad() = torch::ones_like(t);
    grid->before_update();
    CHECK(t.grad().item<float>() == 0);
}

namespace {
using Step = Quantizer<Int<8>, PerTensorSymmetric, MinMax, LearnedStep>;
using StepAndOffset = Quantizer<Int<8>, PerTensorAffine, MinMax, LearnedStepAndOffset>;
using Threshold = Quantizer<Int<8>, PerTensorSymmetric, MinMax, PowerOfTwo<Ceil>, TrainedThreshold>;
using Clip = Quantizer<UInt<8>, PerTensorSymmetric, MinMax, PACT>;

// What is trained changes so that the scale becomes twice as large.
template <class Spec> void twice_as_large(nn::FakeQuantize<Spec>& grid) {
    torch::NoGradGuard no_grad;
    if constexpr (Spec::estimator::learns == Learns::log2_threshold)
        grid->learned().add_(1);
    else
        grid->learned().mul_(2);
}
float reach(nn::Grid const& grid) {  // the largest number on the grid
    auto const zero = grid.zero_point.item<int>();
    return grid.scale.item<float>() * static_cast<float>(grid.levels.hi - zero);
}
}  // namespace

TEST_CASE_TEMPLATE(
    "a trained grid starts where the observer says, moves with its parameter, survives copies, "
    "has fewer bits on the same range and can be frozen",
    Spec, Step, StepAndOffset, Threshold, Clip) {
    nn::FakeQuantize<Spec> grid;
    CHECK(grid->unseen());
    auto const x = torch::linspace(0, 12.7, 100);
    grid(x);
    CHECK_FALSE(grid->unseen());
    bool const shift = Spec::scale::power_of_two;
    if (shift)
        CHECK(grid->scale.template item<float>() == 0.125f);
    else
        CHECK(reach(*grid) == doctest::Approx(12.7).epsilon(0.005));
    auto const first = grid->scale.template item<float>();
    twice_as_large(grid);
    grid->refresh();
    CHECK(grid->scale.template item<float>() == doctest::Approx(2 * first));
    nn::FakeQuantize<Spec> copy;
    nn::copy_state(*grid, *copy);
    CHECK(torch::equal(copy(x * 100), grid(x * 100)));  // it does not start again
    CHECK(copy->scale.template item<float>() == doctest::Approx(2 * first));
    auto const before = reach(*grid);
    grid->set_bits(4, /*rescale=*/true);
    CHECK(grid->scale.template item<float>() > 10 * first);
    CHECK(reach(*grid) == doctest::Approx(before).epsilon(shift ? 0.2 : 0.1));
    CHECK(grid(x).requires_grad());
    grid->freeze_learned();
    CHECK_FALSE(grid(x).requires_grad());
}

TEST_CASE_TEMPLATE("a trained grid follows all that it watches, and its parameter from then on", Spec, Step,
                   StepAndOffset, Threshold, Clip, Step::vary<ScalesMove<each_step>>) {
    nn::FakeQuantize<Spec> grid;
    auto const x = torch::linspace(0, 1, 100);
    grid->mode = nn::GridMode::observe;
    CHECK(torch::equal(grid(x), x));
    grid->refresh();
    CHECK(torch::equal(grid(10 * x), 10 * x));
    grid->refresh();
    CHECK_FALSE(grid->unseen());
    grid->after_update();
    grid->mode = nn::GridMode::quantize;
    grid->refresh();
    CHECK(reach(*grid) > 9.8);
    CHECK(reach(*grid) < 17);
    auto const before = reach(*grid);
    grid(100 * x);
    grid->refresh();
    CHECK(reach(*grid) == before);
    twice_as_large(grid);
    grid->refresh();
    CHECK(reach(*grid) > 1.4f * before);
    grid->mode = nn::GridMode::observe;  // calibrated again
    grid(100 * x);
    grid->refresh();
    grid->mode = nn::GridMode::quantize;
    grid->refresh();
    CHECK(reach(*grid) > 98);
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
