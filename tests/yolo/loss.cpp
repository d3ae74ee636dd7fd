#include <support/doctest.hpp>

#include <yolo/loss/loss.hpp>
#include <yolo/train/ema.hpp>
#include <yolo/train/optimizer.hpp>

#include <random>

using namespace yolo;
using torch::Tensor;

namespace {

using Predictions = std::array<Tensor, 3>;

Predictions golden_predictions(std::map<std::string, Tensor> const& golden) {
    Predictions raw;
    for (std::size_t l = 0; l < 3; ++l)
        raw[l] = golden.at("pred" + std::to_string(l)).clone().set_requires_grad(true);
    return raw;
}

YoloV5Options small_network(std::int64_t classes) {
    YoloV5Options options;
    options.classes = classes;
    return options;
}

/// Logits of a few images of 64 px in double, so that differences say something.
Predictions some_predictions(std::int64_t classes, std::int64_t images = 2) {
    torch::manual_seed(3);
    Predictions raw;
    for (std::size_t l = 0; l < 3; ++l)
        raw[l] = torch::randn({images, 3, 64 / strides[l], 64 / strides[l], 5 + classes}, torch::kDouble)
                     .set_requires_grad(true);
    return raw;
}

/// Boxes far enough from each other that no two share a cell.
Tensor some_targets() {
    return torch::tensor({{0.f, 1.f, 0.20f, 0.22f, 0.25f, 0.30f},
                          {0.f, 0.f, 0.80f, 0.71f, 0.30f, 0.40f},
                          {1.f, 2.f, 0.30f, 0.70f, 0.40f, 0.35f}});
}

/// d total / d value by central differences, at one place.
double difference(DetectionLoss const& loss, Predictions const& raw, Tensor const& targets, double* value) {
    constexpr double step = 1e-5;
    auto const at = *value;
    *value = at + step;
    auto const above = loss(raw, targets).total.item<double>();
    *value = at - step;
    auto const below = loss(raw, targets).total.item<double>();
    *value = at;
    return (above - below) / (2 * step);
}

std::vector<TargetRow> rows(Tensor const& targets) {
    std::vector<TargetRow> out;
    for (std::int64_t i = 0; i < targets.size(0); ++i) {
        auto const r = targets.accessor<float, 2>()[i];
        out.push_back({r[0], r[1], r[2], r[3], r[4], r[5]});
    }
    return out;
}

struct BlockImpl : torch::nn::Module {
    torch::nn::Conv2d conv = register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 4, 1)));
    torch::nn::BatchNorm2d bn = register_module("bn", torch::nn::BatchNorm2d(4));
    Tensor forward(Tensor x) { return bn(conv(x)); }
};
struct TwoBlocks : torch::nn::Module {
    std::shared_ptr<BlockImpl> first = register_module("first", std::make_shared<BlockImpl>());
    std::shared_ptr<BlockImpl> second = register_module("second", std::make_shared<BlockImpl>());
};

ScheduleOptions golden_schedule() {
    ScheduleOptions options;
    options.epochs = 20;
    options.batches_per_epoch = 47;
    options.batch_size = 32;
    options.lr0 = options.lrf = 0.001;
    options.warmup_bias_lr = 0.01;
    return options;
}

}  // namespace

