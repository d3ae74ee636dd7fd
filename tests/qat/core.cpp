// Types and scalars. No LibTorch.

#include <doctest/doctest.h>

#include <qat/core.hpp>

#include <boost/hana/size.hpp>

#include <cfenv>
#include <cmath>
#include <limits>
#include <random>
#include <set>
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
static_assert(std::is_same_v<Baseline::vary<"h", HeadFloat>::arithmetic::head::outputs, Quantizer<Float>>);
static_assert(Baseline::schedule.freeze_batch_norm == after_steps(100));
static_assert(
    std::is_same_v<Pow2::vary<"s", QuantizeFrom<after_epochs(1)>, StepBits<BitsStep{4, after_epochs(2)}>,
                              ReestimateBatchNorm<10>, DampenOscillation<>, Epochs<3>>::arithmetic,
                   Pow2::arithmetic>);

// A head's own quantizers, given those of the body.
template <class Head> using HeadOf = typename Experiment<"h", Outputs<Shifted>, Head>::arithmetic;
static_assert(HeadOf<HeadInt16>::head::outputs::format::bits == 16);
static_assert(std::is_same_v<HeadOf<HeadInt16>::head::outputs::scale, PowerOfTwo<Ceil>>);
static_assert(HeadOf<HeadPerRole<>>::head::outputs::scheme::roles);
static_assert(std::is_same_v<HeadOf<HeadPerRole<Int<6>>>::head::outputs::format, Int<6>>);
static_assert(std::is_same_v<Experiment<"h", HeadPerRole<>>::arithmetic::head::outputs::format,
                             Int<8>>);  // not UInt<8>
static_assert(!HeadOf<HeadWeightsOnly>::head::outputs::format::quantized);
static_assert(HeadOf<HeadWeightsOnly>::head::weights::format::quantized);
using NarrowBody = Outputs<Quantizer<Int<8, Range::narrow>, PerTensorSymmetric>>;
static_assert(Experiment<"h", NarrowBody, HeadInt16>::arithmetic::head::outputs::format::lo == -32767);
static_assert(Experiment<"h", NarrowBody, HeadPerRole<>>::arithmetic::head::outputs::format::lo == -127);

// Stages with quantizers of their own: by whole names between dots, the later exception on top of the earlier.
using Excepted =
    Experiment<"e", Outputs<Shifted>,
               Exceptions<Except<"backbone", Int<16>>, Except<"backbone.stem", Float>>>::arithmetic;
static_assert(std::is_same_v<Excepted::at<"backbone.stem">::outputs, Shifted::vary<Float>>);
static_assert(std::is_same_v<Excepted::at<"backbone.c3_2">::outputs, Shifted::vary<Int<16>>>);
static_assert(Excepted::at<"backbone.c3_2">::weights::format::bits == 16);
static_assert(std::is_same_v<Excepted::at<"backbones">, Excepted::at<"neck">>);
static_assert(std::is_same_v<Excepted::at<"neck">::outputs, Shifted>);
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

TEST_CASE("of all products of observers, schemes and scales exactly the legal ones are kept") {
    auto const legal =
        legal_quantizers(hana::tuple_t<Int<8>, UInt<8>>,
                         hana::tuple_t<PerTensorAffine, PerTensorSymmetric, PerChannelAffine<0>,
                                       PerChannelSymmetric<0>, PerGroup<4>>,
                         hana::tuple_t<MinMax, MovingAverageMinMax<>, Histogram<>, Entropy<>, Percentile<>,
                                       MeanSquaredError<>, FixedRange<std::ratio<-1>, std::ratio<1>>>,
                         hana::tuple_t<AnyScale, PowerOfTwo<Ceil>, PowerOfTwo<LeastError>, PowerOfTwo<Mode>>);
    // Both formats: a symmetric tensor takes all 7 observers and 4 scales, but for a fixed range with the 2 scales that
    // decide on what was observed, and LeastError with the 2 that decide themselves; an affine one not Entropy, and any
    // scale only;
    // channels and groups take the 3 observers that need no histogram and no fixed range: symmetric with 4 scales,
    // affine with one.
    CHECK(decltype(hana::size(legal))::value == 2 * (7 * 4 - 2 - 2 + 6 + 2 * 3 * 4 + 3));
}

// What an experiment says about this; "not mentioned" if nothing.
template <class E> std::string row(std::string_view about) {
    for (auto const& [what, choice] : describe<E>())
        if (what == about) return choice;
    return "not mentioned";
}

