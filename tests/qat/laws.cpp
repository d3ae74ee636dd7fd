// Laws of quantization, for every legal combination of format, scheme, scale, rounding and estimator.
//
// What a combination computes depends on its format and its way of choosing a scale only through values (levels, scales),
// so the operators are instantiated once for what they do depend on (Kernel below) and get those as values; the scalar
// rules are those of the combination itself. tests/qat/ops.cpp and learned.cpp instantiate the operators for whole
// specifications.

#include "support/doctest.hpp"

#include <qat/core/catalogue.hpp>
#include <qat/ops/choose_grid.hpp>
#include <qat/ops/fake_quantize.hpp>
#include <qat/ops/learned.hpp>

#include <boost/hana/size.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <random>

namespace {
using namespace qat;

// ---- the combinations ---------------------------------------------------------------------------------------------
constexpr auto formats =
    hana::tuple_t<Int<8>, Int<4>, Int<16>, UInt<8>, UInt<4>, Int<8, Range::narrow>, Int<2>>;
constexpr auto schemes = hana::tuple_t<PerTensorAffine, PerTensorSymmetric, PerChannelAffine<0>,
                                       PerChannelSymmetric<0>, PerGroup<3>>;
constexpr auto scales = hana::tuple_t<AnyScale, PowerOfTwo<Ceil>, PowerOfTwo<Nearest>, PowerOfTwo<Floor>>;
constexpr auto estimators =
    hana::tuple_t<StraightThrough, PassThrough, LearnedStep, LearnedStepAndOffset, TrainedThreshold, PACT>;

constexpr auto legal = legal_quantizers(formats, schemes, scales, estimators);
constexpr auto legal_count = decltype(hana::size(legal))::value;
// By hand. A symmetric scheme (3) takes every format (7): 21 places. There, any scale takes StraightThrough, PassThrough
// and LearnedStep, each power of two (3) takes StraightThrough, PassThrough and TrainedThreshold: 3 + 9. PACT wants an
// unsigned format (2) on any scale: 2 * 3 more. An affine scheme (2) takes every format but the narrow one (6): 12 places,
// of any scale only, with StraightThrough, PassThrough and LearnedStepAndOffset: 3.
static_assert(legal_count == 21 * (3 + 9) + 2 * 3 + 12 * 3 && legal_count == 294);

// Each of four roundings goes with each of them: 1176 combinations. The product with roundings would take Hana five
// minutes; that they are all legal is shown where all scales and most estimators are.
static_assert(
    decltype(hana::size(legal_quantizers(hana::tuple_t<Int<8>>, hana::tuple_t<PerTensorSymmetric>, scales,
                                         hana::tuple_t<HalfEven, HalfAwayFromZero, HalfUp, RoundDown>,
                                         estimators)))::value == 4 * (3 + 9));
template <class... R> struct Fragments {};
using Roundings = Fragments<HalfEven, HalfAwayFromZero, HalfUp, RoundDown>;
constexpr int rounded = 4;

// What the operators depend on. Levels are given to them.
template <class Q, class Rounding, bool OfChannels>
using Kernel =
    Quantizer<std::conditional_t<Q::estimator::learns == Learns::clip, UInt<16>, Int<16>>,
              std::conditional_t<Q::estimator::learns == Learns::step_and_offset,
                                 std::conditional_t<OfChannels, PerChannelAffine<0>, PerTensorAffine>,
                                 std::conditional_t<OfChannels, PerChannelSymmetric<0>, PerTensorSymmetric>>,
              std::conditional_t<Q::estimator::learns == Learns::log2_threshold, typename Q::scale, AnyScale>,
              Rounding, typename Q::estimator>;
// What the choice of a grid depends on.
template <class Q>
using Choice = Quantizer<typename Q::format,
                         std::conditional_t<Q::scheme::symmetric, PerTensorSymmetric, PerTensorAffine>,
                         typename Q::scale>;

template <class K>
torch::Tensor apply_kernel(torch::Tensor const& x, GridTensors const& g, LearnedTensors const& p,
                           Levels levels, std::int64_t shares) {
    if constexpr (LearningSpec<K>)
        return learned_quantize<K>(x, p, levels, shares);
    else
        return fake_quantize<K>(x, g.scale, g.zero_point, levels);
}
template <class Q> GridTensors choose(torch::Tensor const& min, torch::Tensor const& max, Levels levels) {
    return choose_grid<Q>(min, max, levels);
}
template <class K> LearnedTensors parameter_of(GridTensors const& g, Levels levels) {
    if constexpr (LearningSpec<K>)
        return initial_parameter<K>(g, levels);
    else
        return {};
}
template <class K> GridTensors grid_of(LearnedTensors const& p, Levels levels) {
    if constexpr (LearningSpec<K>)
        return grid_of_parameter<K>(p, levels);
    else
        return {};
}

// A legal combination as values and functions, so that each law is compiled once; constant, since code that fills in a
// thousand of them would take a minute to compile.
struct Traits {
    std::string_view format, scheme, scale, estimator, rounding;
    int bits;
    Levels levels;
    bool is_signed, symmetric, per_channel, power_of_two, passes_outside;
    int group_size;  // 0: not grouped
    Toward way;
    Learns learns;
    // scalar rules
    ScaleZero (*choose_one)(float, float, Levels);
    Code (*code)(float, float, Bounds);
    // operators
    qat::GridRule grid_rule;
    GridTensors (*choose)(torch::Tensor const&, torch::Tensor const&, Levels);
    decltype(&apply_kernel<Quantizer<>>) apply, apply_to_tensor;
    decltype(&parameter_of<Quantizer<>>) parameter_of;
    decltype(&grid_of<Quantizer<>>) grid_of;