TEST_SUITE("shared") {

    TEST_CASE("The loss, its items and its gradients are the reference's") {
        NEEDS_SHARED("golden/loss.pt");
        auto const golden = support::golden("loss.pt");
        auto const raw = golden_predictions(golden);
        auto const result = DetectionLoss({}, Hyperparameters{})(raw, golden.at("targets"));
        CHECK(support::relative_error(result.total, golden.at("loss")) < 1e-4);
        CHECK(support::relative_error(result.items, golden.at("items_box_obj_cls")) < 1e-4);
        result.total.backward();
        for (std::size_t l = 0; l < 3; ++l)
            CHECK(support::relative_error(raw[l].grad(), golden.at("grad" + std::to_string(l))) < 1e-4);
    }

    TEST_CASE("Label smoothing and focal loss are the reference's") {
        NEEDS_SHARED("golden/loss.pt");
        auto const golden = support::golden("loss.pt");
        auto const raw = golden_predictions(golden);
        Hyperparameters smooth, focal;
        smooth.label_smoothing = 0.1;
        focal.fl_gamma = 1.5;
        auto const targets = golden.at("targets");
        for (auto const& [hyp, key] :
             {std::pair{smooth, "items_smoothing_0.1"}, std::pair{focal, "items_focal_1.5"}}) {
            auto const items = DetectionLoss({}, hyp)(raw, targets).items;
            for (int i = 0; i < 3; ++i)
                CHECK(items[i].item<double>() ==
                      doctest::Approx(golden.at(key)[i].item<double>()).epsilon(1e-4));
        }
    }

    TEST_CASE("Boxes are assigned to the reference's cells and anchors, in its order") {
        NEEDS_SHARED("golden/loss.pt");
        auto const golden = support::golden("loss.pt");
        auto const targets = rows(golden.at("targets"));
        for (std::size_t l = 0; l < 3; ++l) {
            CAPTURE(l);
            auto const key = std::to_string(l);
            auto const shape = golden.at("pred" + key).sizes();
            std::array<AnchorBox, 3> anchors;
            for (std::size_t a = 0; a < 3; ++a) {
                auto const pair =
                    golden.at("anchors")[static_cast<std::int64_t>(l)][static_cast<std::int64_t>(a)];
                anchors[a] = {pair[0].item<float>(), pair[1].item<float>()};
                CHECK(anchors[a].width * static_cast<float>(strides[l]) ==
                      coco_anchors[l][a].width);  // in cells
            }
            auto const positives = assign_targets(targets, anchors, {shape[0], shape[2], shape[3]}, 80, 4.f);
            auto const index = golden.at("index" + key), box = golden.at("tbox" + key),
                       anchor = golden.at("anch" + key), cls = golden.at("tcls" + key);
            REQUIRE(static_cast<std::int64_t>(positives.size()) == cls.size(0));
            for (std::size_t i = 0; i < positives.size(); ++i) {
                auto const& p = positives[i];
                auto const n = static_cast<std::int64_t>(i);
                CHECK(torch::equal(index.select(1, n), torch::tensor({p.image, p.anchor, p.row, p.column})));
                CHECK(p.cls == cls[n].item<std::int64_t>());
                CHECK(torch::allclose(box[n], torch::tensor({p.x, p.y, p.width, p.height}), 1e-6, 1e-6));
                CHECK(torch::equal(anchor[n], torch::tensor({p.anchor_width, p.anchor_height})));
            }
        }
    }

    TEST_CASE("Rates, momentum, accumulation and the averaging's decay are the reference's") {
        NEEDS_SHARED("golden/schedule.pt");
        auto const golden = support::golden("schedule.pt");
        auto const table = golden.at("rows_epoch_iter_lrbias_lrw_lrbn_momentum_accumulate");
        auto const row = table.accessor<double, 2>();
        auto const same = [](double a, double b) { return std::abs(a - b) <= 1e-12 * std::abs(b); };
        auto const options = golden_schedule();
        REQUIRE(row.size(0) == 20 * 47);
        for (int i = 0; i < 20 * 47; ++i) {
            CAPTURE(i);
            REQUIRE(row[i][0] == i / 47);
            auto const rates = rates_at(options, i / 47, i % 47);
            CHECK(same(rates.bias_lr, row[i][2]));
            CHECK(same(rates.weight_lr, row[i][3]));
            CHECK(same(rates.norm_lr, row[i][4]));
            CHECK(same(rates.momentum, row[i][5]));
            CHECK(rates.accumulate == static_cast<int>(row[i][6]));
        }
        auto const cosine = golden.at("cosine_factor");
        for (int e = 0; e < 20; ++e)
            CHECK(same(rate_factor(RateDecay::cosine, e, 20, options.lrf), cosine[e].item<double>()));
        auto const decay = golden.at("ema_decay_updates_1_to_4000");
        for (int u = 1; u <= 4000; ++u) CHECK(same(ema_decay(u), decay[u - 1].item<double>()));
    }

}  // TEST_SUITE

