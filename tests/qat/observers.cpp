// Observers that look at the values, and scales that search or vote: golden values, slow and obvious versions, properties.

#include "support/doctest.hpp"

#include <qat/core/observer/entropy.hpp>
#include <qat/core/observer/mean_squared_error.hpp>
#include <qat/core/observer/percentile.hpp>
#include <qat/core/scheme/per_group.hpp>
#include <qat/nn/fake_quantize.hpp>
#include <qat/nn/observation.hpp>

#include <cmath>
#include <sstream>

namespace {
using namespace qat;

constexpr float inf = std::numeric_limits<float>::infinity();

/// A memory with its owner.
template <class Q> struct Owner : torch::nn::Module {
    nn::Observation<Q> memory;
    explicit Owner(std::vector<std::int64_t> const& shape = {}) : memory(*this, shape) {}

    void see(torch::Tensor const& x, torch::Tensor const& group_of = {}) {
        auto r = range<typename Q::scheme>(x);
        if (group_of.defined()) {  // as FakeQuantize hands them over
            auto const groups = named_buffers()["min"].size(0);
            r = {torch::full({groups}, inf).scatter_reduce(0, group_of, r.min, "amin"),
                 torch::full({groups}, -inf).scatter_reduce(0, group_of, r.max, "amax")};
        }
        if constexpr (nn::Observation<Q>::wants_values)
            memory.see(r, x, group_of);
        else
            memory.see(r);
    }
    bool feed(torch::Tensor const& x, torch::Tensor const& group_of = {}) {
        see(x, group_of);
        return memory.follow();
    }
    GridTensors grid() const { return memory.choose(levels_of<typename Q::format>); }
    float scale() const { return grid().scale.template item<float>(); }
};

template <class Q> float scale_for(torch::Tensor const& x) {
    Owner<Q> o;
    o.feed(x);
    return o.scale();
}

// The slow, obvious version, in double. NaN and infinities count nothing.
double error_of(torch::Tensor const& tensor, double scale, double zero, double lo, double hi) {
    auto const x = tensor.masked_select(torch::isfinite(tensor)).to(torch::kDouble);
    auto const q = (torch::round(x / scale) + zero).clamp(lo, hi);
    return ((q - zero) * scale - x).square().sum().item<double>();
}
template <class Q> double error_of(torch::Tensor const& x, GridTensors const& g) {
    return error_of(x, g.scale.template item<double>(), g.zero_point.template item<double>(), Q::format::lo,
                    Q::format::hi);
}
template <class Q> double error_with(torch::Tensor const& x) {
    Owner<Q> o;
    o.feed(x);
    return error_of<Q>(x, o.grid());
}

torch::Tensor heavy_tails(std::vector<std::int64_t> const& shape) {  // most values small, few very large
    auto const x = torch::randn(shape);
    return x / (torch::rand(shape) + 0.05);
}

Bins bins_of(torch::Tensor const& counts, double min, double max) {
    return {std::span(counts.data_ptr<float>(), static_cast<std::size_t>(counts.numel())), min, max};
}

template <class... Qs, class F> void for_each_type(F&& f) {
    (..., [&] {
        CAPTURE(describe<Qs>());
        f(Qs{});
    }());
}

template <class Scheme, class Observer, class Scale = AnyScale, class Format = Int<8>>
using With = Quantizer<Format, Scheme, Observer, Scale>;
using Symmetric = PerTensorSymmetric;
using Shifted = PerTensorAffine;

template <class F> void for_each_observer(F&& f) {
    for_each_type<With<Shifted, Histogram<>>, With<Symmetric, Histogram<>>,
                  With<Shifted, Histogram<256, Counting::as_torch>>, With<Symmetric, Entropy<>>,
                  With<Symmetric, Entropy<512>, AnyScale, UInt<8>>, With<Shifted, Percentile<>>,
                  With<Symmetric, Percentile<std::ratio<99, 100>>, PowerOfTwo<Nearest>>,
                  With<Shifted, MeanSquaredError<>>, With<Symmetric, MeanSquaredError<>, AnyScale, Int<4>>,
                  With<Symmetric, MinMax, PowerOfTwo<LeastError>>,
                  With<Symmetric, MovingAverageMinMax<>, PowerOfTwo<LeastError>>,
                  With<Symmetric, MinMax, PowerOfTwo<Mode>>,
                  With<Symmetric, Histogram<>, PowerOfTwo<LeastError>>,
                  With<Symmetric, Histogram<>, PowerOfTwo<Mode>>,
                  With<Symmetric, MeanSquaredError<>, PowerOfTwo<Ceil>>>(f);
}
}  // namespace

static_assert(PowerOfTwo<>::way == Ceil && !PowerOfTwo<>::searches && !PowerOfTwo<>::votes);
static_assert(PowerOfTwo<Floor>::way == Floor && PowerOfTwo<Floor>::power_of_two && !AnyScale::searches);
static_assert(PowerOfTwo<LeastError>::searches && PowerOfTwo<LeastError>::way == Ceil &&
              !PowerOfTwo<LeastError>::votes);
static_assert(PowerOfTwo<Mode>::votes && PowerOfTwo<Mode>::way == Ceil && !PowerOfTwo<Mode>::searches);
static_assert(!nn::Observation<Quantizer<>>::wants_values);
static_assert(std::is_same_v<nn::Observation<Quantizer<>>, nn::Extremes<Quantizer<>>>);
static_assert(squared_error<HalfEven>(0.3f, 0.25f, 4.0f, {-128, 127}) == (0.25f - 0.3f) * (0.25f - 0.3f));
static_assert(squared_error<HalfEven>(inf, 0.25f, 4.0f, {-128, 127}) == 0);
static_assert(bin_of(0, 0, 4, 3) == 0 && bin_of(0.25f, 0, 4, 3) == 1 && bin_of(1, 0, 4, 3) == 3);
static_assert(bin_of(-0.1f, 0, 4, 3) == -1 && bin_of(1.1f, 0, 4, 3) == -1 && bin_of(inf, 0, 4, 3) == -1);

