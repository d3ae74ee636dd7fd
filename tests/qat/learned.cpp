// Rounding, noise and quantization with learned grids: tables, the papers' formulas as slow loops, finite differences,
// and small problems in which the learned range must win.

#include "support/doctest.hpp"

#include <qat/core/estimator/pass_through.hpp>
#include <qat/core/noise.hpp>
#include <qat/ops/fake_quantize.hpp>
#include <qat/ops/learned.hpp>
#include <qat/ops/learned/threshold_freeze.hpp>

#include <array>
#include <cmath>
#include <random>

namespace {
using namespace qat;

constexpr float inf = std::numeric_limits<float>::infinity(),
                not_a_number = std::numeric_limits<float>::quiet_NaN();

using Step = Quantizer<Int<8>, PerTensorSymmetric, LearnedStep>;
using StepOffset = Quantizer<UInt<8>, PerTensorAffine, LearnedStepAndOffset>;
using Threshold = Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Ceil>, TrainedThreshold>;
using Clip = Quantizer<UInt<8>, PerTensorSymmetric, PACT>;

template <class Q> struct type { using is = Q; };

// f(type<Q>) for each.
template <class... Qs> struct Specs {
    template <class F> static void each(F&& f) { (one<Qs>(f), ...); }
    template <class Q, class F> static void one(F& f) {
        CAPTURE(Q::estimator::name);
        CAPTURE(Q::scheme::name);
        CAPTURE(Q::scheme::axis);
        CAPTURE(Q::format::name);
        CAPTURE(Q::format::bits);
        f(type<Q>{});
    }
};

using OfTensors = Specs<Step, Step::vary<Int<4>>, Step::vary<Int<8, Range::narrow>>, Step::vary<UInt<8>>,
                        Step::vary<HalfUp>, StepOffset, StepOffset::vary<Int<4>>, Threshold,
                        Threshold::vary<PowerOfTwo<Nearest>>, Threshold::vary<PowerOfTwo<Floor>, UInt<4>>,
                        Clip, Clip::vary<UInt<4>>>;
using OfChannels = Specs<Step::vary<PerChannelSymmetric<0>>, Step::vary<PerChannelSymmetric<1>, RoundDown>,
                         Step::vary<PerChannelSymmetric<3>, HalfAwayFromZero>,
                         StepOffset::vary<PerChannelAffine<1>>, Threshold::vary<PerChannelSymmetric<0>>,
                         Threshold::vary<PerChannelSymmetric<1>, HalfUp>, Clip::vary<PerChannelSymmetric<1>>>;
using OnePerEstimator = Specs<Step, StepOffset, Threshold, Clip>;

template <class F> void for_each_spec(F&& f) {
    OfTensors::each(f);
    OfChannels::each(f);
}

torch::Tensor sample() {  // [4, 6, 5, 7], signed zeros and values far outside among them
    torch::manual_seed(5);
    auto x = torch::randn({4, 6, 5, 7}) * 2;
    auto flat = x.view({-1});
    flat[0] = 0.0, flat[1] = -0.0, flat[2] = 50.0, flat[3] = -50.0, flat[4] = 1e-30;
    return x;
}

// A parameter that clips about a tenth of x.
template <class Q> LearnedTensors parameter_for(torch::Tensor const& x) {
    auto const tight = x.clamp(-2.9, 3.3);
    auto const r = range<typename Q::scheme>(tight);
    auto p = initial_parameter<Q>(choose_grid<Q>(r.min, r.max));
    auto const channels = p.parameter.numel();
    auto const spread = Q::scheme::per_channel ? torch::linspace(-0.3, 0.3, channels) : torch::zeros({});
    if (Q::estimator::learns == Learns::log2_threshold)
        p.parameter.add_(4 * spread - 0.8);  // not in the middle of its interval
    else
        p.parameter.mul_(spread + 0.93);
    if (p.offset.defined()) p.offset.add_(0.11);
    p.parameter.requires_grad_();
    if (p.offset.defined()) p.offset.requires_grad_();
    return p;
}

struct Result {
    torch::Tensor y, x, parameter, offset;  // offset: undefined if there is none
};
template <class Q>
Result run(torch::Tensor const& x, LearnedTensors const& p, torch::Tensor const& dy,
           Levels levels = levels_of<typename Q::format>, std::int64_t shares = 0) {
    auto const leaf = x.detach().requires_grad_();
    LearnedTensors const own{p.parameter.detach().requires_grad_(),
                             p.offset.defined() ? p.offset.detach().requires_grad_() : torch::Tensor()};
    auto const y = learned_quantize<Q>(leaf, own, levels, shares);
    y.backward(dy);
    return {y.detach(), leaf.grad(), own.parameter.grad(),
            own.offset.defined() ? own.offset.grad() : torch::Tensor()};
}

bool same_bits(torch::Tensor const& a, torch::Tensor const& b) {
    return a.sizes() == b.sizes() &&
           torch::equal(a.contiguous().view(torch::kInt), b.contiguous().view(torch::kInt));
}

// f(element, channel) for the elements of a contiguous x.
template <class Q, class F> void for_each_element(torch::Tensor const& x, F&& f) {
    std::int64_t inner = 1;
    for (auto d = Q::scheme::axis + 1; d < x.dim(); ++d) inner *= x.size(d);
    for (std::int64_t i = 0; i < x.numel(); ++i)
        f(i, Q::scheme::per_channel ? i / inner % x.size(Q::scheme::axis) : 0);
}

// Where fake_quantize exists for the rounding, by it; else element by element through the scalar rule.
template <class Q> torch::Tensor on_grid(torch::Tensor const& x, GridTensors const& g) {
    if constexpr (std::is_same_v<typename Q::rounding, HalfEven>) {
        return fake_quantize<Q>(x, g.scale, g.zero_point);
    } else {
        auto const y = torch::empty_like(x);
        torch::Tensor const s = g.scale.reshape({-1}), z = g.zero_point.reshape({-1});
        for_each_element<Q>(x, [&](std::int64_t i, std::int64_t c) {
            float const scale = s.data_ptr<float>()[c];
            auto const b = bounds(Q::format::lo, Q::format::hi, z.data_ptr<std::int32_t>()[c]);
            y.template data_ptr<float>()[i] = dequantize(
                quantize<typename Q::rounding>(x.data_ptr<float>()[i], 1.0f / scale, b).value, scale);
        });
        return y;
    }
}

template <class Q> double round_slowly(double t) {  // by libm, in double
    if (std::is_same_v<typename Q::rounding, HalfUp>) return std::floor(t + 0.5);
    if (std::is_same_v<typename Q::rounding, HalfAwayFromZero>) return std::round(t);
    if (std::is_same_v<typename Q::rounding, RoundDown>) return std::floor(t);
    return std::nearbyint(t);
}

template <class Q> double real_threshold(double t) {  // k
    if (Q::scale::power_of_two) {
        if constexpr (Q::scale::power_of_two)
            return Q::scale::way == Toward::up     ? std::ceil(t)
                   : Q::scale::way == Toward::down ? std::floor(t)
                                                   : std::floor(t + 0.5);
    }
    return t;
}
template <class Q> double real_scale(double p, double hi) {
    switch (Q::estimator::learns) {
    case Learns::log2_threshold:
        return std::pow(2.0, real_threshold<Q>(p)) / (hi + 1);
    case Learns::clip:
        return p / hi;
    default:
        return p;
    }
}

// Gradients as the papers write them, in double, one element after the other.
template <class Q>
Result by_the_paper(torch::Tensor const& x, LearnedTensors const& p, torch::Tensor const& dy) {
    constexpr auto learns = Q::estimator::learns;
    double const lo = Q::format::lo, hi = Q::format::hi;
    auto const flat = [](torch::Tensor const& t) {
        return t.detach().contiguous().view({-1}).to(torch::kDouble);
    };
    torch::Tensor const in = flat(x), up = flat(dy), parameter = flat(p.parameter);
    torch::Tensor const shifts = p.offset.defined() ? flat(p.offset) : parameter;
    torch::Tensor dx = torch::zeros_like(in), dp = torch::zeros_like(parameter),
                  doffset = torch::zeros_like(parameter);
    auto const n = static_cast<double>(x.numel()) / static_cast<double>(parameter.numel());
    for_each_element<Q>(x, [&](std::int64_t i, std::int64_t c) {
        double const v = in.data_ptr<double>()[i], g = up.data_ptr<double>()[i];
        double const value = parameter.data_ptr<double>()[c], s = real_scale<Q>(value, hi), t = v / s;
        double inside = 0, slope = 0, shift = 0;
        if (learns == Learns::step) {  // Esser et al.: LSQ
            if (t <= lo)
                slope = lo;
            else if (t >= hi)
                slope = hi;
            else
                inside = 1, slope = round_slowly<Q>(t) - t;
            slope /= std::sqrt(n * hi);
        } else if (learns == Learns::step_and_offset) {  // Bhalgat et al.: LSQ+, the offset snapped to -s * z
            double const offset = shifts.data_ptr<double>()[c];
            double const snapped = -s * std::min(std::max(std::nearbyint(-offset / s), lo), hi);
            double const q = (v - snapped) / s;
            if (q <= lo)
                slope = lo, shift = 1;
            else if (q >= hi)
                slope = hi, shift = 1;
            else
                inside = 1, slope = round_slowly<Q>(q) - q;
            slope /= std::sqrt(n * hi), shift /= std::sqrt(n * hi);
        } else if (learns == Learns::log2_threshold) {  // Jain et al.: TQT
            double const r = round_slowly<Q>(t);
            if (r < lo)
                slope = lo;
            else if (r > hi)
                slope = hi;
            else
                inside = 1, slope = r - t;
            slope *= s * std::log(2.0);
        } else {  // Choi et al.: PACT
            inside = v >= 0 && v < value;
            slope = v >= value;
        }
        dx.data_ptr<double>()[i] = inside * g;
        dp.data_ptr<double>()[c] += slope * g;
        doffset.data_ptr<double>()[c] += shift * g;
    });
    return {{}, dx.view(x.sizes()), dp.view(p.parameter.sizes()), doffset.view(p.parameter.sizes())};
}
}  // namespace

