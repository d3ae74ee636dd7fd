#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "support/doctest.hpp"

#include <qat/ops/cuda/fake_quantize.hpp>
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

TEST_CASE("the fake quantization of a CUDA tensor refuses a CPU tensor") {
    auto const one = torch::ones({1}), zero = torch::zeros({1}, torch::kInt);
    CHECK_THROWS_WITH_AS(cuda::fake_quantize(one, one, zero, -128, 127),
                         doctest::Contains("want float32 on a CUDA device"), c10::Error);
}

TEST_CASE("fake quantization on the GPU equals the CPU's bit for bit") {
    if (!torch::cuda::is_available()) {
        MESSAGE("no GPU here: this test case did nothing");
        return;
    }
    torch::manual_seed(1);
    auto const x = torch::randn({3, 5, 1001}) * 3;
    auto const scale = torch::full({1}, 0.037f), zero_point = torch::full({1}, 7, torch::kInt);
    auto const expected = fake_quantize<Quantizer<Int<8>, PerTensorAffine>>(x, scale, zero_point);
    auto const device = torch::Device(torch::kCUDA);
    auto const y = cuda::fake_quantize(x.to(device), scale.to(device), zero_point.to(device), -128, 127);
    CHECK(torch::equal(y.cpu(), expected));
    auto const t = x.to(device).transpose(0, 2);
    CHECK(torch::equal(cuda::fake_quantize(t, scale.to(device), zero_point.to(device), -128, 127).cpu(),
                       expected.transpose(0, 2)));
}