TEST_CASE("the squared error of a histogram is that of its values, spread evenly within each bin") {
    torch::manual_seed(1);
    auto const counts = torch::randint(0, 50, {64}).to(torch::kFloat);
    double const min = -3.3, max = 4.1, width = (max - min) / 64;
    for (double const scale : {0.01, 0.03, 0.11, 0.6}) {
        for (auto const& b : {Bounds{-128, 127}, Bounds{-16, 239}, Bounds{-8, 7}}) {
            constexpr int parts = 2000;
            double sum = 0;
            for (std::int64_t i = 0; i < 64; ++i) {
                auto const x =
                    min + width * (static_cast<double>(i) +
                                   (torch::arange(parts, torch::kDouble) + 0.5) / static_cast<double>(parts));
                sum += counts[i].item<double>() * error_of(x, scale, 0, b.low, b.high) / parts;
            }
            CHECK(squared_error(bins_of(counts, min, max), scale, b) == doctest::Approx(sum).epsilon(1e-4));
        }
    }
    auto const point = torch::tensor({0.0f, 7.0f});
    CHECK(squared_error(bins_of(point, 0.3, 0.3), 0.25, {-128, 127}) == doctest::Approx(7 * 0.05 * 0.05));
}

TEST_CASE("values are counted as one would by hand, whatever the strides, and NaN and infinities are not") {
    torch::manual_seed(2);
    auto x = torch::randn({3, 5, 64, 70});
    x.view({-1})[7] = inf, x.view({-1})[8] = -inf, x.view({-1})[9] = std::nanf("");
    auto const finite = x.masked_select(torch::isfinite(x));
    auto const lo = finite.min(), hi = finite.max();
    std::vector<std::int64_t> slow(100);
    float const from = lo.item<float>(), to = hi.item<float>(), per_unit = 100 / (to - from);
    for (std::int64_t i = 0; i < finite.numel(); ++i)
        ++slow[static_cast<std::size_t>(
            std::min(99, static_cast<int>((finite.data_ptr<float>()[i] - from) * per_unit)))];
    auto const expected = torch::tensor(slow).to(torch::kFloat);
    CHECK(torch::equal(count(x, lo, hi, 100), expected));
    CHECK(torch::equal(count(x.contiguous(torch::MemoryFormat::ChannelsLast), lo, hi, 100), expected));
    CHECK(torch::equal(count(torch::stack({x, x}, -1).select(-1, 1), lo, hi, 100), expected));
    CHECK(torch::equal(count(x.transpose(1, 3), lo, hi, 100), expected));
    int const threads = at::get_num_threads();
    at::set_num_threads(threads == 1 ? 2 : 1);
    CHECK(torch::equal(count(x, lo, hi, 100), expected));
    at::set_num_threads(threads);
    auto const device = qat::detail::count_on_device(x, lo, hi, 100);  // may differ by a rounding at an edge
    CHECK(device.sum().item<float>() == expected.sum().item<float>());
    CHECK((device - expected).abs().sum().item<float>() <= 4);

    auto const some = count(x, torch::tensor(-0.5f), torch::tensor(0.5f), 10);  // outside: nowhere
    CHECK(some.sum().item<std::int64_t>() == ((x >= -0.5) & (x <= 0.5)).sum().item<std::int64_t>());
    CHECK(torch::equal(qat::detail::count_on_device(x, torch::tensor(-0.5f), torch::tensor(0.5f), 10), some));
    CHECK(count(torch::full({5}, 2.0f), torch::tensor(2.0f), torch::tensor(2.0f), 10)[0].item<int>() == 5);
    CHECK(
        qat::detail::count_on_device(torch::full({5}, 2.0f), torch::tensor(2.0f), torch::tensor(2.0f), 10)[0]
            .item<int>() == 5);
}

TEST_CASE("counts that move to wider bins are spread over those they meet") {
    torch::manual_seed(3);
    auto const counts = torch::randint(0, 100, {20}).to(torch::kFloat);
    auto const edges = -3.7 + 1.63 * torch::arange(21, torch::kDouble);  // -3.7 ... 28.9 in old bins
    auto const moved = spread(counts, edges);
    for (std::int64_t j = 0; j < 20; ++j) {
        double const from = edges[j].item<double>(), to = edges[j + 1].item<double>();
        double sum = 0;
        for (int i = 0; i < 20; ++i)
            sum +=
                counts[i].item<double>() * std::max(0.0, std::min(to, i + 1.0) - std::max(from, double(i)));
        CHECK(moved[j].item<double>() == doctest::Approx(sum));
    }
    CHECK(moved.sum().item<double>() == doctest::Approx(counts.sum().item<double>()));
}

TEST_CASE("a histogram grows with the range, loses nothing, and keeps the ends") {
    torch::manual_seed(4);
    Owner<With<Shifted, Histogram<512>>> grown;
    std::vector<torch::Tensor> all;
    for (double const factor : {1.0, 0.5, 3.0, 3.0, 40.0}) {
        all.push_back(torch::randn({1000}) * factor);
        CHECK(grown.feed(all.back()));
        auto const x = torch::cat(all);
        auto const b = grown.named_buffers();
        CHECK(b["min"].item<float>() == x.min().item<float>());
        CHECK(b["max"].item<float>() == x.max().item<float>());
        CHECK(b["histogram"].sum().item<float>() == doctest::Approx(static_cast<double>(x.numel())));
        // at every edge: no more than half of the values that any old or new bin around it holds can be misplaced
        auto const width = (b["max"] - b["min"]) / 512;
        auto const sums = b["histogram"].cumsum(0);
        for (std::int64_t i = 0; i < 512; i += 17) {
            auto const edge = b["min"] + width * (i + 1);
            auto const below = (x < edge - 2 * width).sum().item<float>(),
                       above = (x < edge + 2 * width).sum().item<float>();
            CHECK(sums[i].item<float>() >= below - 0.5f);
            CHECK(sums[i].item<float>() <= above + 0.5f);
        }
    }
    SUBCASE("what was one value so far, and is the end of the range now, stays at that end") {
        Owner<With<Shifted, Histogram<8>>> o;
        o.feed(torch::full({10}, 2.0f));
        o.feed(torch::tensor({0.0f, 1.0f}));
        auto const expected = torch::tensor({1.0f, 0.0f, 0.0f, 0.0f, 1.0f, 0.0f, 0.0f, 10.0f});
        CHECK(torch::equal(o.named_buffers()["histogram"], expected));
    }
    SUBCASE("what was one value so far becomes that value's bin") {
        Owner<With<Shifted, Histogram<8>>> o;
        o.feed(torch::full({10}, 2.0f));
        o.feed(torch::tensor({0.0f, 4.0f}));
        auto const expected = torch::tensor({1.0f, 0.0f, 0.0f, 0.0f, 10.0f, 0.0f, 0.0f, 1.0f});
        CHECK(torch::equal(o.named_buffers()["histogram"], expected));
        o.feed(torch::tensor({1e9f}));  // far beyond: everything else in one bin
        CHECK(o.named_buffers()["histogram"][0].item<float>() == 12);
        CHECK(o.named_buffers()["histogram"][7].item<float>() == 1);
    }
}