// ---- rounding and noise -------------------------------------------------------------------------------------------
static_assert(HalfAwayFromZero::round(2.5f) == 3 && HalfUp::round(-2.5f) == -2 &&
              RoundDown::round(-0.5f) == -1);
static_assert(Stochastic::round(2.5f) == 2 && Stochastic::round(2.5f, 0.5f) == 3);
static_assert(Stochastic::stochastic && !HalfUp::stochastic && !HalfEven::stochastic);

TEST_CASE("ties go where the policy's name says") {
    struct Row {
        float t, even, away, up, down;
    };
    for (auto const& r : std::array<Row, 14>{{{0.5f, 0, 1, 1, 0},
                                              {-0.5f, 0, -1, 0, -1},
                                              {1.5f, 2, 2, 2, 1},
                                              {-1.5f, -2, -2, -1, -2},
                                              {2.5f, 2, 3, 3, 2},
                                              {-2.5f, -2, -3, -2, -3},
                                              {0.0f, 0, 0, 0, 0},
                                              {-0.0f, 0, 0, 0, 0},
                                              {1.0f, 1, 1, 1, 1},
                                              {-1.0f, -1, -1, -1, -1},
                                              {-0.25f, 0, 0, 0, -1},
                                              {0.49999997f, 0, 0, 0, 0},
                                              {-0.50000006f, -1, -1, -1, -1},
                                              {4194302.5f, 4194302, 4194303, 4194303, 4194302}}}) {
        CAPTURE(r.t);
        CHECK(HalfEven::round(r.t) == r.even);
        CHECK(HalfAwayFromZero::round(r.t) == r.away);
        CHECK(HalfUp::round(r.t) == r.up);
        CHECK(RoundDown::round(r.t) == r.down);
        for (float zero : {HalfAwayFromZero::round(r.t), HalfUp::round(r.t), RoundDown::round(r.t)})
            CHECK_FALSE((zero == 0 && std::signbit(zero)));  // no rounding gives -0
    }
}