    float lo() const { return static_cast<float>(levels.lo); }
    float hi() const { return static_cast<float>(levels.hi); }
};
struct Subject : Traits {
    std::string name;
};

template <class Q, class R> constexpr Traits traits() {
    using F = typename Q::format;
    using S = typename Q::scheme;
    using OfTensor = Kernel<Q, R, false>;
    Traits t{};
    t.format = F::name, t.scheme = S::name, t.scale = Q::scale::name, t.estimator = Q::estimator::name;
    t.rounding = R::name;
    t.bits = F::bits, t.levels = levels_of<F>;
    t.is_signed = F::is_signed, t.symmetric = S::symmetric, t.per_channel = S::per_channel;
    t.power_of_two = Q::scale::power_of_two, t.passes_outside = Q::estimator::passes_outside;
    if constexpr (S::grouped) t.group_size = S::group_size;
    if constexpr (Q::scale::power_of_two) t.way = Q::scale::way;
    t.learns = Q::estimator::learns;
    t.choose_one = &choose_grid<Choice<Q>>, t.choose = &::choose<Choice<Q>>;
    t.grid_rule = qat::grid_rule<Choice<Q>>();
    t.code = &quantize<R>;
    t.apply = &apply_kernel<Kernel<Q, R, S::per_channel>>, t.apply_to_tensor = &apply_kernel<OfTensor>;
    t.parameter_of = &::parameter_of<OfTensor>, t.grid_of = &::grid_of<OfTensor>;
    return t;
}
template <class Q, class... R> constexpr std::array<Traits, sizeof...(R)> with_roundings(Fragments<R...>) {
    return {traits<Q, R>()...};
}
constexpr auto combinations = hana::unpack(
    legal, [](auto... q) { return std::array{with_roundings<typename decltype(q)::type>(Roundings{})...}; });

std::vector<Subject> const& subjects() {
    static auto const all = [] {
        std::vector<Subject> list;
        for (auto const& roundings : combinations)
            for (auto const& t : roundings) {
                auto name = std::string(t.format) + std::to_string(t.bits);
                for (auto part : {t.scheme, t.scale, t.estimator, t.rounding})
                    name += ", " + std::string(part);
                list.push_back({t, std::move(name)});
            }
        return list;
    }();
    return all;
}
template <class F> void for_each_subject(F&& f) {
    for (auto const& s : subjects()) {
        CAPTURE(s.name);
        f(s);
    }
}

// ---- samples ------------------------------------------------------------------------------------------------------
constexpr std::int64_t channels = 7, length = 45;  // groups of 3, 3 and 1

// Of every channel. The last two have nothing to show: a trained parameter there would be at its limit.
RangeTensors ranges(bool degenerate) {
    auto const min = torch::tensor({-1.3f, -0.02f, -4.0f, -0.7f, -11.0f, -0.4f, -2.5f});
    auto const max = torch::tensor({2.1f, 0.03f, 4.0f, 8.0f, 1.0f, 0.6f, 3.1f});
    if (degenerate) min[5] = 0, max[5] = 0, max[6] = -1;
    return {min, max};
}

struct Sample {
    std::vector<std::int64_t> group_of;  // of every channel
    GridTensors grid;                    // [] or [7]
    LearnedTensors parameter;            // of every scale: [], [7] or [3]
    torch::Tensor x, dy;                 // [7, 3, 5, 3]
    std::int64_t shares = 0;