TEST_CASE("what is seen between two steps is one step's union, and can be forgotten") {
    torch::manual_seed(5);
    auto const a = torch::randn({500}), b = torch::randn({500}) * 4 + 1;
    for_each_observer([&](auto q) {
        using Q = decltype(q);
        Owner<Q> apart, after;
        apart.see(a);
        CHECK(!apart.memory.known().template item<bool>());  // not before follow
        apart.see(b);
        CHECK(apart.memory.follow());
        CHECK(!apart.memory.follow());
        CHECK(apart.memory.known().template item<bool>());
        auto const before = apart.scale();
        apart.see(100 * a);
        apart.memory.forget();
        CHECK(!apart.memory.follow());
        CHECK(apart.scale() == before);
        CHECK(apart.named_buffers()["min"].template item<float>() <=
              b.min().item<float>() + 0.1f * std::abs(b.min().item<float>()));
    });
}

TEST_CASE("a range follows by loops on the CPU as by torch's operators elsewhere, bit for bit") {
    torch::manual_seed(7);
    auto const nan = std::nanf("");
    auto const old = torch::cat({torch::randn({200}), torch::tensor({inf, -inf, inf, 1.0f, -inf, 2.0f})});
    auto const seen =
        torch::cat({torch::randn({200}) * 3, torch::tensor({1.0f, -2.0f, nan, nan, -inf, inf})});
    auto const compare = [&]<class O>(O, auto extreme) {
        auto const loops = old.clone(), operators = old.clone();
        nn::detail::follow<O>(loops, seen, extreme);
        nn::detail::follow_by_operators<O>(operators, seen, extreme);
        CHECK(torch::equal(loops, operators));
        CHECK(!torch::equal(loops, old));
    };
    auto const both = [&](auto o) { compare(o, nn::detail::Lesser{}), compare(o, nn::detail::Greater{}); };
    both(MinMax{}), both(MovingAverageMinMax<>{}), both(MovingAverageMinMax<std::ratio<1, 3>>{});
    both(MeanSquaredError{});
    auto const known = nn::detail::both_finite(old, seen);
    CHECK(torch::equal(known, torch::isfinite(old) & torch::isfinite(seen)));
    auto const zeroed = torch::where(torch::isfinite(seen), seen, torch::zeros_like(seen));
    CHECK(torch::equal(nn::detail::finite_or_zero(seen), zeroed));
    auto const to = old.clone();
    auto const version = to._version();
    nn::detail::adopt(to, zeroed, known);
    CHECK(to._version() > version);  // autograd notices, as with an operator
    CHECK(torch::equal(to, torch::where(known, zeroed, old)));
}

TEST_CASE("a tensor of other channels than the quantizer's is refused, and nothing moves") {
    nn::FakeQuantize<Quantizer<Int<8>, PerChannelSymmetric<0>>> grid(8);
    grid->forward(torch::randn({8, 3}));
    auto const scale = grid->scale.clone(), max = grid->named_buffers()["max"].clone();
    CHECK_THROWS_WITH_AS(grid->forward(100 * torch::randn({4, 3})), doctest::Contains("as many channels"),
                         c10::Error);
    CHECK(torch::equal(grid->scale, scale));
    CHECK(torch::equal(grid->named_buffers()["max"], max));
}

TEST_CASE("the union of a step is the same as the tensors in one") {
    torch::manual_seed(6);
    auto const a = torch::randn({500}), b = torch::randn({500}) * 0.9;
    auto const both = torch::cat({a, b});
    for_each_type<With<Symmetric, MinMax, PowerOfTwo<LeastError>>,
                  With<Symmetric, MovingAverageMinMax<>, PowerOfTwo<LeastError>>,
                  With<Symmetric, MovingAverageMinMax<>, PowerOfTwo<Mode>>, With<Shifted, Percentile<>>,
                  With<Shifted, Histogram<>>>([&](auto q) {
        using Q = decltype(q);
        Owner<Q> apart, together;
        apart.see(a), apart.see(b), apart.memory.follow();
        together.feed(both);
        CHECK(apart.scale() == doctest::Approx(together.scale()).epsilon(0.02));
        auto const x = apart.named_buffers(), y = together.named_buffers();
        CHECK(torch::equal(x["min"], y["min"]));
        CHECK(torch::equal(x["max"], y["max"]));
        if (y.contains("errors")) CHECK(support::relative_error(x["errors"], y["errors"]) < 1e-5);
    });
}

TEST_CASE("a percentile of 100 is min-max; a smaller one leaves out so many values at each end") {
    torch::manual_seed(7);
    Owner<With<Shifted, Percentile<std::ratio<1>>>> all;
    Owner<With<Shifted, MinMax>> ends;
    Owner<With<Shifted, Percentile<std::ratio<95, 100>>>> some;
    std::vector<torch::Tensor> seen;
    for (double const factor : {1.0, 2.0, 0.1, 7.0}) {
        seen.push_back(torch::randn({1000}) * factor);
        all.feed(seen.back()), ends.feed(seen.back()), some.feed(seen.back());
        CHECK(torch::equal(all.memory.range().min, ends.memory.range().min));
        CHECK(torch::equal(all.memory.range().max, ends.memory.range().max));
        CHECK(all.scale() == ends.scale());
        auto const x = torch::cat(seen);
        auto const width = (x.max() - x.min()).item<float>() / 2048;
        CHECK(std::abs((some.memory.range().min - x.quantile(0.05)).item<float>()) < 3 * width);
        CHECK(std::abs((some.memory.range().max - x.quantile(0.95)).item<float>()) < 3 * width);
    }
}