TEST_CASE("rounding agrees with libm, next to ties and everywhere") {
    std::mt19937 bits(7);
    int wrong = 0;
    auto const check = [&wrong](float t) {
        auto const d = static_cast<double>(t);
        wrong += HalfAwayFromZero::round(t) != std::round(t);
        wrong += static_cast<double>(HalfUp::round(t)) != std::floor(d + 0.5);
        wrong += RoundDown::round(t) != std::floor(t);
    };
    for (int i = 0; i < 200000; ++i) {
        int const magnitude = static_cast<int>(bits() % 22);
        auto const mantissa =
            static_cast<float>(static_cast<std::int32_t>(bits() >> 8) - (1 << 23)) / float(1 << 23);
        float const t = mantissa * static_cast<float>(1 << magnitude), tie = std::floor(t / 2) + 0.5f;
        for (float v : {t, tie, std::nextafter(tie, inf), std::nextafter(tie, -inf), std::floor(t)}) check(v);
    }
    for (float v : {1e-30f, -1e-30f, std::nextafter(0.0f, 1.0f), -std::nextafter(0.0f, 1.0f)}) check(v);
    CHECK(wrong == 0);
}

TEST_CASE("stochastic rounding keeps integers, moves to a neighbour only, and is right on average") {
    constexpr float most = 1.0f - 5.9604644775390625e-08f;  // the largest noise
    for (float i : {0.0f, -0.0f, 1.0f, -1.0f, 1000.0f, -32768.0f, 4194303.0f})
        for (float noise : {0.0f, 0.5f, most}) CHECK(Stochastic::round(i, noise) == i);
    for (float t : {0.25f, -0.25f, 1000.001f, -7.9999995f, 2.5f, -1e-9f}) {
        CAPTURE(t);
        CHECK(Stochastic::round(t, 0.0f) == std::floor(static_cast<double>(t) + (t == -1e-9f ? 1e-9 : 0)));
        CHECK(Stochastic::round(t, most) == std::ceil(t));
    }
    std::uint64_t seed = 1;
    for (float t : {0.1f, 0.5f, -0.3f, 126.75f, -17.02f}) {
        CAPTURE(t);
        constexpr int n = 400000;
        double sum = 0;
        int outside = 0;
        for (std::uint64_t i = 0; i < n; ++i) {
            float const r = Stochastic::round(t, uniform_noise(seed, i));
            outside += r != std::floor(t) && r != std::ceil(t);
            sum += r;
        }
        CHECK(outside == 0);
        double const fraction = t - std::floor(t), deviation = std::sqrt(fraction * (1 - fraction) / n);
        CHECK(std::abs(sum / n - t) < 4 * deviation);
        ++seed;
    }
    auto const b = bounds(-8, 7, 0);  // beyond the ends nothing is random
    CHECK(quantize<Stochastic>(100, 1, b, 0.3f).value == 7);
    CHECK_FALSE(quantize<Stochastic>(100, 1, b, 0.3f).inside);
    CHECK(quantize<Stochastic>(not_a_number, 1, b, 0.3f).value == -8);
    CHECK(quantize<Stochastic>(2.5f, 1, b, 0.4f).value == 2);
    CHECK(quantize<Stochastic>(2.5f, 1, b, 0.6f).value == 3);
    CHECK(quantize<Stochastic>(2.5f, 1, b).value == 2);  // evaluation
}

static_assert(uniform_noise(0, 0) != uniform_noise(0, 1) && uniform_noise(0, 0) == uniform_noise(0, 0));

TEST_CASE("noise is uniform, and neighbours in index and seed have nothing in common") {
    constexpr int n = 1 << 20;
    double const tolerance = 4 / std::sqrt(double(n));
    for (std::uint64_t seed : {0ull, 1ull, 123456789ull, ~0ull, 0x9e3779b97f4a7c15ull}) {
        CAPTURE(seed);
        double sum = 0, square = 0, lag = 0, lag2 = 0, other = 0, odd = 0;
        std::array<int, 64> bins{};
        int outside = 0;
        for (std::uint64_t i = 0; i < n; ++i) {
            float const u = uniform_noise(seed, i);
            outside += !(u >= 0 && u < 1);
            bins[static_cast<std::size_t>(u * 64) & 63] += 1;
            double const v = (u - 0.5) * std::sqrt(12.0);  // mean 0, variance 1
            sum += v, square += v * v;
            lag += v * (uniform_noise(seed, i + 1) - 0.5) * std::sqrt(12.0);
            lag2 += v * (uniform_noise(seed, i + 256) - 0.5) * std::sqrt(12.0);
            other += v * (uniform_noise(seed + 1, i) - 0.5) * std::sqrt(12.0);
            odd += static_cast<int>(u * 16777216.0f) & 1 ? 1 : -1;  // the last bit, too
        }
        CHECK(outside == 0);
        for (double mean :
             {sum / n, (square / n - 1) / std::sqrt(0.8), lag / n, lag2 / n, other / n, odd / n})
            CHECK(std::abs(mean) < tolerance);
        double chi2 = 0;
        for (int count : bins) chi2 += (count - n / 64.0) * (count - n / 64.0) / (n / 64.0);
        CHECK(chi2 < 63 + 4 * std::sqrt(2 * 63.0));
    }
    // another seed is no other place in the same stream
    int equal = 0;
    for (std::uint64_t i = 0; i < 1000; ++i) {
        equal += uniform_noise(0x9e3779b97f4a7c15u, i) == uniform_noise(0, i + 1);
        equal += uniform_noise(1, i) == uniform_noise(0, i + 1);
        equal += uniform_noise(1, i) == uniform_noise(0, i + (1ull << 32));
        equal += uniform_noise(1ull << 32, i) == uniform_noise(1, i);
    }
    CHECK(equal < 5);
}