    float scale(std::int64_t c) const {
        return grid.scale.reshape({-1})[grid.scale.dim() ? c : 0].item<float>();
    }
    int zero(std::int64_t c) const {
        return grid.zero_point.reshape({-1})[grid.scale.dim() ? c : 0].item<int>();
    }
};

torch::Tensor expanded(torch::Tensor const& of_scales, Sample const& s) {
    if (!of_scales.defined() || of_scales.dim() == 0) return of_scales;
    return of_scales.index_select(0, torch::tensor(s.group_of));
}
GridTensors expanded(GridTensors const& g, Sample const& s) {
    return {expanded(g.scale, s), expanded(g.zero_point, s)};
}
LearnedTensors expanded(LearnedTensors const& p, Sample const& s) {
    return {expanded(p.parameter, s), expanded(p.offset, s)};
}

// The ranges that the scales of a subject cover.                                                   [], [7] or [3]
RangeTensors covered(Subject const& s, std::size_t index = 0) {
    auto const r = ranges(s.learns == Learns::nothing);
    auto const c = static_cast<std::int64_t>(index) % channels;
    if (!s.per_channel) return {r.min[c].clone(), r.max[c].clone()};
    if (s.group_size == 0) return r;
    std::vector<torch::Tensor> min, max;
    for (std::int64_t g = 0; g < channels; g += s.group_size) {
        auto const n = std::min<std::int64_t>(s.group_size, channels - g);
        min.push_back(r.min.narrow(0, g, n).min()), max.push_back(r.max.narrow(0, g, n).max());
    }
    return {torch::stack(min), torch::stack(max)};
}

// Ties, ends, their neighbours, zeros of both signs, far outside, and numbers in between, on the grid of each channel.
Sample sample(Subject const& s, std::size_t index = 0) {
    Sample to;
    for (std::int64_t c = 0; c < channels; ++c) to.group_of.push_back(s.group_size ? c / s.group_size : c);
    auto const r = covered(s, index);
    auto const grid = s.choose(r.min, r.max, s.levels);
    to.grid = expanded(grid, to);
    if (s.learns != Learns::nothing) {
        auto p = s.parameter_of(grid, s.levels);
        if (s.learns == Learns::log2_threshold)
            p.parameter.add_(0.3);  // off the middle, the same exponent
        else
            p.parameter.mul_(0.93);
        if (p.offset.defined()) p.offset.add_(p.parameter, 0.3);
        to.parameter = p;
        to.grid = expanded(s.grid_of(p, s.levels), to);
    }
    std::mt19937 bits(7);
    to.x = torch::empty({channels, 3, 5, 3}), to.dy = torch::empty_like(to.x);
    to.shares = to.x.numel() / std::max<std::int64_t>(grid.scale.numel(), 1);
    auto *x = to.x.data_ptr<float>(), *dy = to.dy.data_ptr<float>();
    for (std::int64_t c = 0; c < channels; ++c) {
        float const scale = to.scale(c);
        auto const b = bounds(s.levels.lo, s.levels.hi, to.zero(c));
        std::vector<float> t{0.0f,           -0.0f,         0.5f,         -0.5f,
                             1.5f,           -1.5f,         2.5f,         std::nextafter(0.5f, 0.0f),
                             1.0f,           -1.0f,         b.low,        b.high,
                             b.low - 0.5f,   b.high + 0.5f, b.low - 1.5f, b.high + 1.5f,
                             b.high + 0.25f, b.low - 0.25f, 3e5f,         -3e5f,
                             1e-6f};
        while (t.size() < length)
            t.push_back(b.low - 2 + (b.high - b.low + 4) * static_cast<float>(bits() >> 8) * 0x1p-24f);
        for (std::int64_t i = 0; i < length; ++i)
            *x++ = scale * t[static_cast<std::size_t>(i)],
            *dy++ = static_cast<float>((i + c) % 7 + 1) / 2 - 2.25f;
    }
    return to;
}

// f(element, channel) in the order of a contiguous x.
template <class F> void for_each_element(F&& f) {
    for (std::int64_t i = 0; i < channels * length; ++i) f(i, i / length);
}

torch::Tensor apply(Subject const& s, Sample const& at, torch::Tensor const& x) {
    return s.apply(x, at.grid, expanded(at.parameter, at), s.levels, at.shares);
}

struct Gradients {
    torch::Tensor y, x, parameter, offset;
};
Gradients differentiate(Subject const& s, Sample const& at, torch::Tensor const& x, torch::Tensor const& dy) {
    auto const leaf = x.detach().requires_grad_();
    LearnedTensors p;
    if (at.parameter.parameter.defined()) p.parameter = at.parameter.parameter.clone().requires_grad_();
    if (at.parameter.offset.defined()) p.offset = at.parameter.offset.clone().requires_grad_();
    auto const y = s.apply(leaf, at.grid, expanded(p, at), s.levels, at.shares);
    y.backward(dy);
    return {y.detach(), leaf.grad(), p.parameter.defined() ? p.parameter.grad() : torch::Tensor(),
            p.offset.defined() ? p.offset.grad() : torch::Tensor()};
}

bool same_bits(torch::Tensor const& a, torch::Tensor const& b) {
    return a.sizes() == b.sizes() &&
           torch::equal(a.contiguous().view(torch::kInt), b.contiguous().view(torch::kInt));
}

// By libm, in double.
double round_slowly(std::string_view how, double t) {
    if (how == HalfUp::name) return std::floor(t + 0.5);
    if (how == HalfAwayFromZero::name) return std::round(t);
    if (how == RoundDown::name) return std::floor(t);
    return std::nearbyint(t);
}
bool rounds_to_nearest(Subject const& s) { return s.rounding != RoundDown::name; }
bool ties_go_one_way(Subject const& s) { return s.rounding == HalfUp::name || s.rounding == RoundDown::name; }

template <class T> T value(torch::Tensor const& t, std::int64_t i) { return t.data_ptr<T>()[i]; }
}  // namespace