TEST_CASE("the least squared error is smaller than min-max's on heavy tails") {
    torch::manual_seed(8);
    for (int round = 0; round < 5; ++round) {
        auto const x = heavy_tails({20000});
        auto const relu = x.relu();
        for_each_type<With<Shifted, MeanSquaredError<>>, With<Symmetric, MeanSquaredError<>>,
                      With<Shifted, MeanSquaredError<>, AnyScale, Int<4>>>([&](auto q) {
            using Q = decltype(q);
            using Widest = typename Q::template vary<MinMax>;
            CHECK(error_with<Q>(x) < 0.999 * error_with<Widest>(x));
            CHECK(error_with<Q>(relu) < 0.999 * error_with<Widest>(relu));
        });
        // On the grid's own terms nothing is better than looking at every factor.
        using Mse = With<Symmetric, MeanSquaredError<>>;
        auto const reach = x.abs().max().item<float>();
        double least = inf;
        for (int i = 1; i <= 100; ++i)
            least = std::min(least, error_of(x, reach * static_cast<float>(i) / 100 / 127.5f, 0, -128, 127));
        CHECK(error_with<Mse>(x) <= 1.001 * least);
    }
}

TEST_CASE("of every channel the least squared error is found as by a loop over channels and factors") {
    torch::manual_seed(9);
    auto w = heavy_tails({7, 5, 3, 3}) *
             torch::tensor({1.0f, 1e-3f, 50.0f, 0.0f, 1.0f, 1.0f, 2.0f}).view({7, 1, 1, 1});
    w[4] = 0.5;  // one value
    for_each_type<With<PerChannelSymmetric<0>, MeanSquaredError<>, AnyScale, Int<4>>,
                  With<PerChannelAffine<0>, MeanSquaredError<>, AnyScale, Int<4>>,
                  With<PerChannelSymmetric<0>, MeanSquaredError<>, PowerOfTwo<Ceil>>>([&](auto q) {
        using Q = decltype(q);
        using Widest = typename Q::template vary<MinMax>;
        Owner<Q> o({7});
        Owner<Widest> widest({7});
        o.feed(torch::randn_like(w));  // the last tensor says it all
        o.feed(w), widest.feed(w);
        auto const g = o.grid(), wide = widest.grid();
        for (std::int64_t c = 0; c < 7; ++c) {
            auto const error = [&](float scale, int zero) {
                return error_of(w[c], scale, zero, Q::format::lo, Q::format::hi);
            };
            double least = inf;
            for (int i = 100; i > 0; --i) {
                float const f = static_cast<float>(i) / 100;
                auto const one = choose_grid<Q>(f * w[c].min().item<float>(), f * w[c].max().item<float>());
                least = std::min(least, error(one.scale, one.zero_point));
            }
            double const ours =
                error(g.scale[c].template item<float>(), g.zero_point[c].template item<int>());
            CHECK(ours <= least * (1 + 1e-5) + 1e-12);
            CHECK(ours <=
                  error(wide.scale[c].template item<float>(), wide.zero_point[c].template item<int>()) *
                          (1 + 1e-5) +
                      1e-12);
        }
    });
}

TEST_CASE("entropy chooses the threshold that the definition gives") {
    torch::manual_seed(10);
    auto const slow = [](std::vector<double> const& n, int levels) {  // literally
        int best = static_cast<int>(n.size());
        double least = inf;
        for (int kept = levels; kept <= static_cast<int>(n.size()); ++kept) {
            std::vector<double> p(n.begin(), n.begin() + kept), q(p);
            for (auto i = static_cast<std::size_t>(kept); i < n.size(); ++i) p.back() += n[i];
            if (p.back() > 0 && q.back() == 0) q.back() = 1;
            for (int level = 0; level < levels; ++level) {
                int const from = level * kept / levels, to = (level + 1) * kept / levels;
                double sum = 0;
                int filled = 0;
                for (int i = from; i < to; ++i) sum += q[std::size_t(i)], filled += q[std::size_t(i)] > 0;
                for (int i = from; i < to; ++i)
                    if (q[std::size_t(i)] > 0) q[std::size_t(i)] = sum / filled;
            }
            double const total_p = std::accumulate(p.begin(), p.end(), 0.0),
                         total_q = std::accumulate(q.begin(), q.end(), 0.0);
            double kl = 0;
            for (std::size_t i = 0; i < p.size(); ++i)
                if (p[i] > 0)
                    kl += p[i] / total_p * (q[i] > 0 ? std::log(p[i] / total_p / (q[i] / total_q)) : inf);
            if (kl < least) least = kl, best = kept;
        }
        return best;
    };
    for (int round = 0; round < 10; ++round) {
        auto const counts =
            torch::floor(200 * torch::exp(-torch::arange(160) / (10.0 + 5 * round)) * torch::rand({160}));
        std::vector<double> n;
        for (int i = 0; i < 160; ++i) n.push_back(counts[i].item<double>());
        for (int const levels : {8, 16, 32}) CHECK(Entropy<160>::threshold(n, levels) == slow(n, levels));
    }
    // One value far outside does not stretch the grid; an even spread is kept as a whole.
    auto const x = torch::cat({torch::randn({100000}), torch::tensor({100.0f})});
    CHECK(scale_for<With<Symmetric, Entropy<>>>(x) * 127 < 10);
    CHECK(scale_for<With<Symmetric, Entropy<>>>(x) * 127 > 2);
    auto const even = torch::rand({200000}) * 2 - 1;
    CHECK(scale_for<With<Symmetric, Entropy<>>>(even) * 127 > 0.95);
    // Zeros, half of all values after a ReLU, decide nothing.
    auto const relu = torch::randn({100000}).relu(), positive = relu.masked_select(relu > 0);
    CHECK(scale_for<With<Symmetric, Entropy<>, AnyScale, UInt<8>>>(relu) ==
          doctest::Approx(scale_for<With<Symmetric, Entropy<>, AnyScale, UInt<8>>>(positive)).epsilon(0.01));
    using Few = With<Symmetric, Entropy<>, AnyScale, UInt<4>>;
    CHECK(scale_for<Few>(torch::cat({positive, torch::zeros({1000000})})) ==
          doctest::Approx(scale_for<Few>(positive)).epsilon(0.01));
    // |x| of a histogram on both sides of zero
    auto const both = torch::tensor({4.0f, 2.0f, 6.0f, 8.0f});  // edges -1, 0, 1, 2, 3
    auto const folded = Entropy<6>::magnitudes(bins_of(both, -1, 3));
    double const expected[] = {3, 3, 3, 3, 4, 4};  // bins of 1/2: 4/2 + 2/2 twice; 6/2 twice; 8/2 twice
    for (std::size_t i = 0; i < 6; ++i) CHECK(folded[i] == doctest::Approx(expected[i]));
}