TEST_CASE("Without targets only the objectness is a loss") {
    for (auto const& targets : {torch::zeros({0, 6}), torch::tensor({{0.f, 0.f, 0.5f, 0.5f, 1e-4f, 0.9f}})}) {
        auto const raw = some_predictions(3);
        auto const result = DetectionLoss(small_network(3), Hyperparameters{})(raw, targets);
        CHECK(result.items[0].item<double>() == 0);
        CHECK(result.items[1].item<double>() > 0);
        CHECK(result.items[2].item<double>() == 0);
        result.total.backward();
        for (auto const& level : raw) {
            CHECK(level.grad().select(4, 4).abs().min().item<double>() > 0);
            CHECK(level.grad().narrow(4, 0, 4).abs().max().item<double>() == 0);
        }
    }
}

TEST_CASE("Items are positive, their sum times the images is the total, and they carry no gradient") {
    auto const result =
        DetectionLoss(small_network(3), Hyperparameters{})(some_predictions(3), some_targets());
    CHECK(result.items.min().item<double>() > 0);
    CHECK(result.total.item<double>() == doctest::Approx(2 * result.items.sum().item<double>()));
    CHECK_FALSE(result.items.requires_grad());
    CHECK(result.total.dim() == 0);
}

TEST_CASE("One class has no class loss") {
    auto targets = some_targets();
    targets.select(1, 1).fill_(0);
    auto const result = DetectionLoss(small_network(1), Hyperparameters{})(some_predictions(1), targets);
    CHECK(result.items[2].item<double>() == 0);
    CHECK(result.items[0].item<double>() > 0);
}

TEST_CASE("The order of the targets does not matter where no two want the same cell and anchor") {
    auto const raw = some_predictions(3);
    DetectionLoss const loss(small_network(3), Hyperparameters{});
    auto const one = loss(raw, some_targets()).total.item<double>();
    CHECK(loss(raw, some_targets().flip(0)).total.item<double>() == doctest::Approx(one).epsilon(1e-12));
}

TEST_CASE("Of positives that share a cell and anchor the last says how much objectness is wanted") {
    auto const twice =
        torch::tensor({{0.f, 1.f, 0.3f, 0.3f, 0.3f, 0.3f}, {0.f, 2.f, 0.3f, 0.3f, 0.4f, 0.4f}});
    std::array<AnchorBox, 3> const anchors{{{2, 2}, {100, 100}, {100, 100}}};
    LevelShape const shape{1, 8, 8};
    auto const positives = assign_targets(rows(twice), anchors, shape, 3, 4.f);
    auto const last = last_of_cell(positives, shape);
    REQUIRE(positives.size() == 6);  // a cell and two neighbours, twice
    CHECK(last == std::vector<std::int64_t>{1, 1, 3, 3, 5, 5});
}

TEST_CASE("A box is wanted in the cell of its centre and the nearest neighbours within the grid") {
    std::array<AnchorBox, 3> const anchors{{{2, 2}, {9, 9}, {0.4f, 0.4f}}};
    auto const cells = [&](float x, float y) {
        std::vector<TargetRow> const target{{0, 0, x / 8, y / 8, 2.f / 8, 2.f / 8}};
        std::vector<std::pair<std::int64_t, std::int64_t>> out;
        for (auto const& p : assign_targets(target, anchors, {1, 8, 8}, 1, 4.f)) {
            CHECK(p.anchor == 0);  // the others differ by more than a factor of 4
            CHECK(p.x == doctest::Approx(x - static_cast<float>(p.column)));
            out.emplace_back(p.column, p.row);
        }
        return out;
    };
    using Cells = std::vector<std::pair<std::int64_t, std::int64_t>>;
    CHECK(cells(3.25f, 4.75f) == Cells{{3, 4}, {2, 4}, {3, 5}});
    CHECK(cells(0.25f, 7.75f) == Cells{{0, 7}});  // both neighbours lie outside
    CHECK(cells(3.5f, 4.5f) == Cells{{3, 4}});    // the middle has no nearest neighbour
}

