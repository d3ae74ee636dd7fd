// The typed network: sizes, names, and outputs equal to the reference's layer by layer.

#include "support/doctest.hpp"

#include <yolo/experiments.hpp>
#include <yolo/io/checkpoint.hpp>
#include <yolo/io/transfer.hpp>
#include <yolo/model/decode.hpp>
#include <yolo/model/typed_detector.hpp>

namespace {
using Silu = yolo::experiments::silu::arithmetic;
using Folded = yolo::experiments::silu::vary<"folded", qat::FoldBatchNorm>::arithmetic;
using Stock = yolo::experiments::stock::arithmetic;
using Exp2 = yolo::experiments::exp2::arithmetic;

template <class A> std::int64_t parameters(yolo::Size size) {
    yolo::YoloV5<A> model({.size = size});
    std::int64_t count = 0;
    for (auto const& p : model->parameters()) count += p.numel();
    return count;
}

// What the numbered layers of the reference return for an image; 0..23, upsampling included.
std::vector<torch::Tensor> numbered_layers(yolo::YoloV5<Silu>& model, torch::Tensor const& image) {
    auto& b = *model->backbone;
    auto& n = *model->neck;
    std::vector<torch::Tensor> y;
    y.push_back(b.stem(image));
    y.push_back(b.down2(y[0]));
    y.push_back(b.c3_2(y[1]));
    y.push_back(b.down3(y[2]));
    y.push_back(b.c3_3(y[3]));
    y.push_back(b.down4(y[4]));
    y.push_back(b.c3_4(y[5]));
    y.push_back(b.down5(y[6]));
    y.push_back(b.c3_5(y[7]));
    y.push_back(b.sppf(y[8]));
    y.push_back(n.lateral5(y[9]));
    y.push_back(qat::upsample(y[10]));
    y.push_back(n.up4(y[11], y[6]));
    y.push_back(n.mix4(y[12]));
    y.push_back(n.lateral4(y[13]));
    y.push_back(qat::upsample(y[14]));
    y.push_back(n.up3(y[15], y[4]));
    y.push_back(n.out3(y[16]));
    y.push_back(n.down3(y[17]));
    y.push_back(n.join4(y[18], y[14]));
    y.push_back(n.out4(y[19]));
    y.push_back(n.down4(y[20]));
    y.push_back(n.join5(y[21], y[10]));
    y.push_back(n.out5(y[22]));
    return y;
}

void require_golden_layers(std::string const& golden_file, std::string const& weights) {
    torch::NoGradGuard no_grad;
    auto golden = support::golden(golden_file);
    auto const checkpoint = yolo::load_checkpoint(support::shared(weights));
    yolo::YoloV5Options const options{.size = checkpoint.manifest.size,
                                      .classes = checkpoint.manifest.classes,
                                      .anchors = checkpoint.manifest.anchors};
    yolo::TypedDetector<Silu> detector(options);
    auto const transfer = yolo::load_state(detector, checkpoint.model, yolo::Fit::exact, weights);
    CHECK(transfer.transferred == 349);
    CHECK(transfer.total == 349);
    detector.module().eval();

    yolo::YoloV5<Silu> model(options);
    qat::nn::copy_state(detector.module(), *model);
    model->eval();
    auto const image = golden.at("input").to(torch::kFloat).div(255).unsqueeze(0);
    auto const layers = numbered_layers(model, image);
    for (std::size_t k = 0; k < layers.size(); ++k) {
        auto const name = "layer" + std::to_string(k);
        CAPTURE(name);
        auto const& y = layers[k];
        auto const shape = golden.at(name + ".shape");
        for (std::int64_t d = 0; d < 4; ++d) CHECK(y.size(d) == shape[d].item<std::int64_t>());
        auto const values = y.flatten().index({golden.at(name + ".index")});
        auto const largest = golden.at(name + ".mean_std_absmax")[2].item<double>();
        CHECK(support::relative_error(values, golden.at(name + ".value"), largest) < 1e-4);
        auto const statistics = torch::stack({y.mean(), y.std(), y.abs().max()});
        CHECK(support::relative_error(statistics, golden.at(name + ".mean_std_absmax")) < 1e-4);
    }
    auto const heads = detector(image);
    for (std::size_t k = 0; k < 3; ++k)
        CHECK(support::relative_error(heads[k], golden.at("head" + std::to_string(k))) < 1e-4);
    CHECK(support::relative_error(yolo::decode(heads, options), golden.at("decoded")) < 1e-4);
}
}  // namespace