// ---- learned grids ------------------------------------------------------------------------------------------------
static_assert(PassThrough::passes_outside && PassThrough::learns == Learns::nothing);
static_assert(!LearningSpec<Quantizer<>> && LearningSpec<Step>);

TEST_CASE("the value is fake quantization's on the parameter's grid, bit for bit") {
    auto const x = sample();
    for_each_spec([&](auto q) {
        using Q = typename decltype(q)::is;
        auto const p = parameter_for<Q>(x);
        auto const g = grid_of_parameter<Q>(p);
        CHECK(same_bits(learned_quantize<Q>(x, p).detach(), on_grid<Q>(x, g)));
        auto const strided =
            torch::cat({x, x + 1}, 3).slice(3, 1, 14, 2).slice(0, 0, 4);  // [4, 6, 5, 7], every second
        auto const last = x.contiguous(torch::MemoryFormat::ChannelsLast);
        for (auto const& v : {strided, last, x.transpose(2, 3).contiguous().transpose(2, 3)})
            CHECK(same_bits(learned_quantize<Q>(v, p).detach(),
                            learned_quantize<Q>(v.contiguous(), p).detach()));
        torch::NoGradGuard no_grad;
        CHECK(same_bits(learned_quantize<Q>(x, p), on_grid<Q>(x, g)));
    });
    auto const dot = torch::tensor(0.77f);
    CHECK(learned_step<Step>(dot, torch::tensor(0.25f)).item<float>() == 0.75f);
    CHECK(
        learned_step_and_offset<StepOffset>(dot, torch::tensor(0.25f), torch::tensor(-0.5f)).item<float>() ==
        0.75f);
    CHECK(trained_threshold<Threshold>(dot, torch::tensor(4.7f)).item<float>() == 0.75f);  // s = 2^5 / 128
    CHECK(pact<Clip>(dot, torch::tensor(63.75f)).item<float>() == 0.75f);
}

TEST_CASE("gradients are the papers' formulas") {
    auto const x = sample();
    torch::manual_seed(6);
    auto const dy = torch::randn_like(x);
    for_each_spec([&](auto q) {
        using Q = typename decltype(q)::is;
        auto const p = parameter_for<Q>(x);
        auto const ours = run<Q>(x, p, dy), paper = by_the_paper<Q>(x, p, dy);
        CHECK(torch::equal(ours.x, paper.x.to(torch::kFloat)));
        CHECK(support::relative_error(ours.parameter, paper.parameter) < 2e-5);  // t is a float of up to 255
        if (ours.offset.defined()) CHECK(support::relative_error(ours.offset, paper.offset) < 1e-6);
        auto const share = ours.x.eq(0).to(torch::kFloat).mean().template item<float>();
        CHECK(share > 0.01);  // the sample has elements on both sides
        CHECK(share < 0.95);
    });
}

TEST_CASE("gradients are finite differences where rounding is taken as a constant shift") {
    // y(x, p) = s * (clamp(x / s, lo, hi) + d) with d = round(t) - t held fixed is smooth: what straight through means.
    auto const x = sample();
    torch::manual_seed(8);
    auto const dy = torch::randn_like(x);
    OfTensors::each([&](auto q) {
        using Q = typename decltype(q)::is;
        constexpr auto learns = Q::estimator::learns;
        double const lo = Q::format::lo, hi = Q::format::hi;
        auto const p = parameter_for<Q>(x);
        double const at = p.parameter.template item<float>();
        double const offset = p.offset.defined() ? p.offset.template item<float>() : 0.0;
        double const edge = learns == Learns::log2_threshold ? 0.5 : 0.0;  // TQT rounds before it clamps
        auto const v = x.to(torch::kDouble), g = dy.to(torch::kDouble);
        double const s0 = real_scale<Q>(at, hi);
        double const b0 = learns == Learns::step_and_offset ? -s0 * std::nearbyint(-offset / s0) : 0.0;
        auto const real = [&](double parameter, double base) {  // sum dy * y in reals but for the held shift
            double s = parameter;
            if (learns == Learns::log2_threshold)
                s = s0 *
                    std::pow(2.0, parameter - at);  // the integer exponent moves along: d ceil(t) / dt = 1
            if (learns == Learns::clip) return (g * v.clamp(0, parameter)).sum().template item<double>();
            auto const held = (v - b0) / s0;
            auto shift = torch::round(held) - held;
            if (std::is_same_v<typename Q::rounding, HalfUp>) shift = torch::floor(held + 0.5) - held;
            auto const outer = (held < lo - edge) | (held > hi + edge);
            auto const t = (v - base) / s;
            auto const inner = s * (t + shift) + base, end = s * t.clamp(lo, hi) + base;
            return (g * torch::where(outer, end, inner)).sum().template item<double>();
        };
        double const h = 1e-6 * std::max(std::abs(at), 0.01);
        double const n = static_cast<double>(x.numel());
        double const factor =
            learns == Learns::step || learns == Learns::step_and_offset ? 1 / std::sqrt(n * hi) : 1;
        auto const ours = run<Q>(x, p, dy);
        double const slope = (real(at + h, b0) - real(at - h, b0)) / (2 * h) * factor;
        CHECK(ours.parameter.template item<float>() == doctest::Approx(slope).epsilon(1e-4));
        if (learns == Learns::step_and_offset) {
            double const shift = (real(at, b0 + 1e-6) - real(at, b0 - 1e-6)) / 2e-6 * factor;
            CHECK(ours.offset.template item<float>() == doctest::Approx(shift).epsilon(1e-4));
        }
    });
}

