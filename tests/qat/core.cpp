// Types and scalars. No LibTorch.

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <qat/core.hpp>

#include <boost/hana/size.hpp>

#include <cfenv>
#include <cmath>
#include <limits>
#include <random>
#include <sstream>

using namespace qat;

// ---- policy sets --------------------------------------------------------------------------------------------------
using Stock = Quantizer<UInt<8>, PerTensorAffine>;
using Shifted = Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Ceil>>;
static_assert(std::is_same_v<Quantizer<>, Quantizer<Int<8>, HalfEven>>);  // defaults spelled out
static_assert(std::is_same_v<Quantizer<MinMax, UInt<4>>, Quantizer<UInt<4>, MinMax>>);  // any order
static_assert(std::is_same_v<Shifted::vary<UInt<8>>, Quantizer<UInt<8>, PerTensorSymmetric, PowerOfTwo<>>>);
static_assert(std::is_same_v<Shifted::get<slot::scale>, PowerOfTwo<Ceil>>);
static_assert(!std::is_same_v<Shifted, Shifted::vary<ScalesMove<each_step>>>);

using Baseline =
    Experiment<"baseline", ReLU, StopObservers<after_epochs(1)>, FreezeBatchNorm<after_steps(100)>>;
using Pow2 = Baseline::vary<"pow2", ReLU6, Weights<Shifted>, Outputs<Shifted>, AlignInputs>;
using Watching = Baseline::vary<"watching", StopObservers<never()>>;
static_assert(std::is_same_v<Watching::arithmetic, Baseline::arithmetic>);  // a schedule is no new network
static_assert(!std::is_same_v<Pow2::arithmetic, Baseline::arithmetic>);
static_assert(!std::is_same_v<Baseline::vary<"h", HeadFloat>::arithmetic, Baseline::arithmetic>);
static_assert(std::is_same_v<Experiment<"x", ReLU, HeadFloat>, Experiment<"x", HeadFloat, ReLU>>);
static_assert(std::is_same_v<Baseline::vary<"h", HeadFloat>::arithmetic::head_outputs, Quantizer<Float>>);
static_assert(Baseline::schedule.freeze_batch_norm == after_steps(100));
static_assert(!Policy<int> && Policy<ReLU>);
static_assert(!QuantizerSpec<MinMax>, "an observer is not a quantizer");
static_assert(!QuantizerSpec<FixedRange<std::ratio<-8>, std::ratio<8>>>);
static_assert(QuantizerSpec<Stock> && ExperimentSpec<Pow2>);

TEST_CASE("an experiment is found by its name, and an unknown name is answered with the known ones") {
    constexpr auto all = catalogue<Baseline, Pow2>;
    std::string found;
    with_experiment(all, "pow2", [&](auto e) { found = decltype(e)::type::name; });
    CHECK(found == "pow2");
    CHECK_THROWS_WITH_AS(with_experiment(all, "pow3", [](auto) {}),
                         "there is no experiment \"pow3\"; known are baseline, pow2", std::runtime_error);
}

TEST_CASE("of all products of fragments exactly the legal ones are kept") {
    constexpr auto formats = hana::tuple_t<Int<8>, Int<4>, Int<8, Range::narrow>, UInt<8>>;
    constexpr auto schemes =
        hana::tuple_t<PerTensorAffine, PerTensorSymmetric, PerChannelAffine<0>, PerChannelSymmetric<0>>;
    constexpr auto observers =
        hana::tuple_t<MinMax, MovingAverageMinMax<>, FixedRange<std::ratio<-1>, std::ratio<1>>>;
    constexpr auto scales = hana::tuple_t<AnyScale, PowerOfTwo<Ceil>, PowerOfTwo<Nearest>>;
    auto const legal = legal_quantizers(formats, schemes, observers, scales);
    // 3 formats take every scheme, the narrow one the symmetric ones; a fixed range wants a tensor scheme; affine schemes
    // want AnyScale: tensor affine 3 * 3 * 1, channel affine 3 * 2 * 1, tensor symmetric 4 * 3 * 3, channel symmetric 4 * 2 * 3
    CHECK(decltype(hana::size(legal))::value == 9 + 6 + 36 + 24);
    hana::for_each(legal, [](auto q) {
        using Q = typename decltype(q)::type;
        CHECK((!Q::scale::power_of_two || Q::scheme::symmetric));
        CHECK(!describe<Q>().empty());
    });
}

TEST_CASE("an experiment describes itself") {
    CHECK(describe<Shifted>() ==
          "int8, per-tensor symmetric, moving-average min-max, power of two, rounded up");
    CHECK(describe<Quantizer<Float>>() == "float");
    CHECK(describe<Quantizer<PerTensorSymmetric, FixedRange<std::ratio<-8>, std::ratio<8>>>>() ==
          "int8, per-tensor symmetric, range [-8, 8], any scale");
    auto const rows = describe<Pow2>();
    CHECK(rows.front() == std::pair<std::string, std::string>("name", "pow2"));
    CHECK(rows[10].second == "after epoch 0");
    CHECK(rows[11].second == "after 100 steps");
}

