// Experiments of the later kind on the real network: exceptions by stage, heads by role, biases on the accumulator.

#include "support/doctest.hpp"

#include <yolo/experiments.hpp>
#include <yolo/model/typed_detector.hpp>

namespace {
namespace ex = yolo::experiments;
using namespace qat;
yolo::Size const tiny{0.33, 0.125};

template <class E> using Network = yolo::TypedDetector<typename E::arithmetic>;

std::string table(yolo::Detector& detector) {
    std::string text;
    for (auto const& node : detector.trace({1, 3, 64, 64}).nodes)
        text += node.path + ": " + node.weights + "\n";
    return text;
}
}  // namespace

TEST_CASE("an experiment that quantizes one stage, or the image, is a quantized one") {
    using InFloat = yolo::experiments::silu;
    CHECK_FALSE(yolo::experiment_info<InFloat>().quantized);
    CHECK(
        yolo::experiment_info<InFloat::vary<"stem", qat::Except<"backbone.stem", qat::Int<8>>>>().quantized);
    CHECK(yolo::experiment_info<InFloat::vary<"image", qat::Input<qat::Quantizer<>>>>().quantized);
}

TEST_CASE("a stage that is excepted is float or wider, the others are as before, and all of it trains") {
    using E = ex::exp2::vary<"first-and-last", Unaligned,
                             Exceptions<Except<"detect", Float>, Except<"backbone.stem", Int<16>>>>;
    Network<E> detector({.size = tiny, .classes = 3});
    auto const text = table(detector);
    CHECK(text.find("backbone.stem: int16") != text.npos);
    CHECK(text.find("backbone.down2: int8") != text.npos);
    CHECK(text.find("detect.head3: \n") != text.npos);
    detector.module().train();
    auto const logits = detector(torch::rand({2, 3, 64, 64}));
    (logits[0].sum() + logits[1].sum() + logits[2].sum()).backward();
    for (auto const& item : detector.module().named_parameters()) {
        CAPTURE(item.key());
        CHECK(item.value().grad().defined());
    }
}

TEST_CASE("a head by role has twelve scales a level; with fixed ranges its steps are known beforehand") {
    using E = ex::exp2::vary<
        "roles", HeadPerRole<FixedReaches<std::ratio<2>, std::ratio<4>, std::ratio<8>, std::ratio<16>>>>;
    Network<E> detector({.size = tiny, .classes = 3});
    auto const scales = detector.module().named_buffers()["detect.head4.output.scale"];
    CHECK(scales.numel() == 12);
    CHECK(torch::equal(scales.slice(0, 0, 4), torch::tensor({1 / 64.f, 1 / 32.f, 1 / 16.f, 1 / 8.f})));
    auto const logits = detector(torch::rand({1, 3, 64, 64}));
    auto const whole = [](torch::Tensor const& t) { return torch::equal(t, t.round()); };
    int const first[] = {0, 2, 4, 5, 8}, steps[] = {64, 32, 16, 8};  // xy, wh, objectness, classes; per unit
    for (int role = 0; role < 4; ++role) {
        CAPTURE(role);
        auto const codes =
            logits[1].slice(-1, first[role], first[role + 1]) * steps[role];  // [1, 3, 4, 4, ...]
        CHECK(whole(codes));
        CHECK_FALSE(whole(codes / 2));  // and no coarser
    }
}

TEST_CASE("under AccumulatorBias every convolution but those behind several grids knows its input's grid") {
    using E = ex::exp2::vary<"integer", AccumulatorBias>;
    Network<E> detector({.size = tiny, .classes = 3});
    int convolutions = 0;
    qat::nn::for_each_producer(detector.module(), [&](qat::nn::Producer& p) {
        if (!p.quantized_weight()) return;
        CHECK(p.input_grid() != nullptr);
        ++convolutions;
    });
    CHECK(convolutions == 60);
}

TEST_CASE("all joins of YOLOv5 on one grid with their results") {
    using E = ex::exp2::vary<"all", AlignAll>;
    Network<E> detector({.size = tiny, .classes = 3});
    CHECK(qat::nn::misaligned_joins(detector.trace({1, 3, 64, 64})).empty());
    auto const before = Network<ex::exp2>({.size = tiny, .classes = 3}).scale_groups().size();
    CHECK(detector.scale_groups().size() < before);  // additions connect what was apart
}