TEST_CASE("squared errors of many grids at once are those of one after the other") {
    torch::manual_seed(11);
    auto x = torch::randn({4, 6, 33, 47});
    x.view({-1})[3] = inf, x.view({-1})[1000] = std::nanf("");
    auto const scales = torch::tensor({0.5f, 0.1f, 0.03f, 0.004f});
    auto const zeros = torch::tensor({0, 3, -100, 0}, torch::kInt);
    auto const compare = [&](auto q, torch::Tensor const& t, GridTensors const& g, auto slow) {
        using Q = decltype(q);
        auto const levels = levels_of<typename Q::format>;
        for (auto const& errors :
             {squared_errors<Q>(t, g, levels),
              qat::detail::squared_errors_on_device(t, g, levels, axis_of<typename Q::scheme>())}) {
            CHECK(errors.sizes() == g.scale.sizes());
            CHECK(support::relative_error(errors, slow) < 1e-5);
        }
    };
    auto slow = torch::zeros({4}, torch::kDouble);
    for (int k = 0; k < 4; ++k)
        slow[k] = error_of(x, scales[k].item<double>(), zeros[k].item<double>(), -128, 127);
    for (auto const& t :
         {x, x.contiguous(torch::MemoryFormat::ChannelsLast), torch::stack({x, x}, -1).select(-1, 0)})
        compare(With<Shifted, MinMax>{}, t, {scales, zeros}, slow);
    GridTensors const g{scales * torch::rand({6, 1}), zeros + torch::arange(6, torch::kInt).view({6, 1})};
    auto by_channel = torch::zeros({6, 4}, torch::kDouble);
    for (int c = 0; c < 6; ++c)
        for (int k = 0; k < 4; ++k)
            by_channel[c][k] = error_of(x.select(1, c), g.scale[c][k].item<double>(),
                                        g.zero_point[c][k].item<double>(), -128, 127);
    compare(With<PerChannelAffine<1>, MinMax>{}, x, g, by_channel);
    auto const row = torch::randn({6});  // one value a channel
    for (int c = 0; c < 6; ++c)
        for (int k = 0; k < 4; ++k)
            by_channel[c][k] =
                error_of(row[c], g.scale[c][k].item<double>(), g.zero_point[c][k].item<double>(), -128, 127);
    compare(With<PerChannelAffine<0>, MinMax>{}, row, g, by_channel);

    int const threads = at::get_num_threads();
    auto const once = squared_errors<With<Shifted, MinMax>>(x, {scales, zeros}, {-128, 127});
    at::set_num_threads(threads == 1 ? 2 : 1);
    CHECK(torch::equal(squared_errors<With<Shifted, MinMax>>(x, {scales, zeros}, {-128, 127}), once));
    at::set_num_threads(threads);
}

namespace {
// Whatever is tried, no power of two has a smaller error.
template <class Q> void check_least(torch::Tensor const& x, double scale) {
    auto const steps = static_cast<double>(Q::format::hi + 1);
    double const ours = error_of(x, scale, 0, Q::format::lo, Q::format::hi);
    CHECK(std::log2(scale * steps) == std::round(std::log2(scale * steps)));
    for (int k = -40; k <= 30; ++k) {
        double const s = std::ldexp(1.0, k);
        if (s >= smallest_scale)
            CHECK(ours <= error_of(x, s, 0, Q::format::lo, Q::format::hi) * (1 + 1e-5) + 1e-12);
    }
}
std::vector<torch::Tensor> many_tensors() {
    torch::manual_seed(12);
    std::vector<torch::Tensor> all{torch::full({9}, 0.25f),
                                   torch::full({9}, -8.0f),
                                   torch::full({4}, 3.0f),
                                   torch::zeros({5}),
                                   torch::tensor({1e-9f, 0.0f}),
                                   torch::tensor({1.0f, 1.0f, 0.01f}),
                                   torch::tensor({inf, 1.0f, 0.3f, std::nanf(""), -inf, 0.7f})};
    for (double const size : {0.9, 1.0, 1.1, 300.0, 1e-3}) {
        all.push_back(torch::randn({4, 500}) * size);
        all.push_back(torch::rand({2000}) * size);
        all.push_back(heavy_tails({3000}) * size);
        all.push_back(torch::randn({3000}).relu() * size);
    }
    return all;
}
}  // namespace

TEST_CASE(
    "no exponent has a smaller error than LeastError's: neither Ceil's, Nearest's, Floor's nor any other") {
    for (auto const& x : many_tensors()) {
        CAPTURE(x.slice(0, 0, 4));
        auto const check = [&]<class Format, class Observer>(Format, Observer) {
            using Q = Quantizer<Format, PerTensorSymmetric, Observer, PowerOfTwo<LeastError>>;
            auto const y = Format::is_signed ? x : x.abs();
            auto const finite = y.masked_select(torch::isfinite(y));
            auto const scale = scale_for<Q>(y);
            check_least<Q>(finite, scale);
            auto const error = [&](float s) { return error_of(finite, s, 0, Format::lo, Format::hi); };
            double const ours = error(scale) * (1 - 1e-5) - 1e-12;
            CHECK(ours <= error(scale_for<typename Q::template vary<PowerOfTwo<Ceil>>>(finite)));
            CHECK(ours <= error(scale_for<typename Q::template vary<PowerOfTwo<Nearest>>>(finite)));
            CHECK(ours <= error(scale_for<typename Q::template vary<PowerOfTwo<Floor>>>(finite)));
        };
        check(Int<8>{}, MinMax{});
        check(Int<4>{}, MinMax{});
        check(UInt<8>{}, MovingAverageMinMax<>{});
        check(Int<8>{}, MovingAverageMinMax<>{});
    }
}

TEST_CASE("a grid that stepped down before it saw anything is the grid of a format with fewer bits") {
    torch::manual_seed(3);
    auto const x = heavy_tails({6, 500});
    for_each_type<
        With<Shifted, MinMax>, With<Symmetric, Histogram<>>, With<Symmetric, MeanSquaredError<>>,
        With<Symmetric, MinMax, PowerOfTwo<LeastError>>, With<Symmetric, Histogram<>, PowerOfTwo<LeastError>>,
        With<Symmetric, MeanSquaredError<>, PowerOfTwo<Mode>>, With<Symmetric, Entropy<>, PowerOfTwo<Mode>>,
        With<PerChannelSymmetric<0>, MeanSquaredError<>>,
        With<PerChannelSymmetric<0>, MeanSquaredError<>, PowerOfTwo<Mode>>,
        With<PerChannelSymmetric<0>, MinMax, PowerOfTwo<LeastError>>>([&](auto q) {
        using Q = decltype(q);
        nn::FakeQuantize<typename Q::template vary<Int<3>>> narrow(6);
        narrow(x), narrow->eval();
        for (bool const rescale : {true, false}) {
            nn::FakeQuantize<Q> stepped(6);
            stepped->set_bits(3, rescale);
            auto const y = stepped(x);
            CHECK(torch::equal(stepped->scale, narrow->scale));
            CHECK(torch::equal(stepped->zero_point, narrow->zero_point));
            CHECK(torch::equal(y, narrow(x)));
        }
    });
}