TEST_CASE("the sizes have the published numbers of parameters, with batch norm and folded") {
    CHECK(parameters<Silu>(yolo::nano) == 1'872'157);
    CHECK(parameters<Silu>(yolo::small) == 7'235'389);
    CHECK(parameters<Silu>(yolo::medium) == 21'190'557);
    CHECK(parameters<Silu>(yolo::large) == 46'563'709);
    CHECK(parameters<Silu>(yolo::extra_large) == 86'749'405);
    CHECK(parameters<Folded>(yolo::nano) == 1'867'405);
    CHECK(parameters<Folded>(yolo::small) == 7'225'885);
    CHECK(parameters<Folded>(yolo::medium) == 21'172'173);
    CHECK(parameters<Folded>(yolo::large) == 46'533'693);
    CHECK(parameters<Folded>(yolo::extra_large) == 86'705'005);
}

TEST_CASE("every producer has a YOLOv5 key, and keys are unique") {
    yolo::TypedDetector<Exp2> detector({});
    std::set<std::string> keys;
    for (auto const& [key, tensor] : yolo::state_of(detector)) {
        CHECK((key.starts_with("model.") || key.starts_with("input.")));
        CHECK(keys.insert(key).second);
    }
    CHECK(keys.contains("model.2.m.0.cv1.conv.weight"));
    CHECK(keys.contains("model.0.output.scale"));
    CHECK(keys.contains("model.24.m.2.weight_grid.scale"));
    CHECK(keys.contains("input.output.scale"));
    CHECK(yolo::reference_key("backbone.c3_4.m2.add.output.scale") == "model.6.m.2.add.output.scale");
    CHECK(yolo::reference_key("neck.join4.output.scale") == "model.19.output.scale");
}

TEST_CASE("a state that was written is read back bit for bit, sharing included") {
    yolo::TypedDetector<Exp2> one({.classes = 3}), other({.classes = 3});
    one(torch::rand({1, 3, 64, 64}));
    auto const state = yolo::state_of(one);
    auto const transfer = yolo::load_state(other, state, yolo::Fit::exact, "memory");
    CHECK(transfer.quantizers > 0);
    CHECK(transfer.fresh_quantizers == 0);
    auto const again = yolo::state_of(other);
    REQUIRE(state.size() == again.size());
    for (std::size_t i = 0; i < state.size(); ++i) {
        CHECK(state[i].first == again[i].first);
        CHECK(torch::equal(state[i].second, again[i].second));
    }
}

TEST_CASE("another class count keeps what fits; another size is an error that names the key") {
    yolo::TypedDetector<Silu> coco({});
    auto const state = yolo::state_of(coco);
    yolo::TypedDetector<Silu> cells({.classes = 3});
    auto const before = yolo::state_of(cells);
    auto const transfer = yolo::load_state(cells, state, yolo::Fit::adapt, "coco.pt");
    CHECK(transfer.transferred == 343);
    CHECK(transfer.total == 349);
    CHECK_THROWS_WITH_AS(yolo::load_state(cells, state, yolo::Fit::exact, "coco.pt"),
                         doctest::Contains("model.24.m.0.weight is [255, 64, 1, 1], expected [24, 64, 1, 1]"),
                         std::runtime_error);
    yolo::TypedDetector<Silu> small({.size = yolo::small});
    CHECK_THROWS_WITH_AS(
        yolo::load_state(small, state, yolo::Fit::adapt, "coco.pt"),
        doctest::Contains("coco.pt: model.0.conv.weight is [16, 3, 6, 6], expected [32, 3, 6, 6]"),
        std::runtime_error);
}