TEST_CASE("an experiment describes itself") {
    CHECK(describe<Shifted>() ==
          "int8, per-tensor symmetric, moving-average min-max, power of two, rounded up");
    CHECK(describe<Quantizer<Float>>() == "float");
    CHECK(describe<Quantizer<PerTensorSymmetric, FixedRange<std::ratio<-8>, std::ratio<8>>>>() ==
          "int8, per-tensor symmetric, range [-8, 8], any scale");
    auto const rows = describe<Pow2>();
    CHECK(rows.front() == std::pair<std::string, std::string>("name", "pow2"));
    CHECK(row<Pow2>("observers stop") == "after epoch 0");
    CHECK(row<Pow2>("batch norm freezes") == "after 100 steps");
    CHECK(row<Pow2>("exceptions") == "none");
    CHECK(row<Pow2>("thresholds freeze") == "not mentioned");
    using Full =
        Pow2::vary<"full", Outputs<Shifted::vary<PowerOfTwo<Nearest>, TrainedThreshold, HalfUp>>,
                   Input<Shifted>, AccumulatorBias, SaveCodes, HeadPerRole<>,
                   AlignAllTo<SharedRange::largest>,
                   Exceptions<Except<"backbone.stem", Int<16>>, Except<"detect", Float>>,
                   QuantizeFrom<after_epochs(2), after_epochs(1)>, StopObservers<after_epochs(3)>,
                   FreezeBatchNorm<after_epochs(3), Affine::frozen>, FreezeThresholds<after_epochs(5)>,
                   StepBits<BitsStep{6, after_epochs(4)}, BitsStep{4, after_epochs(8)}>,
                   ReestimateBatchNorm<50>, FreezeOscillation<>>;
    CHECK(row<Full>("outputs") ==
          "int8, per-tensor symmetric, moving-average min-max, power of two, nearest, half up, "
          "trained threshold");
    CHECK(row<Full>("bias") == "int32, on the accumulator's grid");
    CHECK(row<Full>("inputs are kept") == "as 8-bit codes");
    CHECK(row<Full>("head") == "outputs by role");
    CHECK(row<Full>("joins") == "aligned inputs and results, largest range");
    CHECK(row<Full>("exceptions") == "backbone.stem, detect");
    CHECK(row<Full>("quantization starts") == "after epoch 1");
    CHECK(row<Full>("observers start") == "after epoch 0");
    CHECK(row<Full>("batch norm freezes") == "after epoch 2, gamma and beta too");
    CHECK(row<Full>("thresholds freeze") == "after epoch 4");
    CHECK(row<Full>("6 bits") == "after epoch 3");
    CHECK(row<Full>("4 bits") == "after epoch 7");
    CHECK(row<Full>("batch norm re-estimated") == "from 50 batches");
    CHECK(row<Full>("oscillating weights") == "frozen");
}