TEST_CASE("A target of an image or class that does not exist is an error that names it") {
    DetectionLoss const loss(small_network(3), Hyperparameters{});
    auto const raw = some_predictions(3);
    auto wrong_class = some_targets(), wrong_image = some_targets();
    wrong_class[0][1] = 3;
    wrong_image[0][0] = 2;
    CHECK_THROWS_WITH_AS(loss(raw, wrong_class), doctest::Contains("3 classes"), std::runtime_error);
    CHECK_THROWS_WITH_AS(loss(raw, wrong_image), doctest::Contains("batch of 2"), std::runtime_error);
    CHECK_THROWS(loss(raw, torch::zeros({2, 5})));
    CHECK_THROWS(DetectionLoss(small_network(4), Hyperparameters{})(raw, some_targets()));
}

TEST_CASE("The gradients of objectness and classes are those of the differences") {
    auto const raw = some_predictions(3);
    for (double gamma : {0.0, 1.5}) {
        Hyperparameters hyp;
        hyp.box = 0;
        hyp.cls_pw = 1.3;
        hyp.obj_pw = 0.7;
        hyp.fl_gamma = gamma;
        hyp.label_smoothing = 0.1;
        DetectionLoss const loss(small_network(3), hyp);
        for (auto const& level : raw) level.mutable_grad() = Tensor();
        loss(raw, some_targets()).total.backward();
        std::mt19937 engine(1);
        for (auto const& level : raw)
            for (int k = 0; k < 40; ++k) {
                auto const at = static_cast<std::int64_t>(engine() % static_cast<unsigned>(level.numel()));
                if (at % 8 < 4) continue;  // a box is wanted as it is: no gradient by definition
                auto* value = level.data_ptr<double>() + at;
                auto const expected = difference(loss, raw, some_targets(), value);
                CHECK(level.grad().flatten()[at].item<double>() == doctest::Approx(expected).epsilon(1e-5));
            }
    }
}

TEST_CASE("The gradient of a box is that of the differences where the aspect ratio is right") {
    // with v = 0 the constant alpha has no influence
    auto const a =
        torch::tensor({{1.0, 1.2, 2.0, 3.0}, {4.0, 4.0, 1.0, 1.0}}, torch::kDouble).set_requires_grad(true);
    auto const b = torch::tensor({{1.5, 1.0, 4.0, 6.0}, {9.0, 9.5, 3.0, 3.0}}, torch::kDouble);
    complete_iou(a, b).sum().backward();
    torch::NoGradGuard no_grad;
    for (std::int64_t i = 0; i < 8; ++i) {
        auto* value = a.data_ptr<double>() + i;
        auto const at = *value;
        *value = at + 1e-6;
        auto const above = complete_iou(a, b).sum().item<double>();
        *value = at - 1e-6;
        auto const below = complete_iou(a, b).sum().item<double>();
        *value = at;
        CHECK(a.grad().flatten()[i].item<double>() == doctest::Approx((above - below) / 2e-6).epsilon(1e-5));
    }
}

TEST_CASE("Complete IoU is 1 for equal boxes, falls with distance, and survives empty ones") {
    auto const box = torch::tensor({{5.f, 5.f, 2.f, 4.f}});
    CHECK(complete_iou(box, box).item<float>() == doctest::Approx(1));
    auto const near = torch::tensor({{8.f, 5.f, 2.f, 4.f}}), far = torch::tensor({{20.f, 5.f, 2.f, 4.f}});
    CHECK(complete_iou(near, box).item<float>() < 0);
    CHECK(complete_iou(far, box).item<float>() < complete_iou(near, box).item<float>());
    CHECK(complete_iou(far, box).item<float>() > -1.5);
    auto const empty = torch::tensor({{5.f, 5.f, 0.f, 0.f}}).set_requires_grad(true);
    auto const overlap = complete_iou(empty, box);
    overlap.sum().backward();
    CHECK(torch::isfinite(overlap).all().item<bool>());
    CHECK(torch::isfinite(empty.grad()).all().item<bool>());
}

