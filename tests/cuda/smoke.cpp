#include "support/doctest.hpp"

#include <qat/ops/cuda/fused.hpp>
#include <qat/qat.hpp>
#include <yolo/experiments.hpp>
#include <yolo/model/yolov5.hpp>

using namespace qat;

TEST_CASE("the network computes on the CPU with this LibTorch") {
    torch::manual_seed(1);
    yolo::YoloV5<yolo::experiments::exp2::arithmetic> model(yolo::YoloV5Options{.classes = 3});
    nn::bind(model);
    auto const y = model(torch::rand({1, 3, 64, 64}));
    CHECK(y.p3.sizes() == torch::IntArrayRef({1, 3, 8, 8, 8}));
    (y.p3.square().mean() + y.p4.square().mean() + y.p5.square().mean()).backward();
    for (auto const& p : model->parameters()) CHECK(p.grad().isfinite().all().item<bool>());
}

TEST_CASE("a program that links qat::cuda has the kernels without doing anything") {
    auto const* k = cuda::kernels();
    REQUIRE(k != nullptr);
    CHECK(!k->emulated);
    CHECK((k->forward != nullptr));
    CHECK((k->backward != nullptr));
    CHECK((k->extremes != nullptr));
    CHECK((k->decode != nullptr));
    CHECK((k->learned != nullptr));
    cuda::use_kernels();
    CHECK(cuda::kernels() == k);
}

TEST_CASE("the kernels refuse a CPU tensor") {
    auto const x = torch::ones({4}), one = torch::ones({1}), zero = torch::zeros({1}, torch::kInt);
    auto const& k = *cuda::kernels();
    char const* const want = "want a tensor on a CUDA device";
    CHECK_THROWS_WITH_AS(cuda::forward(k, x, one, zero, {}, {}, true), doctest::Contains(want), c10::Error);
    CHECK_THROWS_WITH_AS(cuda::extremes(k, x, cuda::ActivationKind::relu), doctest::Contains(want),
                         c10::Error);
    CHECK_THROWS_WITH_AS(cuda::decode(k, x.to(torch::kByte), one, zero, {0, 255}), doctest::Contains(want),
                         c10::Error);
    CHECK_THROWS_WITH_AS(cuda::backward(k, x, zero.to(torch::kByte), x.strides(), torch::kFloat),
                         doctest::Contains(want), c10::Error);
    CHECK_THROWS_WITH_AS(cuda::learned_backward(k, x, x, one, zero, {}, cuda::LearnedKind::step, {}),
                         doctest::Contains(want), c10::Error);
}

TEST_CASE("with the kernels linked a CPU tensor still takes the CPU's way") {
    using Q = Quantizer<Int<8>, PerTensorAffine>;
    auto const x = torch::randn({3, 50});
    auto const grid = GridTensors{torch::full({}, 0.1f), torch::full({}, 3, torch::kInt)};
    CHECK(!cuda::serves(cuda::kernels(), x));
    CHECK(torch::equal(cuda::activate_and_quantize(cuda::rule<ReLU, Q>(), x, grid, {-128, 127}).y,
                       activate_and_quantize<ReLU, Q>(x, grid, {-128, 127})));
}