TEST_CASE("what was seen before bits step down is not measured on the new integers") {
    torch::manual_seed(4);
    auto const x = heavy_tails({2000});
    using Q = With<Symmetric, MovingAverageMinMax<>, PowerOfTwo<LeastError>>;
    auto const errors = [&](bool sees_before) {
        nn::FakeQuantize<Q> grid;
        grid->share(SharedRange::whole);  // moves between steps
        if (sees_before) grid(x);         // and is not followed yet
        grid->set_bits(3, true);
        grid(x), grid->refresh();
        return grid->named_buffers()["errors"].clone();
    };
    CHECK(torch::equal(errors(true), errors(false)));
}

TEST_CASE("votes of a search on more integers do not outweigh those on fewer") {
    torch::manual_seed(6);
    auto const x = heavy_tails({4000});
    using Q = With<Symmetric, MeanSquaredError<>, PowerOfTwo<Mode>>;
    nn::FakeQuantize<Q> stepped;
    for (int i = 0; i < 10; ++i) stepped(x);
    float const eight_bits = stepped->scale.item<float>();
    stepped->set_bits(3, true);
    CHECK(stepped->scale.item<float>() == eight_bits * 32);  // the same range, until it is searched anew
    stepped(x);
    nn::FakeQuantize<Q::vary<Int<3>>> narrow;
    narrow(x);
    CHECK(narrow->scale.item<float>() != eight_bits * 32);
    CHECK(stepped->scale.item<float>() == narrow->scale.item<float>());
}

TEST_CASE("a range that is given is known before anything is seen, also to a grid that is trained") {
    nn::FakeQuantize<With<Symmetric, FixedRange<std::ratio<-8>, std::ratio<8>>>> fixed;
    CHECK_FALSE(fixed->unseen());
    nn::FakeQuantize<Quantizer<Int<8>, Symmetric, FixedRange<std::ratio<-8>, std::ratio<8>>, LearnedStep>>
        trained;
    trained->mode = nn::GridMode::observe;
    trained->refresh();
    CHECK_FALSE(trained->unseen());
    CHECK(trained->scale.item<float>() == fixed->scale.item<float>());
}

TEST_CASE("on a histogram LeastError is the least error up to what bins hide") {
    for (auto const& x : many_tensors()) {
        auto const finite = x.masked_select(torch::isfinite(x));
        if (finite.numel() < 1000) continue;
        for_each_type<With<Symmetric, Histogram<>>, With<Symmetric, MeanSquaredError<>>,
                      With<Symmetric, Histogram<>, AnyScale, Int<4>>>([&](auto q) {
            using Q = typename decltype(q)::template vary<PowerOfTwo<LeastError>>;
            auto const ours = error_of(finite, scale_for<Q>(x), 0, Q::format::lo, Q::format::hi);
            for (int k = -30; k < 20; ++k)
                CHECK(ours <= 1.02 * error_of(finite, std::ldexp(1.0, k), 0, Q::format::lo, Q::format::hi));
        });
    }
}

TEST_CASE("of every channel, and of every group of channels, LeastError is the least error") {
    torch::manual_seed(13);
    auto const w = heavy_tails({7, 40, 3, 3}) *
                   torch::tensor({1.0f, 1e-3f, 50.0f, 0.0f, 1.0f, 0.3f, 2.0f}).view({7, 1, 1, 1});
    for_each_type<With<PerChannelSymmetric<0>, MinMax>,
                  With<PerChannelSymmetric<0>, MovingAverageMinMax<>, AnyScale, Int<4>>,
                  With<PerChannelSymmetric<0>, MeanSquaredError<>>>([&](auto q) {
        using Q = typename decltype(q)::template vary<PowerOfTwo<LeastError>>;
        Owner<Q> o({7});
        o.feed(w);
        for (std::int64_t c = 0; c < 7; ++c) check_least<Q>(w[c], o.grid().scale[c].template item<double>());
    });
    using Groups = With<PerGroup<3>, MinMax, PowerOfTwo<LeastError>>;
    Owner<Groups> o({3});
    auto const r = range<PerChannelSymmetric<0>>(w);
    o.memory.see({torch::stack({r.min.slice(0, 0, 3).min(), r.min.slice(0, 3, 6).min(), r.min[6]}),
                  torch::stack({r.max.slice(0, 0, 3).max(), r.max.slice(0, 3, 6).max(), r.max[6]})},
                 w);
    o.memory.follow();
    for (std::int64_t g = 0; g < 3; ++g)
        check_least<Groups>(w.slice(0, 3 * g, 3 * g + 3), o.grid().scale[g].item<double>());
    using Shrunk = With<PerGroup<3>, MeanSquaredError<>, AnyScale, Int<4>>;
    Owner<Shrunk> shrunk({3});
    shrunk.feed(w, torch::tensor({0, 0, 0, 1, 1, 1, 2}, torch::kLong));
    Owner<With<Symmetric, MinMax, AnyScale, Int<4>>> whole;
    whole.feed(w.slice(0, 0, 3));
    CHECK(error_of(w.slice(0, 0, 3), shrunk.grid().scale[0].item<double>(), 0, -8, 7) <
          error_of(w.slice(0, 0, 3), whole.scale(), 0, -8, 7));

    using Roles = With<PerRole, MovingAverageMinMax<>, PowerOfTwo<LeastError>>;
    auto const logits = w.permute({2, 0, 1, 3}).contiguous();  // [3, 7, 40, 3]
    auto const roles = torch::tensor({0, 1, 0, 1, 1, 0, 0}, torch::kLong);
    Owner<Roles> by_role({2});
    by_role.feed(logits, roles);
    for (std::int64_t g = 0; g < 2; ++g)
        check_least<Roles>(logits.index_select(1, (roles == g).nonzero().flatten()),
                           by_role.grid().scale[g].item<double>());
    CHECK_THROWS_WITH(by_role.memory.see(by_role.memory.range(), logits), doctest::Contains("pass group_of"));
}