TEST_CASE("exactly at the ends of the range each paper has its own rule") {
    // s = 1/4, codes -8 ... 7: the ends are -2 and 1.75; 1.8 rounds to the upper one, 1.9 beyond it.
    auto const x = torch::tensor({-2.2f, -2.1f, -2.0f, 0.1f, 1.75f, 1.8f, 1.9f});
    auto const one = torch::ones_like(x);
    using S = Step::vary<Int<4>>;
    auto const lsq = run<S>(x, {torch::tensor(0.25f), {}}, one);
    CHECK(torch::equal(lsq.x, torch::tensor({0.f, 0.f, 0.f, 1.f, 0.f, 0.f, 0.f})));
    CHECK(lsq.parameter.item<float>() == doctest::Approx((-8 * 3 - 0.4 + 7 * 3) / std::sqrt(7 * 7.0)));
    using T = Threshold::vary<Int<4>>;
    auto const tqt = run<T>(x, {torch::tensor(0.7f), {}}, one);
    CHECK(torch::equal(tqt.x, torch::tensor({0.f, 1.f, 1.f, 1.f, 1.f, 1.f, 0.f})));
    CHECK(tqt.parameter.item<float>() ==
          doctest::Approx((-8 + 0.4 - 0.4 - 0.2 + 7) * 0.25 * std::log(2.0)).epsilon(1e-5));
    using P = Clip::vary<UInt<4>>;
    auto const clip = run<P>(torch::tensor({-0.1f, 0.0f, 3.7499998f, 3.75f, 3.8f, 9.0f}),
                             {torch::tensor(3.75f), {}}, torch::ones({6}));
    CHECK(torch::equal(clip.x, torch::tensor({0.f, 1.f, 1.f, 0.f, 0.f, 0.f})));
    CHECK(clip.parameter.item<float>() == 3);
}

TEST_CASE("the gradient of a step is divided by sqrt(N hi), N what shares it or what the caller says") {
    auto const x = torch::full({6, 5, 4}, 100.0f), dy = torch::ones_like(x);  // all above the range
    auto const whole = run<Step>(x, {torch::tensor(0.1f), {}}, dy);
    CHECK(whole.parameter.item<float>() == doctest::Approx(120 * 127 / std::sqrt(120 * 127.0)));
    auto const features = run<Step>(x, {torch::tensor(0.1f), {}}, dy, {-128, 127}, 20);  // of one of 6 images
    CHECK(features.parameter.item<float>() == doctest::Approx(120 * 127 / std::sqrt(20 * 127.0)));
    using C = Step::vary<PerChannelSymmetric<1>>;
    auto const channels = run<C>(x, {torch::full({5}, 0.1f), {}}, dy);
    CHECK(channels.parameter[3].item<float>() == doctest::Approx(24 * 127 / std::sqrt(24 * 127.0)));
    auto const fewer = run<Step>(x, {torch::tensor(0.1f), {}}, dy, {-8, 7});
    CHECK(fewer.y.max().item<float>() == doctest::Approx(0.7));
    CHECK(fewer.parameter.item<float>() == doctest::Approx(120 * 7 / std::sqrt(120 * 7.0)));
}

TEST_CASE("per channel equals a loop of per tensor") {
    auto const x = sample();
    torch::manual_seed(9);
    auto const dy = torch::randn_like(x);
    auto const compare = [&](auto channels, auto tensor) {
        using C = decltype(channels);
        using T = decltype(tensor);
        auto const p = parameter_for<C>(x);
        auto const all = run<C>(x, p, dy);
        for (std::int64_t c = 0; c < x.size(C::scheme::axis); ++c) {
            LearnedTensors const one{p.parameter.detach()[c],
                                     p.offset.defined() ? p.offset.detach()[c] : p.offset};
            auto const part = run<T>(x.select(C::scheme::axis, c), one, dy.select(C::scheme::axis, c));
            CHECK(same_bits(part.y, all.y.select(C::scheme::axis, c)));
            CHECK(same_bits(part.x, all.x.select(C::scheme::axis, c)));
            CHECK(support::relative_error(part.parameter, all.parameter[c]) < 1e-6);
            if (part.offset.defined()) CHECK(support::relative_error(part.offset, all.offset[c]) < 1e-6);
        }
    };
    compare(Step::vary<PerChannelSymmetric<0>>{}, Step{});
    compare(Step::vary<PerChannelSymmetric<3>>{}, Step{});
    compare(StepOffset::vary<PerChannelAffine<1>>{}, StepOffset{});
    compare(Threshold::vary<PerChannelSymmetric<1>>{}, Threshold{});
    compare(Clip::vary<PerChannelSymmetric<1>>{}, Clip{});
}

TEST_CASE("torch's operators give the same as the loops, NaN and infinities included") {
    auto x = sample();
    x.view({-1})[10] = not_a_number, x.view({-1})[11] = inf, x.view({-1})[12] = -inf;
    torch::manual_seed(10);
    auto const dy = torch::randn_like(x);
    for_each_spec([&](auto q) {
        using Q = typename decltype(q)::is;
        constexpr auto levels = levels_of<typename Q::format>;
        constexpr auto rule = qat::detail::learned_rule<Q>();
        auto const p = parameter_for<Q>(sample());
        auto const g = grid_of_parameter<Q>(p);
        CHECK(torch::equal(qat::detail::learned_forward_cpu(rule, x, g, levels),
                           fallback::forward(fallback::rule<Identity, Q>(), x, g, levels, {}).y));
        auto const loops =
            qat::detail::learned_backward_cpu(rule, x, dy, g, p.parameter.detach(), levels, true);
        auto const torchs =
            qat::detail::learned_backward_device(rule, x, dy, g, p.parameter.detach(), levels, nullptr);
        CHECK(torch::equal(loops.input, torchs.input));
        CHECK(support::relative_error(loops.parameter, torchs.parameter) < 1e-6);
        if (torchs.offset.defined()) CHECK(support::relative_error(loops.offset, torchs.offset) < 1e-12);
        CHECK_FALSE(qat::detail::learned_backward_cpu(rule, x, dy, g, p.parameter.detach(), levels, false)
                        .input.defined());
    });
}