TEST_CASE("a range that the experiment fixes stays, whatever another experiment's quantizers were") {
    using Saturating = qat::Quantizer<qat::Int<8>, qat::PerTensorSymmetric, qat::PowerOfTwo<qat::Ceil>,
                                      qat::FixedRange<std::ratio<-4>, std::ratio<4>>>;
    using Unit = Saturating::vary<qat::FixedRange<std::ratio<0>, std::ratio<1>>>;
    using Fixed =
        yolo::experiments::exp2::vary<"fixed", qat::HeadFixed<Saturating>, qat::Input<Unit>>::arithmetic;
    yolo::TypedDetector<Exp2> seen({.classes = 3});
    seen(20 * torch::rand({1, 3, 64, 64}));
    auto const state = yolo::state_of(seen);
    auto const was = [&](char const* key) { return yolo::find(state, key)->item<float>(); };
    REQUIRE(was("input.output.scale") != 1.0f / 128);
    REQUIRE(was("model.24.m.0.output.scale") != 1.0f / 32);
    for (auto const fit : {yolo::Fit::adapt, yolo::Fit::restart}) {
        yolo::TypedDetector<Fixed> fixed({.classes = 3});
        auto const before = yolo::state_of(fixed);
        auto const transfer = yolo::load_state(fixed, state, fit, "memory");
        auto const after = yolo::state_of(fixed);
        std::int64_t kept = 0;
        for (auto const& item : after) {
            auto const& key = item.first;
            bool const head = key.starts_with("model.24.m.") && key.find(".output.") != key.npos;
            if (!head && !key.starts_with("input.output.")) continue;
            CHECK_MESSAGE(torch::equal(item.second, *yolo::find(before, key)), key);
            ++kept;
        }
        CHECK(yolo::find(after, "input.output.scale")->item<float>() == 1.0f / 128);
        CHECK(yolo::find(after, "model.24.m.0.output.scale")->item<float>() == 1.0f / 32);
        bool const adapted =
            yolo::find(after, "model.0.output.scale")->item<float>() == was("model.0.output.scale");
        CHECK(adapted == (fit == yolo::Fit::adapt));
        if (fit == yolo::Fit::adapt) CHECK(transfer.fresh_quantizers == kept);
        CHECK(kept >= 4 * 2);  // scale and zero point at least
        yolo::TypedDetector<Fixed> again({.classes = 3});
        CHECK(yolo::load_state(again, after, yolo::Fit::exact, "memory").fresh_quantizers == 0);
    }
}

TEST_CASE(
    "a whole network that keeps its activations as codes has the same logits and gradients, bit for bit") {
    auto const gradients = []<class E>(E*) {
        torch::manual_seed(0);
        yolo::TypedDetector<typename E::arithmetic> detector({.classes = 3});
        auto const images = torch::rand({2, 3, 64, 64});
        qat::nn::observe_once(detector.module(), [&] { detector(images); });
        auto const logits = detector(images);
        torch::Tensor sum = torch::zeros({});
        for (auto const& y : logits)
            sum = sum + (y * torch::linspace(-1, 1, y.numel()).view(y.sizes())).sum();
        sum.backward();
        std::vector<torch::Tensor> found;
        for (auto const& y : logits) found.push_back(y.detach());
        for (auto const& p : detector.module().parameters()) found.push_back(p.grad());
        return found;
    };
    auto const same = [&]<class E>(E* floating) {
        CAPTURE(E::name);
        auto const floats = gradients(floating);
        auto const codes =
            gradients(static_cast<typename E::template vary<"coded", qat::SaveCodes>*>(nullptr));
        REQUIRE(floats.size() == codes.size());
        REQUIRE(floats.size() > 100);
        for (std::size_t i = 0; i < floats.size(); ++i) CHECK_MESSAGE(torch::equal(floats[i], codes[i]), i);
    };
    same(static_cast<yolo::experiments::exp2*>(nullptr));
    same(static_cast<yolo::experiments::stock_silu*>(nullptr));
}