TEST_CASE("The memory layout of the predictions does not matter, and the gradient keeps it") {
    auto const raw = some_predictions(3);
    DetectionLoss const loss(small_network(3), Hyperparameters{});
    auto const expected = loss(raw, some_targets());
    expected.total.backward();
    Predictions images, permuted;  // [N, 3, 5 + C, H, W], as a convolution leaves them
    for (std::size_t l = 0; l < 3; ++l) {
        images[l] = raw[l].detach().permute({0, 1, 4, 2, 3}).contiguous().set_requires_grad(true);
        permuted[l] = images[l].permute({0, 1, 3, 4, 2});
    }
    auto const result = loss(permuted, some_targets());
    CHECK(torch::equal(result.items, expected.items));
    result.total.backward();
    for (std::size_t l = 0; l < 3; ++l) {
        CHECK(images[l].grad().is_contiguous());
        CHECK(torch::allclose(images[l].grad().permute({0, 1, 3, 4, 2}), raw[l].grad()));
    }
}

TEST_CASE("Gathering has the gradient of indexing, cells that occur twice included") {
    torch::manual_seed(5);
    auto const x = torch::randn({2, 3, 4, 5, 7}, torch::kDouble).set_requires_grad(true);
    auto const at = torch::tensor({{0, 1, 1, 1}, {2, 0, 0, 1}, {3, 1, 1, 0}, {4, 2, 2, 0}}, torch::kLong);
    auto const rows_weight = torch::randn({4, 7}, torch::kDouble),
               cells_weight = torch::randn({2, 3, 4, 5}, torch::kDouble);
    auto const sum = [&](Tensor const& rows, Tensor const& cells) {
        return (rows * rows_weight).sum() + (cells * cells_weight).sum();
    };
    auto const expected =
        torch::autograd::grad({sum(x.index({at[0], at[1], at[2], at[3]}), x.select(4, 4))}, {x})[0];
    auto const read = Gather::apply(x, at);
    CHECK(torch::allclose(torch::autograd::grad({sum(read[0], read[1])}, {x})[0], expected));
}

TEST_CASE("Half precision predictions give a float loss close to the float one") {
    auto const raw = some_predictions(3);
    Predictions half;
    for (std::size_t l = 0; l < 3; ++l)
        half[l] = raw[l].detach().to(torch::kBFloat16).set_requires_grad(true);
    DetectionLoss const loss(small_network(3), Hyperparameters{});
    auto const result = loss(half, some_targets());
    CHECK(result.total.dtype() == torch::kFloat);
    CHECK(support::relative_error(result.items, loss(raw, some_targets()).items) < 1e-2);
    result.total.backward();
    CHECK(half[0].grad().dtype() == torch::kBFloat16);
}

TEST_CASE("Gains are scaled by classes, image size and levels") {
    Hyperparameters const hyp;
    auto const same = scaled_for(hyp, 80, 640);
    CHECK(same.box == hyp.box);
    CHECK(same.cls == hyp.cls);
    CHECK(same.obj == hyp.obj);
    auto const scaled = scaled_for(hyp, 20, 320, 4);
    CHECK(scaled.box == doctest::Approx(hyp.box * 0.75));
    CHECK(scaled.cls == doctest::Approx(hyp.cls * 0.25 * 0.75));
    CHECK(scaled.obj == doctest::Approx(hyp.obj * 0.25 * 0.75));
}

TEST_CASE("The warm-up is monotone and ends where the schedule goes on") {
    auto options = golden_schedule();
    for (auto decay : {RateDecay::linear, RateDecay::cosine}) {
        options.decay = decay;
        options.lrf = 1;  // without decay the target does not move
        auto last = rates_at(options, 0, 0);
        CHECK(last.weight_lr == 0);
        CHECK(last.bias_lr == options.warmup_bias_lr);
        CHECK(last.momentum == options.warmup_momentum);
        CHECK(last.accumulate == 1);
        for (int i = 1; i <= 141; ++i) {
            auto const now = rates_at(options, i / 47, i % 47);
            CHECK(now.weight_lr > last.weight_lr);
            CHECK(now.bias_lr < last.bias_lr);
            CHECK(now.momentum > last.momentum);
            CHECK(now.accumulate >= last.accumulate);
            last = now;
        }
        CHECK(last.weight_lr == options.lr0);
        CHECK(last.bias_lr == options.lr0);
    }
    CHECK(warmup_steps(3, 10) == 100);
    CHECK(warmup_steps(0.5, 1001) == 500);  // Python rounds half to even
    CHECK(full_accumulation(16) == 4);
    CHECK(full_accumulation(128) == 1);
    CHECK(scaled_weight_decay(5e-4, 16) == doctest::Approx(5e-4));
    CHECK(scaled_weight_decay(5e-4, 128) == doctest::Approx(1e-3));
}