TEST_CASE("NaN becomes the lowest value and trains nothing, infinities the ends, empty tensors stay empty") {
    Specs<Step, StepOffset, Threshold, Clip, Step::vary<PerChannelSymmetric<1>, RoundDown>>::each(
        [&](auto q) {
        using Q = typename decltype(q)::is;
        auto const p = parameter_for<Q>(sample());
        auto const x = torch::zeros({4, 6, 5, 7});
        auto const g = grid_of_parameter<Q>(p);
        auto const low = g.scale * (Q::format::lo - g.zero_point),
                   high = g.scale * (Q::format::hi - g.zero_point);
        auto const first = [&](torch::Tensor const& t) { return t.view({-1})[0].template item<float>(); };
        auto const with = [&](float v) {
            auto a = x.clone();
            a.view({-1})[0] = v;
            auto dy = torch::zeros_like(a);
            dy.view({-1})[0] = 1;
            return run<Q>(a, p, dy);
        };
        auto const none = with(not_a_number), up = with(inf), down = with(-inf);
        CHECK(first(none.y) == first(low));
        CHECK(first(up.y) == first(high));
        CHECK(first(down.y) == first(low));
        for (auto const& r : {none, up, down}) CHECK(r.x.abs().sum().template item<float>() == 0);
        CHECK(none.parameter.abs().sum().template item<float>() == 0);
        if (none.offset.defined()) CHECK(none.offset.abs().sum().template item<float>() == 0);
        CHECK(first(up.parameter) > 0);

        std::vector<std::int64_t> shape{4, 6, 5, 7};
        shape[Q::scheme::axis == 2 ? 1 : 2] = 0;  // the scheme's axis keeps its size
        auto const empty = run<Q>(torch::empty(shape), p, torch::empty(shape));
        CHECK(empty.y.numel() == 0);
        CHECK(empty.parameter.sizes() == p.parameter.sizes());
        CHECK(empty.parameter.abs().sum().template item<float>() == 0);
    });
}

TEST_CASE("every parameter has a legal grid, and the tensor rule is the scalar rule bit for bit") {
    std::vector<float> nasty{not_a_number,   inf,    -inf,   0.0f,   -0.0f, -1.0f, 1e-30f, 1e-45f, -1e-9f,
                             1.1920929e-07f, 1e38f,  -1e38f, 1.0f,   0.5f,  -0.5f, 1.5f,   -1.5f,  2.5f,
                             3.0f,           -15.0f, -16.f,  -17.0f, 126.f, 127.f, 128.f,  127.5f, -22.5f,
                             0.3f,           7.77f,  0.0123f};
    OfTensors::each([&](auto q) {
        using Q = typename decltype(q)::is;
        constexpr auto levels = levels_of<typename Q::format>;
        bool const has_offset = Q::estimator::learns == Learns::step_and_offset;
        for (float const o : has_offset ? std::vector<float>{0, 0.3f, -0.6f, 0.05f, -200.f, 1e30f, -1e30f,
                                                             not_a_number, inf, -inf}
                                        : std::vector<float>{0}) {
            CAPTURE(o);
            auto const p = torch::tensor(nasty);
            LearnedTensors const learned{p, has_offset ? torch::full_like(p, o) : torch::Tensor()};
            auto const g = grid_of_parameter<Q>(learned);
            auto const device =
                qat::detail::learned_grid_on_device(qat::parameter_rule<Q>(), learned, levels);
            CHECK(same_bits(g.scale, device.scale));
            CHECK(torch::equal(g.zero_point, device.zero_point));
            CHECK(g.scale.min().template item<float>() >= smallest_scale);
            CHECK(g.scale.isfinite().all().template item<bool>());
            CHECK((g.scale * (Q::format::hi + 1)).isfinite().all().template item<bool>());
            CHECK(g.zero_point.min().template item<int>() >= Q::format::lo);
            CHECK(g.zero_point.max().template item<int>() <= Q::format::hi);
            if (Q::scale::power_of_two) CHECK(g.scale.log2().frac().abs().max().template item<float>() == 0);
        }
    });
}

TEST_CASE("a threshold's grid is the one that an observer would choose for a range that ends there") {
    Specs<Threshold, Threshold::vary<PowerOfTwo<Nearest>>, Threshold::vary<PowerOfTwo<Floor>>>::each(
        [](auto q) {
        using Q = typename decltype(q)::is;
        for (float t : {-20.3f, -3.0f, -0.6f, -0.4f, 0.0f, 0.4f, 0.6f, 1.0f, 5.49f, 5.51f, 12.0f}) {
            CAPTURE(t);
            auto const g = grid_of_parameter<Q>({torch::tensor(t), {}});
            CHECK(g.scale.template item<float>() == choose_grid<Q>(0, std::exp2(t)).scale);
        }
    });
}

TEST_CASE("a parameter made from a grid means that grid") {
    torch::manual_seed(11);
    OfTensors::each([&](auto q) {
        using Q = typename decltype(q)::is;
        auto const max = torch::rand({1000}) * 9 + 1e-3, min = -torch::rand({1000}) * 7;
        auto const grid = choose_grid<Q>(min, max);
        auto const again = grid_of_parameter<Q>(initial_parameter<Q>(grid));
        if (Q::estimator::learns == Learns::clip)
            CHECK(support::relative_error(again.scale, grid.scale) < 2e-7);
        else
            CHECK(same_bits(again.scale, grid.scale));
        CHECK(torch::equal(again.zero_point, grid.zero_point));
    });
    auto const x = sample();
    auto const step = initial_parameter<Step>(x).parameter.item<float>();
    CHECK(step == doctest::Approx(2 * x.abs().mean().item<float>() / std::sqrt(127.0)));
    auto const channels = initial_parameter<Step::vary<PerChannelSymmetric<1>>>(x).parameter;
    CHECK(channels.sizes() == torch::IntArrayRef({6}));
    CHECK(channels[2].item<float>() ==
          doctest::Approx(2 * x.select(1, 2).abs().mean().item<float>() / std::sqrt(127.0)));
    CHECK(initial_parameter<Clip>(x).parameter.item<float>() == doctest::Approx(50));
    CHECK(initial_parameter<Threshold>(x).parameter.item<float>() == 5.5);  // in the middle of (5, 6]
    OnePerEstimator::each([&](auto q) {
        using Q = typename decltype(q)::is;
        auto const p =
            initial_parameter<Q>(torch::empty({4, 0, 5, 7}).transpose(1, Q::scheme::axis == 1 ? 2 : 1));
        CHECK(grid_of_parameter<Q>(p).scale.min().template item<float>() >= smallest_scale);
    });
}