TEST_CASE("every fragment and choice has a name of its own within its slot") {
    auto const distinct = [](auto types) {
        std::set<std::string_view> names;
        std::size_t count = 0;
        hana::for_each(types, [&](auto t) { names.insert(decltype(t)::type::name), ++count; });
        CHECK(names.size() == count);
    };
    distinct(hana::tuple_t<Int<8>, Int<8, Range::narrow>, UInt<8>, Float>);
    distinct(hana::tuple_t<PerTensorAffine, PerTensorSymmetric, PerChannelAffine<0>, PerChannelSymmetric<0>,
                           PerGroup<4>, PerRole>);
    distinct(
        hana::tuple_t<MinMax, MovingAverageMinMax<>, Histogram<>, Histogram<2048, Counting::as_torch>,
                      Entropy<>, Percentile<>, MeanSquaredError<>, FixedRange<std::ratio<0>, std::ratio<1>>>);
    distinct(hana::tuple_t<AnyScale, PowerOfTwo<Ceil>, PowerOfTwo<Nearest>, PowerOfTwo<Floor>,
                           PowerOfTwo<LeastError>, PowerOfTwo<Mode>>);
    distinct(hana::tuple_t<HalfEven, HalfAwayFromZero, HalfUp, RoundDown, Stochastic>);
    distinct(hana::tuple_t<StraightThrough, PassThrough, LearnedStep, LearnedStepAndOffset, TrainedThreshold,
                           PACT>);
    distinct(
        hana::tuple_t<HeadAsBody, HeadFloat, HeadWeightsOnly, HeadFixed<Shifted>, HeadInt16, HeadPerRole<>>);
    distinct(hana::tuple_t<Unaligned, AlignInputs, AlignInputsTo<SharedRange::largest>, AlignAll,
                           AlignAllTo<SharedRange::largest>, AlignAllTo<SharedRange::result>>);
    distinct(hana::tuple_t<LeaveOscillation, DampenOscillation<>, FreezeOscillation<>>);
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

TEST_CASE(
    "the plan names all that a schedule switches, in order; what holds from the beginning is no event") {
    using E = Experiment<"x", Outputs<Quantizer<PerTensorSymmetric, LearnedStep>>,
                         QuantizeFrom<after_epochs(2), after_steps(5)>, StopObservers<after_epochs(3)>,
                         FreezeBatchNorm<after_epochs(3), Affine::frozen>, FreezeThresholds<after_epochs(4)>,
                         StepBits<BitsStep{6, after_epochs(3)}, BitsStep{4, after_epochs(9)}>, Epochs<5>>;
    auto const events = plan(E::schedule, 10, E::schedule.epochs);
    std::vector<std::string> said;
    for (auto const& e : events) said.push_back(e.what);
    CHECK(said == std::vector<std::string>{
                      "observers start at step 5", "quantization starts at step 20 = end of epoch 1",
                      "observers stop at step 30 = end of epoch 2",
                      "batch norm freezes, gamma and beta too at step 30 = end of epoch 2",
                      "6 bits at step 30 = end of epoch 2", "thresholds freeze at step 40 = end of epoch 3"});
    CHECK(events[4].action == Action::set_bits);
    CHECK(events[4].value == 6);
    CHECK(plan(Experiment<"y">::schedule, 10, 5).empty());
}

TEST_CASE("times in different units must come in order for the data set at hand") {
    using Narrows = Experiment<"x", StepBits<BitsStep{6, after_epochs(4)}, BitsStep{4, after_steps(100)}>>;
    CHECK(plan(Narrows::schedule, 10, 20).size() == 2);
    CHECK_THROWS_WITH(
        plan(Narrows::schedule, 25, 20),
        "schedule: with 25 steps an epoch 6 bits come at step 100, and 4 bits come at step 100; "
        "the first must come before the second, give both in one unit");
    using Watches = Experiment<"x", QuantizeFrom<after_epochs(1), after_steps(500)>>;
    CHECK(plan(Watches::schedule, 501, 2).size() == 2);
    for (int const steps : {499, 500})
        CHECK_THROWS_WITH(plan(Watches::schedule, steps, 2),
                          doctest::Contains(("observers start at step 500, and quantization starts at step " +
                                             std::to_string(steps))
                                                .c_str()));
    using Stops =
        Experiment<"x", QuantizeFrom<after_epochs(2), after_epochs(1)>, StopObservers<after_steps(9)>>;
    CHECK_THROWS_WITH(plan(Stops::schedule, 10, 2),
                      doctest::Contains("start at step 10, and they stop at step 9"));
    // A learned grid of the image alone can be frozen.
    static_assert(Experiment<"x", Input<Quantizer<Int<8>, PerTensorSymmetric, LearnedStep>>,
                             FreezeThresholds<after_epochs(1)>>::schedule.freeze_thresholds ==
                  after_epochs(1));
}

// ---- scalar rules -------------------------------------------------------------------------------------------------
static_assert(round_half_even(2.5f) == 2 && round_half_even(3.5f) == 4 && round_half_even(-0.5f) == 0);
// t:                              2.5, -2.5, 0.5, -0.5 and the number next to 0.5
template <class R> constexpr bool rounds(float a, float b, float c, float d, float e) {
    return R::round(2.5f) == a && R::round(-2.5f) == b && R::round(0.5f) == c && R::round(-0.5f) == d &&
           R::round(0.49999997f) == e && R::round(3) == 3 && R::round(-3) == -3;
}
static_assert(rounds<HalfEven>(2, -2, 0, 0, 0) && rounds<HalfAwayFromZero>(3, -3, 1, -1, 0));
static_assert(rounds<HalfUp>(3, -2, 1, 0, 0) && rounds<RoundDown>(2, -3, 0, -1, 0));
static_assert(rounds<Stochastic>(2, -2, 0, 0, 0));  // without noise
static_assert(Stochastic::round(2.25f, 0.5f) == 2 && Stochastic::round(2.25f, 0.75f) == 3);
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