TEST_CASE("every legal combination is here, as many of each estimator as counted by hand") {
    CHECK(subjects().size() == std::size_t{rounded} * legal_count);
    std::map<Learns, int> by_learning;
    for (auto const& s : subjects()) ++by_learning[s.learns];
    CHECK(by_learning[Learns::nothing] == rounded * 2 * (21 * 4 + 12));
    CHECK(by_learning[Learns::step] == rounded * 21);
    CHECK(by_learning[Learns::step_and_offset] == rounded * 12);
    CHECK(by_learning[Learns::log2_threshold] == rounded * 21 * 3);
    CHECK(by_learning[Learns::clip] == rounded * 6);
}

TEST_CASE("a chosen grid contains zero, covers what it promises, and equals the scalar rule bit for bit") {
    for_each_subject([](Subject const& s) {
        auto const all = ranges(true);
        auto const chosen = s.choose(all.min, all.max, s.levels);
        auto const elsewhere = qat::detail::choose_grid_on_device(s.grid_rule, all.min, all.max, s.levels);
        CHECK(same_bits(elsewhere.scale, chosen.scale));  // torch's operators, which other devices use
        CHECK(torch::equal(elsewhere.zero_point, chosen.zero_point));
        for (std::int64_t c = 0; c < channels; ++c) {
            CAPTURE(c);
            float const min = value<float>(all.min, c), max = value<float>(all.max, c);
            auto const one = s.choose_one(min, max, s.levels);
            CHECK(one.scale == value<float>(chosen.scale, c));
            CHECK(one.zero_point == value<int>(chosen.zero_point, c));
            CHECK((one.zero_point >= s.levels.lo && one.zero_point <= s.levels.hi));
            if (s.symmetric) CHECK(one.zero_point == 0);
            CHECK(one.scale >= smallest_scale);
            int power = 0;
            if (s.power_of_two) CHECK(std::frexp(one.scale, &power) == 0.5f);  // 2^k, exactly
            float const reach = std::max({s.is_signed || !s.symmetric ? -min : 0.0f, max, 0.0f});
            if (reach < 1e-3f) continue;  // nothing to cover
            if (s.power_of_two) {
                double const ends =
                    static_cast<double>(one.scale) * (s.hi() + 1) / static_cast<double>(reach);
                double const least = s.way == Ceil      ? 1
                                     : s.way == Nearest ? std::sqrt(0.5)
                                                        : 0.5;  // of a power of two
                bool const within = s.way == Floor ? ends > least && ends <= 1
                                                   : ends >= least * (1 - 1e-7) && ends < 2 * least;
                CHECK_MESSAGE(within, ends);
            } else {
                // Every number of the range lies within half a step of the grid; a signed symmetric one, whose positive
                // side has one step less, within one.
                double const s_ = one.scale, slack = s.symmetric && s.is_signed ? 1.0 : 0.5;
                double const top = s_ * (s.hi() - static_cast<float>(one.zero_point)),
                             bottom = s_ * (s.lo() - static_cast<float>(one.zero_point));
                CHECK(max <= top + slack * s_ * 1.001);
                if (s.is_signed || !s.symmetric) CHECK(min >= bottom - slack * s_ * 1.001);
            }
        }
    });
}