TEST_CASE("with fewer bits the range stays") {
    LearnedTensors step{torch::tensor(0.1f), {}}, both{torch::tensor(0.1f), torch::tensor(-3.0f)};
    change_levels<Step>(step, {-128, 127}, {-8, 7});
    CHECK(step.parameter.item<float>() == doctest::Approx(0.1 * 255 / 15));
    using Signed = StepOffset::vary<Int<8>>;
    change_levels<Signed>(both, {-128, 127}, {-8, 7});
    CHECK(both.parameter.item<float>() == doctest::Approx(0.1 * 255 / 15));
    CHECK(both.offset.item<float>() + -8 * both.parameter.item<float>() == doctest::Approx(-3 - 12.8));
    LearnedTensors threshold{torch::tensor(1.5f), {}};
    change_levels<Threshold>(threshold, {-128, 127}, {-8, 7});
    CHECK(grid_of_parameter<Threshold>(threshold, {-8, 7}).scale.item<float>() == 4.0f / 8);
}

TEST_CASE("gradients do not depend on the number of threads") {
    torch::manual_seed(12);
    auto const x = torch::randn({8, 16, 40, 41}), dy = torch::randn_like(x);
    int const before = torch::get_num_threads();
    Specs<Step, StepOffset, Threshold::vary<PerChannelSymmetric<1>>, Clip>::each([&](auto q) {
        using Q = typename decltype(q)::is;
        constexpr auto levels = levels_of<typename Q::format>;
        constexpr auto rule = qat::detail::learned_rule<Q>();
        auto const p = parameter_for<Q>(x);
        auto const g = grid_of_parameter<Q>(p);
        auto const sums = [&](int threads) {  // in double, before anything is rounded away
            torch::set_num_threads(threads);
            return qat::detail::learned_backward_cpu(rule, x, dy, g, p.parameter.detach(), levels, true);
        };
        auto const one = sums(1), three = sums(3);
        CHECK(same_bits(one.input, three.input));
        CHECK(torch::equal(one.parameter, three.parameter));
        CHECK(torch::equal(one.offset, three.offset));
    });
    torch::set_num_threads(before);
}

TEST_CASE("every instruction set of this processor gives the same bits") {
    using qat::detail::InstructionSet;
    auto x = torch::cat({sample().view({-1}), torch::tensor({not_a_number, inf, -inf})});
    torch::manual_seed(15);
    auto const dy = torch::randn_like(x);
    OfTensors::each([&](auto q) {
        using Q = typename decltype(q)::is;
        constexpr auto levels = levels_of<typename Q::format>;
        constexpr auto rule = qat::detail::learned_rule<Q>();
        auto const p = parameter_for<Q>(sample());
        auto const g = grid_of_parameter<Q>(p);
        auto const run_on = [&](InstructionSet set) {
            auto const r =
                qat::detail::learned_backward_cpu(rule, x, dy, g, p.parameter.detach(), levels, true, set);
            return std::pair(qat::detail::learned_forward_cpu(rule, x, g, levels, set), r);
        };
        auto const plain = run_on(InstructionSet::baseline);
        for (auto set : {InstructionSet::avx2, InstructionSet::avx512}) {
            if (!qat::detail::available(set)) continue;
            auto const wide = run_on(set);
            CHECK(same_bits(wide.first, plain.first));
            CHECK(same_bits(wide.second.input, plain.second.input));
            CHECK(torch::equal(wide.second.parameter, plain.second.parameter));
            CHECK(torch::equal(wide.second.offset, plain.second.offset));
        }
    });
}

TEST_CASE("a parameter at its limit gets no gradient outwards, but one that brings it back") {
    auto const x = torch::full({10}, 5.0f), more = torch::ones({10});
    for (float step : {-1.0f, 0.0f, 1e-9f}) {
        CHECK(run<Step>(x, {torch::tensor(step), {}}, more).parameter.item<float>() ==
              0);  // the loss wants y lower
        CHECK(run<Step>(x, {torch::tensor(step), {}}, -more).parameter.item<float>() < 0);
    }
    CHECK(run<Clip>(x, {torch::tensor(-1.0f), {}}, more).parameter.item<float>() == 0);
    CHECK(run<Clip>(x, {torch::tensor(-1.0f), {}}, -more).parameter.item<float>() == -10);
    CHECK(run<Threshold>(x, {torch::tensor(-40.0f), {}}, more).parameter.item<float>() == 0);
    CHECK(run<Threshold>(x, {torch::tensor(-40.0f), {}}, -more).parameter.item<float>() < 0);
    auto const offset = [&](float o, torch::Tensor const& dy) {
        return run<StepOffset>(x, {torch::tensor(0.01f), torch::tensor(o)}, dy).offset.item<float>();
    };
    CHECK(offset(0.2f, more) >
          0);  // zero must stay on the grid: the offset is above its limit, and may come back
    CHECK(offset(0.2f, -more) == 0);
    CHECK(offset(-1.0f, -more) < 0);
    CHECK(offset(-3.0f, -more) < 0);  // below its limit
    CHECK(offset(-3.0f, more) == 0);
}