TEST_CASE("folding batch norm at load changes nothing but rounding") {
    torch::NoGradGuard no_grad;
    torch::manual_seed(1);
    yolo::TypedDetector<Silu> live({.classes = 3});
    live(torch::rand({4, 3, 64, 64}));  // statistics move
    for (auto const& b : live.module().named_buffers())
        if (b.key().ends_with("running_var")) b.value().uniform_(0.5, 2);
    yolo::TypedDetector<Folded> folded({.classes = 3});
    yolo::load_state(folded, yolo::state_of(live), yolo::Fit::adapt, "memory");
    live.module().eval(), folded.module().eval();
    auto const image = torch::rand({1, 3, 96, 64});
    auto const a = live(image), b = folded(image);
    for (std::size_t k = 0; k < 3; ++k) CHECK(support::relative_error(a[k], b[k]) < 1e-5);
    CHECK_THROWS_WITH_AS(yolo::load_state(live, yolo::state_of(folded), yolo::Fit::adapt, "f.pt"),
                         doctest::Contains("f.pt holds folded batch norm"), std::runtime_error);
}

TEST_CASE("a replica computes the same, and shares nothing with the original but the structure") {
    torch::NoGradGuard no_grad;
    yolo::TypedDetector<Exp2> model({.classes = 3});
    auto const image = torch::rand({2, 3, 64, 64});
    qat::nn::observe_once(model.module(), [&] { model(image); });
    model(image);
    auto const copy = model.replicate();
    model.module().eval(), copy->module().eval();
    auto const expected = model(image);
    for (auto const& p : model.module().parameters()) p.add_(1);
    auto const found = (*copy)(image);
    for (std::size_t k = 0; k < 3; ++k) CHECK(torch::equal(expected[k], found[k]));
    CHECK(copy->scale_groups().size() == 17);
}

TEST_SUITE("shared") {
    TEST_CASE("yolov5n: every numbered layer and the decoded head equal the reference's") {
        NEEDS_SHARED("golden/layers_yolov5n.pt");
        require_golden_layers("layers_yolov5n.pt", "data/weights/yolov5n.pt");
    }
    TEST_CASE("yolov5s: every numbered layer and the decoded head equal the reference's") {
        NEEDS_SHARED("golden/layers_yolov5s.pt");
        require_golden_layers("layers_yolov5s.pt", "data/weights/yolov5s_v6.0.pt");
    }
    TEST_CASE(
        "what is saved has exactly the official file's keys and shapes, so that YOLOv5 loads it strictly") {
        NEEDS_SHARED("data/weights/yolov5n.pt");
        for (auto const* file : {"data/weights/yolov5n.pt", "data/weights/yolov5s_v6.0.pt"}) {
            auto const official = yolo::load_checkpoint(support::shared(file));
            yolo::TypedDetector<Silu> detector({.size = official.manifest.size});
            yolo::load_state(detector, official.model, yolo::Fit::exact, file);
            auto const ours = yolo::state_of(detector);
            std::size_t matched = 0;
            for (auto const& [key, tensor] : ours) {
                auto const* theirs = yolo::find(official.model, key);
                CAPTURE(key);
                REQUIRE(theirs != nullptr);
                CHECK(theirs->sizes() == tensor.sizes());
                CHECK(support::relative_error(theirs->to(torch::kFloat), tensor) < 1e-6);
                ++matched;
            }
            CHECK(matched == 349);
            CHECK(matched + (std::string(file).find("v6.0") != std::string::npos ? 1 : 0) ==
                  official.model.size());
        }
    }
}