TEST_CASE("errors are sums with min-max and averages with a moving average") {
    torch::manual_seed(14);
    auto const exponents = [](float top) {  // the candidates' scales
        std::vector<double> s;
        for (int j = 0; j < 8; ++j) s.push_back(std::ldexp(1.0 / 128, static_cast<int>(top) - j));
        return s;
    };
    std::vector<torch::Tensor> seen;
    Owner<With<Symmetric, MinMax, PowerOfTwo<LeastError>>> sums;
    Owner<With<Symmetric, MovingAverageMinMax<std::ratio<1, 4>>, PowerOfTwo<LeastError>>> means;
    torch::Tensor sum, mean;
    for (int step = 0; step < 6; ++step) {
        auto x = torch::randn({400}).clamp(-3.5, 3.5);
        x[0] = 3.9;  // one top for all
        sums.feed(x), means.feed(x);
        std::vector<double> now;
        for (double const s : exponents(3)) now.push_back(error_of(x, s, 0, -128, 127));
        auto const e = torch::tensor(now, torch::kDouble);
        sum = sum.defined() ? sum + e : e;
        mean = mean.defined() ? mean + 0.25 * (e - mean) : e;
        CHECK(sums.named_buffers()["top"].item<float>() == 3);
        CHECK(support::relative_error(sums.named_buffers()["errors"], sum) < 1e-5);
        CHECK(support::relative_error(means.named_buffers()["errors"], mean) < 1e-5);
    }
}

TEST_CASE("candidates move with the range") {
    torch::manual_seed(15);
    using Q = With<Symmetric, MinMax, PowerOfTwo<LeastError>>;
    Owner<Q> o;
    std::vector<torch::Tensor> seen;
    for (double const size : {1.0, 3.0, 0.5, 40.0, 40.0, 1000.0}) {
        seen.push_back(torch::randn({1000}) * size);
        o.feed(seen.back());
        check_least<Q>(torch::cat(seen), o.scale());  // the same as if all had been seen at once
    }
    Owner<With<Symmetric, MovingAverageMinMax<std::ratio<1, 2>>, PowerOfTwo<LeastError>>> average;
    average.feed(torch::randn({1000}) * 100);
    for (int step = 0; step < 40; ++step) average.feed(torch::randn({1000}));  // and come down again
    CHECK(average.named_buffers()["top"].item<float>() <= 4);
    CHECK(average.scale() <= 4.0f / 128);
    CHECK(torch::isfinite(average.named_buffers()["errors"]).all().item<bool>());
}

TEST_CASE("with fewer levels the exponent stays until new errors are known") {
    torch::manual_seed(16);
    using Q = With<Symmetric, MinMax, PowerOfTwo<LeastError>>;
    Owner<Q> o;
    auto const x = heavy_tails({5000});
    o.feed(x.repeat({1000}));  // errors of 256 levels that would outweigh those of 16
    float const s = o.scale();
    o.memory.use({-8, 7}, /*anew=*/true);
    CHECK(o.memory.choose({-8, 7}).scale.item<float>() == s * 16);
    o.feed(x);
    float const coarse = o.memory.choose({-8, 7}).scale.item<float>();
    for (int k = -20; k < 10; ++k)
        CHECK(error_of(x, coarse, 0, -8, 7) <= error_of(x, std::ldexp(1.0, k), 0, -8, 7) * (1 + 1e-5));
    CHECK(coarse < s * 16);  // clips more
    Owner<With<PerChannelSymmetric<0>, MeanSquaredError<>>> rows({1});
    rows.memory.use({-8, 7}, /*anew=*/true);
    rows.feed(x.view({1, -1}));
    double least = inf;
    for (int i = 1; i <= 100; ++i)
        least = std::min(
            least, error_of(x, x.abs().max().item<float>() * static_cast<float>(i) / 100 / 7.5f, 0, -8, 7));
    CHECK(error_of(x, rows.memory.choose({-8, 7}).scale[0].item<double>(), 0, -8, 7) <= least * (1 + 1e-5));
}

TEST_CASE("the exponent with most votes does not flutter where a moving average does") {
    torch::manual_seed(17);
    auto const run = [](auto q) {
        Owner<decltype(q)> o;
        int changes = 0;
        float last = 0;
        for (int step = 0; step < 200; ++step) {
            o.feed(torch::tensor({step % 2 ? 0.9f : 1.1f, -0.2f}));  // averages on both sides of 1
            if (step > 2) changes += o.scale() != last;
            last = o.scale();
        }
        return changes;
    };
    CHECK(run(With<Symmetric, MovingAverageMinMax<std::ratio<1, 2>>, PowerOfTwo<Ceil>>{}) > 100);
    CHECK(run(With<Symmetric, MovingAverageMinMax<std::ratio<1, 2>>, PowerOfTwo<Mode>>{}) == 0);

    // Counts: 1, 1, 2, 2, 2: the third vote for 2 is the first that overtakes.
    using Q = With<PerChannelSymmetric<0>, MovingAverageMinMax<std::ratio<1>>, PowerOfTwo<Mode>>;
    Owner<Q> o({2});
    std::vector<float> scales;
    for (float const end : {0.9f, 0.9f, 1.8f, 1.8f, 1.8f, 0.9f}) {
        o.feed(torch::tensor({{end, 0.0f}, {-5.0f, 1.0f}}));
        scales.push_back(o.grid().scale[0].item<float>() * 128);
        CHECK(o.grid().scale[1].item<float>() * 128 == 8);
    }
    CHECK(scales == std::vector<float>{1, 1, 1, 1, 2, 2});
    CHECK(o.named_buffers()["votes"].sum(1).eq(6).all().item<bool>());
}