TEST_CASE("a parameter that was taken from a grid means that grid") {
    for_each_subject([](Subject const& s) {
        if (s.learns == Learns::nothing) return;
        auto const r = covered(s);
        auto const g = s.choose(r.min, r.max, s.levels);
        auto const again = s.grid_of(s.parameter_of(g, s.levels), s.levels);
        if (s.learns == Learns::clip)
            CHECK(torch::allclose(again.scale, g.scale, 3e-7, 0));
        else
            CHECK(same_bits(again.scale, g.scale));
        CHECK(torch::equal(again.zero_point, g.zero_point));
        if (s.power_of_two) {  // and a threshold nearby means a power of two as well
            auto const at = sample(s).grid.scale;
            CHECK(torch::equal(torch::log2(at).round(), torch::log2(at)));
        }
    });
}

TEST_CASE("a fake-quantized value is the dequantized integer of the scalar rules, bit for bit, and lies on "
          "the grid") {
    std::size_t index = 0;
    for_each_subject([&](Subject const& s) {
        auto const at = sample(s, index++);
        auto const y = apply(s, at, at.x);
        auto const wanted = torch::empty_like(at.x);
        bool integers = true;
        for_each_element([&](auto i, auto c) {
            float const scale = at.scale(c);
            auto const b = bounds(s.levels.lo, s.levels.hi, at.zero(c));
            float const code = s.code(value<float>(at.x, i), 1.0f / scale, b).value;
            wanted.data_ptr<float>()[i] = dequantize(code, scale);
            double const q = std::nearbyint(static_cast<double>(value<float>(y, i)) / scale) + at.zero(c);
            integers &= q >= static_cast<double>(s.levels.lo) && q <= static_cast<double>(s.levels.hi) &&
                        scale * static_cast<float>(q - at.zero(c)) == value<float>(y, i);
        });
        CHECK(same_bits(y, wanted));
        CHECK(integers);
        CHECK(same_bits(differentiate(s, at, at.x, at.dy).y,
                        wanted));  // the path that keeps something for the gradient
    });
}

TEST_CASE("a code is the nearest integer by libm, ties as the rounding says") {
    for_each_subject([](Subject const& s) {
        auto const at = sample(s);
        for_each_element([&](auto i, auto c) {
            float const t = value<float>(at.x, i) * (1.0f / at.scale(c));
            auto const b = bounds(s.levels.lo, s.levels.hi, at.zero(c));
            double const r = round_slowly(s.rounding, std::clamp<double>(t, b.low - 1, b.high + 1));
            auto const code = s.code(value<float>(at.x, i), 1.0f / at.scale(c), b);
            if (code.value != std::clamp<double>(r, b.low, b.high) ||
                code.inside != (r >= b.low && r <= b.high))
                FAIL_CHECK("t = " << t << " became " << code.value
                                  << (code.inside ? ", inside" : ", outside"));
        });
    });
}

TEST_CASE("quantizing again changes nothing") {
    std::size_t index = 0;
    for_each_subject([&](Subject const& s) {
        auto const at = sample(s, index++);
        auto const y = apply(s, at, at.x), again = apply(s, at, y);
        if (rounds_to_nearest(s) || s.power_of_two) {
            CHECK(same_bits(again, y));
        } else {  // (c s) (1 / s) may lie below c, and rounding down then takes a step: never more than one
            auto const step = at.grid.scale.dim() ? at.grid.scale.view({-1, 1, 1, 1}) : at.grid.scale;
            CHECK(((y - again) / step).round().max().item<float>() <= 1);
            CHECK((y - again).min().item<float>() >= 0);
        }
    });
}

