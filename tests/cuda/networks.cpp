// Networks on a GPU: a training step of every experiment of the reference, against the CPU's. Nothing here runs where there
// is none, and every test case says so.

#include "commands.hpp"
#include "cuda/gpu.hpp"
#include "networks/experiments.hpp"

#include <qat/qat.hpp>
#include <yolo/loss/loss.hpp>
#include <yolo/train/mixed_precision.hpp>

namespace {
using namespace qat;
using yolo::Precision;

// Convolutions in full float32 and always by the same algorithm, as long as this lives.
class Exact {
public:
    Exact() { set(true); }
    Exact(Exact const&) = delete;
    Exact& operator=(Exact const&) = delete;
    ~Exact() { set(false); }

private:
    static void set(bool on) {
        at::globalContext().setAllowTF32CuDNN(!on);
        at::globalContext().setDeterministicCuDNN(on);
    }
};

struct Step {
    yolo::Logits logits;  // on the CPU, as everything
    double loss = 0;
    torch::OrderedDict<std::string, torch::Tensor> gradients;
};

// The second step: the first gives every grid its range.
Step train_step(yolo::Detector& detector, torch::Tensor const& images, torch::Tensor const& targets,
                Precision precision = Precision::float32) {
    auto& model = detector.module();
    model.train();
    nn::observe_once(model, [&] { detector(images); });
    nn::refresh_scales(model);
    yolo::DetectionLoss const loss(detector.options(), yolo::Hyperparameters{});
    Step step;
    yolo::Logits logits;
    {
        yolo::Autocast const half(precision);
        logits = detector(images);
    }
    auto const total = loss(logits, targets).total;
    total.backward();
    for (std::size_t l = 0; l < 3; ++l) step.logits[l] = logits[l].detach().to(torch::kFloat).cpu();
    step.loss = total.item<double>();
    for (auto& p : model.named_parameters())
        if (auto& gradient = p.value().mutable_grad(); gradient.defined())
            step.gradients.insert(p.key(), gradient.cpu()), gradient.reset();
    return step;
}

struct Example {
    torch::Tensor images, targets;

    Example() {
        torch::manual_seed(11);
        images = torch::randint(0, 256, {2, 3, 128, 128}, torch::kByte);
        targets = torch::rand({8, 6}) * 0.3 + 0.3;
        targets.select(1, 0).copy_(torch::arange(8).remainder(2));
        targets.select(1, 1).copy_(torch::arange(8).remainder(3));
    }
};

double distance(torch::Tensor const& a, torch::Tensor const& b) {
    return ((a - b).norm() / b.norm().clamp_min(1e-12)).item<double>();
}
}  // namespace

TEST_CASE("on a GPU: every experiment trains a step, near the CPU's") {
    if (!have_gpu()) return;
    Exact const exact;
    Example const e;
    for (auto const& info : commands::reference().all()) {
        CAPTURE(info.name);
        torch::manual_seed(1);
        auto const on_cpu = info.make({.classes = 3}), on_gpu = on_cpu->replicate();
        on_gpu->module().to(torch::kCUDA);
        auto const want = train_step(*on_cpu, e.images, e.targets),
                   got = train_step(*on_gpu, e.images, e.targets);
        // A sum that is a little different may round to the next integer, and that one to others.
        double const near = info.quantized ? 0.1 : 1e-3;
        for (std::size_t l = 0; l < 3; ++l) CHECK(distance(got.logits[l], want.logits[l]) < near);
        CHECK(got.loss == doctest::Approx(want.loss).epsilon(near));
        REQUIRE(got.gradients.size() == want.gradients.size());
        for (auto const& g : want.gradients) {
            CAPTURE(g.key());
            REQUIRE(got.gradients.contains(g.key()));
            CHECK(got.gradients[g.key()].isfinite().all().item<bool>());
            if (!info.quantized)  // a sum that is a little different may have another sign: ReLU's gradients jump
                CHECK(distance(got.gradients[g.key()], g.value()) < 0.1);
        }

        auto const half = on_cpu->replicate();
        half->module().to(torch::kCUDA);
        for (auto const precision : {Precision::float16, Precision::bfloat16}) {
            auto const rough = train_step(*half, e.images, e.targets, precision);
            CHECK(rough.loss == doctest::Approx(want.loss).epsilon(0.1));
            CHECK(rough.loss != got.loss);  // it was another precision
            for (auto const& g : rough.gradients) CHECK((g.value().scalar_type() == torch::kFloat));
        }
    }
}

TEST_CASE("on a GPU: codes kept for the backward pass change no bit") {
    if (!have_gpu()) return;
    Exact const exact;
    Example const e;
    using coded = yolo::experiments::exp2::vary<"coded", SaveCodes>;
    torch::manual_seed(1);
    auto const plain = yolo::make_detector<yolo::experiments::exp2::arithmetic>({.classes = 3}),
               twin = plain->replicate();
    auto const with_codes = yolo::make_detector<coded::arithmetic>({.classes = 3});
    nn::copy_state(plain->module(), with_codes->module());
    for (auto* detector : {&*plain, &*twin, &*with_codes}) detector->module().to(torch::kCUDA);
    for (auto const precision :
         {Precision::float32, Precision::bfloat16}) {  // float16 would want a loss scale
        CAPTURE(static_cast<int>(precision));
        auto const want = train_step(*plain, e.images, e.targets, precision),
                   same = train_step(*twin, e.images, e.targets, precision),
                   got = train_step(*with_codes, e.images, e.targets, precision);
        for (std::size_t l = 0; l < 3; ++l) CHECK(torch::equal(got.logits[l], want.logits[l]));
        REQUIRE(got.gradients.size() == want.gradients.size());
        for (auto const& g : want.gradients) {
            CAPTURE(g.key());
            // CUDA adds up some gradients in any order (max-pooling's): where two runs of one network differ, codes may.
            auto const &other = got.gradients[g.key()], &again = same.gradients[g.key()];
            REQUIRE(g.value().isfinite().all().item<bool>());
            if (torch::equal(again, g.value()))
                CHECK(torch::equal(other, g.value()));
            else
                CHECK(distance(other, g.value()) < std::max(1e-4, 4 * distance(again, g.value())));
        }
    }
}