TEST_CASE("a schedule is printed with step numbers before training") {
    auto const coco = plan({after_epochs(1), after_steps(1), 20}, 3697, 20);
    REQUIRE(coco.size() == 2);
    CHECK(coco[0].what == "batch norm freezes at step 1");
    CHECK(coco[1].what == "observers stop at step 3697 = end of epoch 0");
    CHECK(coco[1].step == 3697);
    CHECK(plan({after_epochs(20), never(), 20}, 10, 20).empty());  // when training is over
    CHECK(after_epochs(2).step(13) == 26);
    CHECK(after_steps(2).step(13) == 2);
    CHECK(never().step(13) == -1);
}

// ---- scalar rules -------------------------------------------------------------------------------------------------
static_assert(round_half_even(2.5f) == 2 && round_half_even(3.5f) == 4 && round_half_even(-0.5f) == 0);
static_assert(exponent(8, Ceil) == 3 && exponent(8.1f, Ceil) == 4 && exponent(8.1f, Floor) == 3);

TEST_CASE("rounding agrees with the processor's, ties included") {
    std::mt19937 bits(1);
    std::uniform_real_distribution<float> spread(-70000, 70000);
    for (int i = 0; i < 100000; ++i) {
        float const x = spread(bits);
        CHECK_MESSAGE(round_half_even(x) == std::nearbyint(x), x);
        float const tie = std::floor(x) + 0.5f;
        CHECK_MESSAGE(round_half_even(tie) == std::nearbyint(tie), tie);
    }
}

TEST_CASE("exponents are exact next to powers of two, where logarithms are not") {
    for (int k = -100; k <= 100; ++k) {
        float const power = std::ldexp(1.0f, k), above = std::nextafter(power, INFINITY),
                    below = std::nextafter(power, 0.0f);
        CHECK(qat::exp2(k) == power);
        CHECK(exponent(power, Ceil) == k);
        CHECK(exponent(above, Ceil) == k + 1);
        CHECK(exponent(below, Ceil) == k);
        CHECK(exponent(power, Floor) == k);
        CHECK(exponent(above, Floor) == k);
        CHECK(exponent(below, Floor) == k - 1);
        CHECK(exponent(below, Nearest) == k);
        CHECK(exponent(power * 1.41f, Nearest) == k);
        CHECK(exponent(power * 1.42f, Nearest) == k + 1);
    }
}

TEST_CASE("a code is clamped, and says whether it was inside before") {
    auto const b = bounds(-128, 127, 0);
    CHECK(quantize<HalfEven>(1.0f, 10, b).value == 10);
    CHECK(quantize<HalfEven>(12.7f, 10, b).inside);
    CHECK_FALSE(quantize<HalfEven>(12.8f, 10, b).inside);
    CHECK(quantize<HalfEven>(12.8f, 10, b).value == 127);
    CHECK(quantize<HalfEven>(12.75f, 10, b).value == 127);  // 127.5 goes to 128: outside
    CHECK_FALSE(quantize<HalfEven>(12.75f, 10, b).inside);
    CHECK(quantize<HalfEven>(-12.85f, 10, b).inside);  // -128.5 goes to -128: inside
    constexpr float inf = std::numeric_limits<float>::infinity();
    CHECK(quantize<HalfEven>(inf, 10, b).value == 127);
    CHECK(quantize<HalfEven>(-inf, 10, b).value == -128);
    CHECK_FALSE(quantize<HalfEven>(inf, 10, b).inside);
    auto const nan = quantize<HalfEven>(std::nanf(""), 10, b);
    CHECK(nan.value == -128);
    CHECK_FALSE(nan.inside);
    auto const shifted = bounds(0, 255, 128);  // codes are relative to the zero point
    CHECK(shifted.low == -128);
    CHECK(shifted.high == 127);
}

TEST_CASE("grids contain zero, cover the range and are never empty") {
    using Affine = Quantizer<Int<8>, PerTensorAffine>;
    using Symmetric = Quantizer<Int<8>, PerTensorSymmetric>;
    using Shift = Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Ceil>>;
    using UShift = Quantizer<UInt<8>, PerTensorSymmetric, PowerOfTwo<Ceil>>;
    CHECK(choose_grid<Affine>(0, 25.5f).zero_point == -128);
    CHECK(choose_grid<Affine>(0, 25.5f).scale == doctest::Approx(0.1));
    CHECK(choose_grid<Affine>(1, 25.5f).zero_point == -128);  // zero is added to the range
    CHECK(choose_grid<Affine>(-25.5f, 0).zero_point == 127);
    CHECK(choose_grid<Symmetric>(-1, 12.75f).scale == doctest::Approx(0.1));  // (hi - lo) / 2, as torch.ao
    CHECK(choose_grid<Shift>(-3.9f, 1).scale == 4.0f / 128);
    CHECK(choose_grid<Shift>(-4.0f, 1).scale == 4.0f / 128);  // the reference's rule: 2^ceil(log2 4) / 128
    CHECK(choose_grid<Shift>(-4.1f, 1).scale == 8.0f / 128);
    CHECK(choose_grid<UShift>(-100, 4).scale == 4.0f / 256);  // no negative side to cover
    for (float const empty : {0.0f, 1e-30f}) {
        for (auto grid : {choose_grid<Affine>(-empty, empty), choose_grid<Symmetric>(-empty, empty),
                          choose_grid<Shift>(-empty, empty), choose_grid<UShift>(-empty, empty)}) {
            CHECK(grid.scale >= smallest_scale);
            CHECK(grid.scale <= 2 * smallest_scale);
        }
    }
}