TEST_CASE("empty, NaN, infinite, all-zero and constant tensors give a usable grid or none") {
    torch::manual_seed(18);
    auto const x = torch::randn({300});
    for_each_observer([&](auto q) {
        using Q = decltype(q);
        auto const usable = [](Owner<Q> const& o) {
            auto const g = o.grid();
            float const s = g.scale.template item<float>();
            int const z = g.zero_point.template item<int>();
            return std::isfinite(s) && s >= smallest_scale && z >= Q::format::lo && z <= Q::format::hi;
        };
        for (auto const& nothing :
             {torch::empty({0}), torch::full({3}, std::nanf("")), torch::tensor({inf, -inf})}) {
            Owner<Q> o;
            o.feed(nothing);
            CHECK(!o.memory.known().template item<bool>());
            CHECK(usable(o));
            o.feed(x);
            CHECK(o.memory.known().template item<bool>());
            Owner<Q> other;
            other.feed(x);
            CHECK(o.scale() == other.scale());
            o.feed(nothing);
            CHECK(o.scale() == other.scale());
        }
        for (float const value : {0.0f, -0.0f, 3.7f, -3.7f, 1e-30f, 1e30f}) {
            Owner<Q> o;
            o.feed(torch::full({50}, value));
            CHECK(usable(o));
            o.feed(torch::full({50}, value));
            CHECK(usable(o));
            o.feed(x);
            CHECK(usable(o));
        }
    });
    // One bad value among good ones: as if it were not there, where the values are looked at.
    auto const bad = torch::cat({x, torch::tensor({inf, std::nanf("")})});
    for_each_type<With<Shifted, Histogram<>>, With<Symmetric, Entropy<>>, With<Shifted, Percentile<>>,
                  With<Shifted, MeanSquaredError<>>>([&](auto q) {
        using Q = decltype(q);
        CHECK(scale_for<Q>(bad) == scale_for<Q>(x));
    });
}

TEST_CASE("what was seen lives in buffers: a copy and a saved one go on as the original") {
    torch::manual_seed(19);
    for_each_observer([&](auto q) {
        using Q = decltype(q);
        Owner<Q> o, copy, loaded;
        o.feed(torch::randn({300})), o.feed(torch::randn({300}) * 2);
        for (auto const& item : o.named_buffers()) copy.named_buffers()[item.key()].copy_(item.value());
        torch::serialize::OutputArchive out;
        o.save(out);
        std::stringstream file;
        out.save_to(file);
        torch::serialize::InputArchive in;
        in.load_from(file);
        loaded.load(in);
        auto const x = torch::randn({300}) * 3;
        for (auto* other : {&copy, &loaded}) {
            CHECK(other->scale() == o.scale());
            CHECK(torch::equal(other->grid().zero_point, o.grid().zero_point));
        }
        o.feed(x), copy.feed(x), loaded.feed(x);
        CHECK(copy.scale() == o.scale());
        CHECK(loaded.scale() == o.scale());
    });
}

TEST_CASE("a quantizer module follows every observer") {
    torch::manual_seed(20);
    auto const x = heavy_tails({2, 6, 20, 20});
    auto const follow = [&](auto q, torch::Tensor const& t) {
        using Q = decltype(q);
        nn::FakeQuantize<Q> grid(t.size(Q::scheme::axis));
        grid(t);
        auto const y = grid(t);
        if constexpr (!Q::scheme::grouped) {  // what the observer says that saw the same
            std::vector<std::int64_t> shape;
            if (Q::scheme::per_channel) shape.push_back(t.size(Q::scheme::axis));
            Owner<Q> o(shape);
            o.feed(t), o.feed(t);
            CHECK(torch::equal(grid->scale, o.grid().scale));
            CHECK(torch::equal(grid->zero_point, o.grid().zero_point));
        }
        CHECK(grid->scale.min().template item<float>() > smallest_scale);
        CHECK((y - t).square().mean().template item<float>() <
              0.1f * t.square().mean().template item<float>());
        grid->eval();
        CHECK(torch::equal(grid(t), grid(t)));
    };
    for_each_type<With<Shifted, Histogram<>>, With<Symmetric, Histogram<>, PowerOfTwo<LeastError>>,
                  With<Shifted, Histogram<2048, Counting::as_torch>>, With<Symmetric, Entropy<>>,
                  With<Shifted, MinMax>, With<Shifted, MovingAverageMinMax<>>, With<Shifted, Percentile<>>,
                  With<Shifted, MeanSquaredError<>>,
                  With<Symmetric, MovingAverageMinMax<>, PowerOfTwo<LeastError>>,
                  With<Symmetric, MovingAverageMinMax<>, PowerOfTwo<Mode>>>([&](auto q) { follow(q, x); });
    for_each_type<With<PerChannelSymmetric<0>, MeanSquaredError<>>, With<PerGroup<4>, MeanSquaredError<>>,
                  With<PerGroup<4>, MinMax, PowerOfTwo<LeastError>>,
                  With<PerChannelSymmetric<0>, MinMax, PowerOfTwo<LeastError>>,
                  With<PerChannelSymmetric<0>, MinMax, PowerOfTwo<Mode>>>(
        [&](auto q) { follow(q, x.flatten(0, 1)); });
}

TEST_SUITE("shared") {
    TEST_CASE("the histogram observer follows a sequence of tensors as torch.ao's") {
        NEEDS_SHARED("golden/observers.pt");
        auto const golden = support::golden("observers.pt");
        auto const sequence = golden.at("sequence");
        int compared = 0;
        auto const follow = [&]<class Q>(Q, std::string const& name) {
            Owner<Q> o;
            Owner<typename Q::template vary<Histogram<>>> exact;
            for (std::int64_t k = 0; k < sequence.size(0); ++k) {
                auto const key = name + ".after" + std::to_string(k) + ".";
                CAPTURE(key);
                o.feed(sequence[k]), exact.feed(sequence[k]);
                auto const b = o.named_buffers();
                auto const g = o.grid();
                CHECK(support::relative_error(b["min"], golden.at(key + "min")) < 1e-6);
                CHECK(support::relative_error(b["max"], golden.at(key + "max")) < 1e-6);
                CHECK(support::relative_error(g.scale, golden.at(key + "scale")) < 1e-6);
                CHECK(g.zero_point.template item<int>() ==
                      golden.at(key + "zero_point").template item<int>());
                // Counting every value where it belongs pays.
                auto const seen = sequence.slice(0, 0, k + 1);
                CHECK(error_of<Q>(seen, exact.grid()) < error_of<Q>(seen, g));
                ++compared;
            }
        };
        follow(Quantizer<Int<8>, PerTensorAffine, Histogram<2048, Counting::as_torch>>{}, "histogram.affine");
        follow(Quantizer<Int<8>, PerTensorSymmetric, Histogram<2048, Counting::as_torch>>{},
               "histogram.symmetric");
        CHECK(compared == 12);
    }
}