TEST_CASE("only what is asked for gets a gradient, and wrong arguments are refused in one sentence") {
    auto const x = sample();
    auto const p = torch::tensor(0.05f).requires_grad_();
    learned_step<Step>(x, p).sum().backward();
    CHECK(p.grad().defined());
    auto const leaf = x.clone().requires_grad_();
    learned_step<Step>(leaf, p.detach()).sum().backward();  // the gradient of a sum has strides 0
    auto const ones = run<Step>(x, {p, {}}, torch::ones_like(x));
    CHECK(torch::equal(leaf.grad(), ones.x));
    CHECK(torch::equal(p.grad(), ones.parameter));
    auto const swapped = torch::randn({7, 5, 6, 4}).permute({3, 2, 1, 0});  // x's shape, other strides
    auto const one = run<Step>(x, {p, {}}, swapped), other = run<Step>(x, {p, {}}, swapped.contiguous());
    CHECK(torch::equal(one.x, other.x));
    CHECK(torch::equal(one.parameter, other.parameter));
    auto const last =
        run<Step>(x.contiguous(torch::MemoryFormat::ChannelsLast), {p, {}}, swapped.contiguous());
    CHECK(torch::equal(last.x, other.x));
    CHECK(support::relative_error(last.parameter, other.parameter) < 1e-6);
    CHECK_FALSE(learned_step<Step>(x, p.detach()).requires_grad());
    CHECK_THROWS_AS(learned_step<Step>(x.to(torch::kDouble), p), c10::Error);
    CHECK_THROWS_AS(learned_step<Step>(x, torch::ones({3})), c10::Error);
    CHECK_THROWS_AS(learned_step<Step::vary<PerChannelSymmetric<1>>>(x, torch::ones({4})), c10::Error);
    CHECK_THROWS_AS(learned_step_and_offset<StepOffset>(x, p, torch::Tensor()), c10::Error);
}

// ---- training -----------------------------------------------------------------------------------------------------
namespace {
// Mean squared error of y against x, the parameter trained; few bits, and outliers that ruin the range max|x|.
template <class Q>
std::pair<double, double> learn_range(torch::Tensor const& x, double rate, double decay, int steps) {
    auto p = initial_parameter<Q>(choose_grid<Q>(x.min(), x.max()));  // what min-max gives
    std::vector<torch::Tensor> parameters{p.parameter.requires_grad_()};
    if (p.offset.defined()) parameters.push_back(p.offset.requires_grad_());
    torch::optim::Adam adam(parameters, torch::optim::AdamOptions(rate));
    auto const loss = [&] { return torch::mse_loss(learned_quantize<Q>(x, p), x); };
    double const before = loss().template item<double>();
    for (int i = 0; i < steps; ++i) {
        adam.zero_grad();
        (loss() + decay * p.parameter.square().sum()).backward();
        adam.step();
    }
    return {before, loss().template item<double>()};
}
}  // namespace

TEST_CASE("learned ranges beat the extremes where there are outliers") {
    torch::manual_seed(13);
    auto x = torch::randn({20000});
    x[0] = 20.0, x[1] = -20.0;
    auto const half = torch::relu(x);
    auto const better = [](std::pair<double, double> loss, double factor) {
        CAPTURE(loss.first);
        CAPTURE(loss.second);
        CHECK(loss.second < loss.first * factor);
    };
    better(learn_range<Step::vary<Int<4>>>(x, 0.02, 0, 300), 0.25);
    better(learn_range<StepOffset::vary<UInt<4>>>(x + 0.5, 0.02, 0, 300), 0.25);
    better(learn_range<Threshold::vary<Int<4>>>(x, 0.02, 0, 300), 0.25);
    better(learn_range<Clip::vary<UInt<4>>>(half, 0.1, 1e-3, 400),
           0.5);  // the decay makes it shrink, as in the paper
}

TEST_CASE("a threshold that oscillates is frozen where it was most of the time, one that travels is not") {
    auto t = torch::tensor({2.01f, 0.5f, 3.9f, -1.2f});
    ThresholdFreeze freeze(t, Ceil, {-128, 127});
    for (int step = 1; step <= 40; ++step) {
        t[0] = step % 4 == 0 ? 1.99f : 2.01f;      // exponent 3 three times of four, 2 once
        t[1] = 0.5f + 0.2f * float(step);          // travels upwards
        t[2] = 3.5f + 0.4f * (step % 2 ? 1 : -1);  // never leaves (3, 4]
        t[3] = step < 20 ? -1.2f : -0.8f;          // crosses once
        freeze.follow(t);
    }
    CHECK(freeze.frozen[0].item<bool>());
    CHECK(t[0].item<float>() == 2.5f);  // exponent 3
    CHECK_FALSE(freeze.frozen.slice(0, 1).any().item<bool>());
    CHECK(t[1].item<float>() == doctest::Approx(8.5));
    t.set_requires_grad(true);
    t.mutable_grad() = torch::ones({4});
    freeze.mask(t);
    CHECK(torch::equal(t.grad(), torch::tensor({0.f, 1.f, 1.f, 1.f})));
    {
        torch::NoGradGuard no_grad;
        t[0] = -7;  // whatever the optimizer's momentum does
    }
    freeze.follow(t);
    CHECK(t[0].item<float>() == 2.5f);
}

TEST_CASE("training a threshold with a coarse rate ends frozen at a good exponent") {
    using Q = Threshold::vary<Int<4>>;
    torch::manual_seed(14);
    auto const x = torch::randn({4000}) * 0.9;
    auto t = torch::tensor(1.4f).requires_grad_();
    ThresholdFreeze freeze(t, Q::scale::way, levels_of<Q::format>);
    torch::optim::SGD sgd({t}, torch::optim::SGDOptions(20.0).momentum(0.5));
    auto const loss = [&] { return torch::mse_loss(trained_threshold<Q>(x, t), x); };
    int frozen_at = -1;
    for (int step = 0; step < 300; ++step) {
        sgd.zero_grad();
        loss().backward();
        freeze.mask(t);
        sgd.step();
        freeze.follow(t);
        if (frozen_at < 0 && freeze.frozen.item<bool>()) frozen_at = step;
    }
    CHECK(frozen_at > 0);
    double const trained = loss().item<double>();
    double best = 1e9;
    for (float k : {-0.5f, 0.5f, 1.5f, 2.5f, 3.5f})
        best = std::min(best, torch::mse_loss(trained_threshold<Q>(x, torch::tensor(k)), x).item<double>());
    CHECK(trained < 1.5 * best);
}