TEST_CASE("Parameters are grouped: biases, weights with decay, weights of batch norm") {
    TwoBlocks model;
    model.register_module("again", model.first);  // a shared module counts once
    auto const groups = parameter_groups(model);
    CHECK(groups[0].size() == 4);
    CHECK(groups[1].size() == 2);
    CHECK(groups[2].size() == 2);
    for (auto kind : {OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::adamw}) {
        auto const optimizer =
            make_optimizer(model, {.kind = kind, .lr = 0.1, .momentum = 0.9, .weight_decay = 0.5});
        REQUIRE(optimizer->param_groups().size() == 3);
        auto const decay = [&](std::size_t g) {
            auto& options = optimizer->param_groups()[g].options();
            if (kind == OptimizerKind::sgd)
                return static_cast<torch::optim::SGDOptions&>(options).weight_decay();
            if (kind == OptimizerKind::adam)
                return static_cast<torch::optim::AdamOptions&>(options).weight_decay();
            return static_cast<torch::optim::AdamWOptions&>(options).weight_decay();
        };
        CHECK(decay(0) == 0);
        CHECK(decay(1) == 0.5);
        CHECK(decay(2) == 0);
        StepSchedule const schedule(*optimizer, golden_schedule());
        auto const rates = schedule(1, 3);
        CHECK(optimizer->param_groups()[0].options().get_lr() == rates.bias_lr);
        CHECK(optimizer->param_groups()[1].options().get_lr() == rates.weight_lr);
        CHECK(optimizer->param_groups()[2].options().get_lr() == rates.norm_lr);
        if (kind == OptimizerKind::sgd)
            CHECK(static_cast<torch::optim::SGDOptions&>(optimizer->param_groups()[2].options()).momentum() ==
                  rates.momentum);
    }
}

TEST_CASE("A step of Nesterov's SGD is the one of the formula") {
    TwoBlocks model;
    auto const weight = model.first->conv->weight;
    auto const optimizer = make_optimizer(model, {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.5});
    auto expected = weight.detach().clone(), velocity = torch::zeros_like(weight);
    for (int step = 0; step < 3; ++step) {
        auto const gradient = torch::full_like(weight, 1.0 + step);
        weight.mutable_grad() = gradient.clone();
        optimizer->step();
        auto const pull = gradient + 0.5 * expected;
        velocity = 0.9 * velocity + pull;
        expected = expected - 0.1 * (pull + 0.9 * velocity);
    }
    CHECK(support::relative_error(weight.detach(), expected) < 1e-6);
}

TEST_CASE("The average follows parameters and floating buffers, and copies integers") {
    TwoBlocks average, model;
    {
        torch::NoGradGuard no_grad;
        for (auto& p : model.parameters()) p.fill_(3);
        for (auto& p : average.parameters()) p.fill_(1);
        for (auto& b : model.buffers()) b.fill_(7);
        for (auto& b : average.buffers()) b.fill_(5);
    }
    Ema ema(average);
    ema.set_updates(1999);
    ema.update(model);
    auto const decay = ema_decay(2000);
    CHECK(ema.updates() == 2000);
    CHECK(average.first->conv->weight.min().item<double>() == doctest::Approx(1 * decay + 3 * (1 - decay)));
    CHECK(average.second->bn->running_var.max().item<double>() ==
          doctest::Approx(5 * decay + 7 * (1 - decay)));
    CHECK(average.second->bn->num_batches_tracked.item<std::int64_t>() == 7);
    CHECK(model.first->conv->weight.max().item<double>() == 3);
    CHECK_FALSE(average.first->conv->weight.requires_grad());
    BlockImpl other;
    CHECK_THROWS(ema.update(other));
}