TEST_CASE("order is kept") {
    for_each_subject([](Subject const& s) {
        auto const at = sample(s);
        auto const sorted = std::get<0>(at.x.view({channels, length}).sort(1)).view_as(at.x);
        auto const y = apply(s, at, sorted).view({channels, length});
        CHECK((y.narrow(1, 1, length - 1) - y.narrow(1, 0, length - 1)).min().item<float>() >= 0);
    });
}

TEST_CASE("the gradient is the estimator's formula") {
    std::size_t index = 0;
    for_each_subject([&](Subject const& s) {
        auto const at = sample(s, index++);
        auto const got = differentiate(s, at, at.x, at.dy);
        auto const dx = torch::zeros_like(at.x);
        auto const scales_count = s.learns == Learns::nothing ? 1 : at.parameter.parameter.numel();
        std::vector<double> parameter(static_cast<std::size_t>(scales_count)), offset(parameter),
            size(parameter);
        for_each_element([&](auto i, auto c) {
            double const scale = at.scale(c), x = value<float>(at.x, i), up = value<float>(at.dy, i);
            double const t = static_cast<double>(value<float>(at.x, i) * (1.0f / at.scale(c)));
            double const z = at.zero(c), lo = s.lo() - z, hi = s.hi() - z, r = round_slowly(s.rounding, t);
            bool passes = false;
            double slope = 0, shift = 0;
            switch (s.learns) {
            case Learns::nothing:  // 1 inside, and outside where the estimator says so
                passes = s.passes_outside || (r >= lo && r <= hi);
                break;
            case Learns::step:  // Esser et al. 2020, equations 3 and 5; with an offset Bhalgat et al. 2020
            case Learns::step_and_offset: {
                passes = lo < t && t < hi;
                double const factor = 1 / std::sqrt(static_cast<double>(at.shares) * s.hi());
                slope = factor * (passes ? r - t : t <= lo ? s.lo() : s.hi());
                shift = factor * (passes ? 0 : 1);
                break;
            }
            case Learns::log2_threshold:  // Jain et al. 2020, equations 7 and 8
                passes = lo <= r && r <= hi;
                slope = scale * std::log(2.0) * (passes ? r - t : r < lo ? lo : hi);
                break;
            case Learns::clip: {  // Choi et al. 2018, equation 3
                double const alpha =
                    value<float>(expanded(at.parameter.parameter, at).contiguous(), s.per_channel ? c : 0);
                passes = x >= 0 && x < alpha;
                slope = x >= alpha ? 1 : 0;
                break;
            }
            }
            dx.data_ptr<float>()[i] = passes ? value<float>(at.dy, i) : 0.0f;
            if (s.learns == Learns::nothing) return;
            auto const k =
                static_cast<std::size_t>(!s.per_channel ? 0 : at.group_of[static_cast<std::size_t>(c)]);
            parameter[k] += up * slope, offset[k] += up * shift,
                size[k] += std::abs(up) * (std::abs(slope) + std::abs(shift));
        });
        CHECK(torch::equal(got.x, dx));
        if (s.learns == Learns::nothing) return;
        auto const close = [&](torch::Tensor const& gradient, std::vector<double> const& wanted) {
            REQUIRE(gradient.numel() == static_cast<std::int64_t>(wanted.size()));
            for (std::size_t k = 0; k < wanted.size(); ++k) {
                double const g = value<float>(gradient.contiguous(), static_cast<std::int64_t>(k));
                if (!(std::abs(g - wanted[k]) <= 1e-5 * size[k] + 1e-12))
                    FAIL_CHECK("scale " << k << ": " << g << ", by the formula " << wanted[k]);
            }
        };
        close(got.parameter, parameter);
        if (s.learns == Learns::step_and_offset) close(got.offset, offset);
    });
}

TEST_CASE("over whole steps the gradient is the finite difference") {
    // Rounding is the same in every step, so the difference over whole steps is the slope that straight through means:
    // 1 where both ends are inside, 0 where both are beyond the same end.
    std::size_t index = 0, inside = 0, outside = 0;
    for_each_subject([&](Subject const& s) {
        auto const at = sample(s, index++);
        auto const step = at.grid.scale.dim() ? at.grid.scale.view({-1, 1, 1, 1}) : at.grid.scale;
        auto const got = differentiate(s, at, at.x, torch::ones_like(at.x));
        auto const above = apply(s, at, at.x + step), below = apply(s, at, at.x - step);
        for_each_element([&](auto i, auto c) {
            float const scale = at.scale(c), t = value<float>(at.x, i) / scale;
            auto const b = bounds(s.levels.lo, s.levels.hi, at.zero(c));
            bool const well_inside = t > b.low + 2 && t < b.high - 2;
            bool const well_outside = t < b.low - 2 || t > b.high + 2;
            if (!well_inside && (!well_outside || s.passes_outside)) return;
            // Products with 1 / s are rounded, and next to a tie that may decide.
            if (well_inside &&
                std::abs(std::nearbyint(2 * t) / 2 - t) < 1e-3f * std::max(1.0f, std::abs(t) / 16))
                return;
            double const difference =
                (static_cast<double>(value<float>(above, i)) - static_cast<double>(value<float>(below, i))) /
                (2 * static_cast<double>(scale));
            if (std::abs(difference - static_cast<double>(value<float>(got.x, i))) > 1e-2)
                FAIL_CHECK("t = " << t << ": " << difference << ", the gradient is "
                                  << value<float>(got.x, i));
            ++(well_inside ? inside : outside);
        });
    });
    CHECK(inside > 50'000);
    CHECK(outside > 10'000);
}

TEST_CASE("per channel is per tensor, channel by channel, and per group is group by group") {
    for_each_subject([](Subject const& s) {
        if (!s.per_channel) return;
        auto const at = sample(s);
        auto const all = differentiate(s, at, at.x, at.dy);
        auto const together = s.group_size ? s.group_size : 1;
        for (std::int64_t from = 0; from < channels; from += together) {
            auto const n = std::min<std::int64_t>(together, channels - from), k = from / together;
            CAPTURE(from);
            auto const x = at.x.narrow(0, from, n).clone().requires_grad_();
            LearnedTensors p;
            if (at.parameter.parameter.defined())
                p.parameter = at.parameter.parameter[k].clone().requires_grad_();
            if (at.parameter.offset.defined()) p.offset = at.parameter.offset[k].clone().requires_grad_();
            GridTensors const grid{at.grid.scale[from], at.grid.zero_point[from]};
            auto const y = s.apply_to_tensor(x, grid, p, s.levels, at.shares);
            y.backward(at.dy.narrow(0, from, n));
            CHECK(same_bits(y.detach(), all.y.narrow(0, from, n)));
            CHECK(same_bits(x.grad(), all.x.narrow(0, from, n)));
            if (p.parameter.defined())
                CHECK(torch::allclose(p.parameter.grad(), all.parameter[k], 1e-4, 1e-5));
            if (p.offset.defined()) CHECK(torch::allclose(p.offset.grad(), all.offset[k], 1e-4, 1e-5));
        }
    });
}

TEST_CASE("NaN becomes the lowest value, infinities the ends; none has a gradient unless it passes outside") {
    constexpr float inf = std::numeric_limits<float>::infinity(),
                    nan = std::numeric_limits<float>::quiet_NaN();
    for_each_subject([&](Subject const& s) {
        auto const at = sample(s);
        auto x = at.x.clone();
        auto rows = x.view({channels, length});
        rows.select(1, 3).fill_(nan), rows.select(1, 4).fill_(inf), rows.select(1, 5).fill_(-inf);
        auto const got = differentiate(s, at, x, torch::ones_like(x));
        auto const y = got.y.view({channels, length}), dx = got.x.view({channels, length});
        for (std::int64_t c = 0; c < channels; ++c) {
            auto const b = bounds(s.levels.lo, s.levels.hi, at.zero(c));
            auto const* row = y[c].data_ptr<float>();
            bool const right = row[3] == at.scale(c) * b.low && row[4] == at.scale(c) * b.high &&
                               row[5] == at.scale(c) * b.low;
            CHECK(right);
            for (int i = 3; i < 6; ++i) CHECK(dx[c].data_ptr<float>()[i] == (s.passes_outside ? 1.0f : 0.0f));
        }
        CHECK(torch::isfinite(got.y).all().item<bool>());
        if (got.parameter.defined()) CHECK(torch::isfinite(got.parameter).all().item<bool>());
        if (got.offset.defined()) CHECK(torch::isfinite(got.offset).all().item<bool>());
    });
}

TEST_CASE("any strides, one element without an axis, and nothing at all are fine") {
    for_each_subject([](Subject const& s) {
        auto const at = sample(s);
        auto const wanted = differentiate(s, at, at.x, at.dy);
        for (auto const& view : {at.x.contiguous(torch::MemoryFormat::ChannelsLast),
                                 at.x.transpose(1, 3).contiguous().transpose(1, 3),
                                 at.x.transpose(0, 2).contiguous().transpose(0, 2),
                                 torch::stack({at.x, at.x}, -1).select(-1, 1)}) {
            auto const got = differentiate(s, at, view, at.dy.contiguous(torch::MemoryFormat::ChannelsLast));
            CHECK(same_bits(got.y, wanted.y));
            CHECK(same_bits(got.x, wanted.x));
            if (got.parameter.defined()) CHECK(torch::allclose(got.parameter, wanted.parameter, 1e-4, 1e-5));
        }
        auto const row = at.x.select(1, 0).select(1, 0).select(1, 0);  // [7], stride 45
        CHECK(same_bits(apply(s, at, row), wanted.y.select(1, 0).select(1, 0).select(1, 0)));
        auto const none = torch::empty({channels, 0, 3});
        auto const nothing = differentiate(s, at, none, none);
        CHECK(nothing.y.sizes() == none.sizes());
        CHECK(nothing.x.sizes() == none.sizes());
        if (nothing.parameter.defined()) CHECK(nothing.parameter.abs().max().item<float>() == 0);
        if (!s.per_channel) {
            auto const element = at.x[0][0][0][2];
            CHECK(apply(s, at, element).dim() == 0);
            CHECK(apply(s, at, element).item<float>() == wanted.y[0][0][0][2].item<float>());
            CHECK(apply(s, at, torch::empty({0})).numel() == 0);
        }
    });
}

TEST_CASE("a symmetric grid is odd inside its range, ties included") {
    int looked_at = 0;
    for_each_subject([&](Subject const& s) {
        if (!s.symmetric || !s.is_signed || ties_go_one_way(s)) return;
        auto const at = sample(s);
        auto const step = at.grid.scale.dim() ? at.grid.scale.view({-1, 1, 1, 1}) : at.grid.scale;
        auto const inside = torch::minimum(torch::maximum(at.x, -s.hi() * step), s.hi() * step);
        CHECK(torch::equal(apply(s, at, -inside), -apply(s, at, inside)));
        ++looked_at;
    });
    CHECK(looked_at ==
          2 * 3 * 5 * (3 + 9));  // two roundings without a direction, three schemes, five signed formats
}

TEST_CASE("half to even, straight through: torch's own operators give the same values and gradients") {
    int compared = 0;
    for_each_subject([&](Subject const& s) {
        if (s.rounding != HalfEven::name || s.learns != Learns::nothing || s.passes_outside) return;
        torch::manual_seed(compared);
        auto at = sample(s, static_cast<std::size_t>(compared++));
        auto const step = at.grid.scale.dim() ? at.grid.scale.view({-1, 1, 1, 1}) : at.grid.scale;
        auto const zero = (at.grid.scale.dim() ? at.grid.zero_point.view({-1, 1, 1, 1}) : at.grid.zero_point)
                              .to(torch::kFloat);
        auto const middle = (s.hi() + s.lo()) / 2 - zero;
        at.x = (torch::randn({channels, 3, 5, 3}) * ((s.hi() - s.lo()) / 3) + middle) * step;
        auto const ours = differentiate(s, at, at.x, at.dy);
        auto const leaf = at.x.clone().requires_grad_();
        auto const y = s.per_channel
                           ? torch::fake_quantize_per_channel_affine(leaf, at.grid.scale, at.grid.zero_point,
                                                                     0, s.levels.lo, s.levels.hi)
                           : torch::fake_quantize_per_tensor_affine(leaf, at.grid.scale, at.grid.zero_point,
                                                                    s.levels.lo, s.levels.hi);
        y.backward(at.dy);
        CHECK(torch::equal(ours.y, y.detach()));
        CHECK(torch::equal(ours.x, leaf.grad()));
    });
    CHECK(compared == 21 * 4 + 12);
}
