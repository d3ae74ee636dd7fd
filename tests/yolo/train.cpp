// The training loop's promises. (Single steps against the reference: steps.cpp.)

#include "support/doctest.hpp"
#include <support/files.hpp>

#include <yolo/data/shapes.hpp>
#include <yolo/experiments.hpp>
#include <yolo/io/dataset_yaml.hpp>
#include <yolo/model/typed_detector.hpp>
#include <yolo/train/run_folder.hpp>
#include <yolo/train/trainer.hpp>

namespace {
namespace ex = yolo::experiments;
using qat::Quantizer;

yolo::Size const tiny{0.33, 0.125};

// A few drawn images as a data set on disk, and loaders of it.
struct Drawn {
    support::TemporaryFolder folder;
    yolo::DatasetOptions set;
    yolo::Dataset train_images, val_images;

    explicit Drawn(int train = 12, int val = 6)
        : set(draw(folder / "shapes", train, val)), train_images(set.train, 5), val_images(set.val, 5) {}

    yolo::Loader training(bool augment = true) const {
        yolo::LoaderOptions o;
        o.image_size = 64, o.batch_size = 4, o.workers = 0, o.augment = augment, o.shuffle = true;
        return {train_images, o};
    }
    yolo::Loader validation() const { return {val_images, yolo::validation_loader(64, 4, 0)}; }

private:
    static yolo::DatasetOptions draw(std::filesystem::path const& folder, int train, int val) {
        yolo::ShapesOptions o;
        o.train = train, o.val = val, o.size_px = 64, o.most_objects = 3;
        yolo::write_shapes(folder, o);
        return yolo::load_dataset_yaml(folder / "shapes.yaml");
    }
};

// What a network says about an image that is always the same.
yolo::Logits logits_of(yolo::Detector& detector) {
    torch::NoGradGuard no_grad;
    detector.module().eval();
    return detector(torch::linspace(0, 1, 3 * 64 * 64).view({1, 3, 64, 64}));
}
bool same(yolo::Logits const& a, yolo::Logits const& b) {
    return torch::equal(a[0], b[0]) && torch::equal(a[1], b[1]) && torch::equal(a[2], b[2]);
}

template <class E> struct Run {
    bool const seeded = (torch::manual_seed(0), true);  // before the network is made
    yolo::ExperimentInfo info = yolo::experiment_info<E>();
    yolo::TypedDetector<typename E::arithmetic> detector{{.size = tiny, .classes = 5}};
    yolo::Manifest manifest;
    yolo::TrainerOptions options;
    std::vector<std::string> messages;
    std::vector<yolo::EpochReport> epochs;
    std::vector<yolo::StepReport> steps;
    yolo::Logits kept;  // of the network that training keeps
    std::optional<yolo::Checkpoint> resumed;

    explicit Run(Drawn const& data, char const* name) {
        options.folder = data.folder / name, options.epochs = 2, options.image_size = 64,
        options.batch_size = 4;
        options.ema = !info.quantized;
        std::filesystem::create_directories(options.folder);
        manifest.size = tiny, manifest.classes = 5, manifest.names = data.set.names;
    }
    yolo::Outcome train(yolo::Loader& train, yolo::Loader* val, std::atomic<bool>* stop = nullptr,
                        int stop_after = -1) {
        yolo::Trainer trainer(detector, info, manifest, options,
                              {.message = [&](auto const& m) { messages.push_back(m); },
                               .step =
                                   [&, stop, stop_after](auto const& s) {
            steps.push_back(s);
            if (stop && static_cast<int>(steps.size()) == stop_after) *stop = true;
                               },
                               .epoch = [&](auto const& e) { epochs.push_back(e); }},
                              stop);
        if (resumed) trainer.resume(*resumed, "last.pt");
        auto const outcome = trainer.run(train, val);
        kept = logits_of(trainer.kept());
        return outcome;
    }
    std::unique_ptr<yolo::Detector> reloaded(yolo::Checkpoint const& checkpoint) const {
        auto fresh = info.make({.size = tiny, .classes = 5});
        yolo::load_state(*fresh, checkpoint.model, yolo::Fit::exact, "last.pt");
        return fresh;
    }
    yolo::Checkpoint last() const { return yolo::load_checkpoint(options.folder / "weights/last.pt"); }
};
}  // namespace

TEST_CASE(
    "a run writes results.csv, last.pt and best.pt, and the kept network is the one that was validated") {
    Drawn data;
    auto train = data.training(), val = data.validation();
    Run<ex::relu> run(data, "relu");
    run.manifest.best_fitness = 0.9, run.manifest.epoch = 7;  // of the run whose weights it starts from
    CHECK(run.train(train, &val) == yolo::Outcome::finished);
    REQUIRE(run.epochs.size() == 2);
    CHECK(run.steps.size() == 6);
    CHECK(run.epochs[0].best);

    std::ifstream csv(run.options.folder / "results.csv");
    std::string header, row;
    std::getline(csv, header);
    CHECK(header.starts_with(
        "               epoch,      train/box_loss,      train/obj_loss,      train/cls_loss,"));
    CHECK(std::count(header.begin(), header.end(), ',') == 13);
    int rows = 0;
    for (; std::getline(csv, row); ++rows) CHECK(std::count(row.begin(), row.end(), ',') == 13);
    CHECK(rows == 2);

    auto const last = run.last();
    CHECK(last.manifest.experiment == "relu");
    CHECK(last.manifest.epoch == 1);
    CHECK(last.manifest.names == data.set.names);
    auto const reloaded = run.reloaded(last);
    CHECK(same(logits_of(*reloaded), run.kept));
    CHECK_FALSE(same(logits_of(run.detector), run.kept));  // the average is kept, not what was trained last
    yolo::DetectionLoss const loss(reloaded->options(), yolo::scaled_for(run.options.hyp, 5, 64));
    CHECK(yolo::validate(*reloaded, val, {}, &loss).loss == run.epochs[1].validation.loss);
    CHECK(std::filesystem::exists(run.options.folder / "weights/best.pt"));
}

TEST_CASE(
    "the schedule's switches happen at the planned steps, and a quantized run is reloaded bit for bit") {
    Drawn data;
    auto train = data.training(), val = data.validation();
    Run<ex::exp2> run(data, "exp2");
    CHECK(run.train(train, &val) == yolo::Outcome::finished);
    REQUIRE(run.messages.size() == 2);
    CHECK(run.messages[0] == "observers stop at step 3");  // 12 images, batch size 4: the end of epoch 0
    CHECK(run.messages[1] == "batch norm freezes at step 3");
    qat::nn::for_each_grid(run.detector.module(), [](auto& grid) { CHECK_FALSE(grid.observing); });

    CHECK(same(logits_of(*run.reloaded(run.last())), run.kept));
    CHECK(same(logits_of(run.detector), run.kept));

    auto const graph = run.detector.trace({1, 3, 64, 64});
    CHECK(qat::nn::misaligned_joins(graph).empty());
}

TEST_CASE("what the study ran stops after the first batch, which its text calls epoch 0") {
    Drawn data;
    auto train = data.training();
    Run<ex::exp2_as_run> run(data, "as-run");
    run.options.epochs = 1;
    run.train(train, nullptr);
    // More where what comes of it is told: "a grid that runs away is named".
    REQUIRE(run.messages.size() >= 2);
    CHECK(run.messages[0] == "observers stop at step 1");
    CHECK(run.messages[1] == "batch norm freezes at step 1");
}

TEST_CASE("an interrupted run leaves a usable last.pt and says so") {
    Drawn data;
    auto train = data.training();
    Run<ex::relu> run(data, "stopped");
    std::atomic<bool> stop{false};
    CHECK(run.train(train, nullptr, &stop, 4) == yolo::Outcome::interrupted);
    CHECK(run.steps.size() == 4);
    REQUIRE(run.messages.size() == 1);
    CHECK(run.messages[0].starts_with("interrupted in epoch 1"));
    auto const last = run.last();
    CHECK(last.manifest.epoch == 0);  // the last that was finished
    CHECK(same(logits_of(*run.reloaded(last)), run.kept));
}

TEST_CASE("frozen layers stay as they are") {
    Drawn data;
    auto train = data.training();
    Run<ex::relu> run(data, "frozen");
    run.options.freeze = {10}, run.options.epochs = 1, run.options.ema = false;
    run.options.hyp.warmup_epochs = 0;
    auto const before = yolo::state_of(run.detector);
    run.train(train, nullptr);
    auto const after = yolo::state_of(run.detector);
    int moved = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
        if (before[i].first.find(".bn.running") != std::string::npos ||
            before[i].first.find("num_batches") != std::string::npos)
            continue;
        bool const same = torch::equal(before[i].second, after[i].second);
        if (yolo::detail::layer_of(before[i].first) < 10)
            CHECK_MESSAGE(same, before[i].first);
        else
            moved += !same;
    }
    CHECK(moved > 50);
}

TEST_CASE("the loss of a few drawn images falls, in float and quantized") {
    Drawn data(4, 1);
    auto const falls = [&](auto& run) {
        auto train = data.training(/*augment=*/false);
        run.options.epochs = 120, run.options.ema = false, run.options.save = false;
        run.options.optimizer = yolo::OptimizerKind::adamw, run.options.hyp.lr0 = 0.003;
        run.options.hyp.momentum = 0.9, run.options.hyp.warmup_bias_lr = 0.003;
        run.options.hyp.warmup_epochs = 0;
        run.train(train, nullptr);
        auto const sum = [](auto const& l) { return l[0] + l[1] + l[2]; };
        CHECK(sum(run.epochs.back().loss) < 0.9 * sum(run.epochs.front().loss));
    };
    Run<ex::relu> in_float(data, "fall-float");
    falls(in_float);
    Run<ex::exp1::vary<"watching", qat::StopObservers<qat::never()>>> quantized(data, "fall-quantized");
    falls(quantized);
}

TEST_CASE("weights decay, biases and batch norm do not, in the typed networks too") {
    auto const sizes = [](torch::nn::Module& model) {
        std::vector<std::size_t> found;
        for (auto const& group : yolo::parameter_groups(model)) found.push_back(group.size());
        return found;  // biases, weights, batch norm, learned scales
    };
    yolo::TypedDetector<ex::relu::arithmetic> live({});
    CHECK(sizes(live.module()) == std::vector<std::size_t>{60, 60, 57, 0});
    yolo::TypedDetector<ex::stock::arithmetic> folded({});
    CHECK(sizes(folded.module()) == std::vector<std::size_t>{60, 60, 0, 0});
}

TEST_CASE("an averaged quantized network keeps its grids: scales stay powers of two") {
    Drawn data;
    auto train = data.training();
    Run<ex::exp2> run(data, "averaged");
    run.options.ema = true;
    run.train(train, nullptr);
    for (auto const& [key, tensor] : run.last().model) {
        if (!key.ends_with(".scale")) continue;
        auto const exponent = torch::log2(tensor);
        CHECK_MESSAGE(torch::equal(exponent, exponent.round()), key);
    }
}

TEST_CASE("a quantized run adds how its grids fare to results.csv, behind YOLOv5's columns") {
    Drawn data;
    auto train = data.training();
    Run<ex::exp2> run(data, "health");
    run.train(train, nullptr);
    std::ifstream csv(run.options.folder / "results.csv");
    std::string header, row;
    std::getline(csv, header);
    CHECK(std::count(header.begin(), header.end(), ',') == 18);
    CHECK(header.ends_with("x/lr2,     qat/scale_drift, qat/scale_drift_max,       qat/clip_rate,   "
                           "qat/clip_rate_max,     qat/oscillation"));
    while (std::getline(csv, row)) CHECK(std::count(row.begin(), row.end(), ',') == 18);
    REQUIRE(run.epochs[1].grids.has_value());
    auto const& health = *run.epochs[1].grids;
    CHECK(health.scale_drift_max == 0);  // observers stopped at the end of epoch 0
    CHECK(health.clip_rate > 0);         // weights have moved since
    CHECK(health.clip_rate <= health.clip_rate_max);
    CHECK(health.clip_rate_max <= 1);

    Run<ex::exp1::vary<"watching", qat::StopObservers<qat::never()>>> watching(data, "watching");
    watching.train(train, nullptr);
    CHECK(watching.epochs[0].grids->scale_drift_max == 0);  // there is no epoch before
    CHECK(watching.epochs[1].grids->scale_drift_max >= 1);  // powers of two move by octaves
    CHECK(watching.epochs[1].grids->scale_drift > 0);
    CHECK(watching.epochs[1].grids->scale_drift < watching.epochs[1].grids->scale_drift_max);

    Run<ex::relu> in_float(data, "float");
    in_float.train(train, nullptr);
    CHECK_FALSE(in_float.epochs[0].grids.has_value());

    auto const older = data.folder / "older.csv";  // a run from before there were such columns
    yolo::EpochReport report;
    yolo::append_results(older, report);
    report.grids.emplace();
    yolo::append_results(older, report);
    std::ifstream rows(older);
    while (std::getline(rows, row)) CHECK(std::count(row.begin(), row.end(), ',') == 13);
}

TEST_CASE("a grid that runs away is named") {
    torch::manual_seed(0);
    yolo::TypedDetector<ex::exp1::arithmetic> detector({.size = tiny, .classes = 5});
    auto& model = detector.module();
    auto const images = torch::rand({2, 3, 64, 64});
    // Statistics of these images, then grids that fit them.
    qat::nn::set_mode(model, qat::nn::GridMode::bypass);
    qat::nn::reestimate_batch_norm(model, 1, [&] { return detector(images), true; });
    qat::nn::observe_once(model, [&] { detector(images); });
    detector(images);
    std::vector<std::string> said;
    auto const end_of_epoch = [&](yolo::StabilityTools& tools) {
        said.clear();
        return tools.end_of_epoch(images, [&](auto const& text) { said.push_back(text); });
    };
    yolo::StabilityTools tools(detector, {});
    end_of_epoch(tools);
    CHECK(said.empty());
    model.named_buffers()["backbone.down2.output.scale"].mul_(1.0 / 4096);
    auto const health = end_of_epoch(tools);
    REQUIRE(said.size() == 2);
    CHECK(said[0].starts_with("the range of backbone.down2.output has moved by 12.0 octaves"));
    CHECK(said[1].starts_with("backbone.down2.output clips "));
    CHECK(health.clip_rate_max > 0.1);
    CHECK(health.scale_drift_max == 12);
    CHECK(model.is_training());
}

namespace {
using LearnedSteps = ex::exp1::vary<
    "steps", qat::Weights<ex::ShiftWeights::vary<qat::TrainedThreshold>>,
    qat::Outputs<Quantizer<ex::Int<8>, ex::PerTensorSymmetric, ex::MovingAverageMinMax<>, qat::LearnedStep>>,
    ex::AlignInputs, ex::StopObservers<qat::never()>>;
using Steady =
    ex::exp2::vary<"steady", qat::FreezeOscillation<std::ratio<1, 1000>>, qat::ReestimateBatchNorm<2>>;
using Dampened = ex::exp2::vary<"dampened", qat::DampenOscillation<std::ratio<1, 100>>>;
}  // namespace

TEST_CASE("learned scales are a group of their own, with their own rate and without decay") {
    Drawn data;
    auto train = data.training();
    Run<LearnedSteps> run(data, "learned");
    auto& model = run.detector.module();
    auto const groups = yolo::parameter_groups(model);
    CHECK(groups[0].size() == 60);
    CHECK(groups[1].size() == 60);
    CHECK(groups[2].size() == 57);
    std::size_t learned = 0;
    for (auto const& item : model.named_parameters())
        if (item.key().ends_with(".step") || item.key().ends_with(".log2_threshold")) {
            ++learned;
            CHECK(std::any_of(groups[3].begin(), groups[3].end(),
                              [&](auto const& p) { return p.is_same(item.value()); }));
        }
    CHECK(learned == groups[3].size());
    CHECK(learned > 60);

    for (auto kind : {yolo::OptimizerKind::sgd, yolo::OptimizerKind::adam, yolo::OptimizerKind::adamw}) {
        auto const optimizer = yolo::make_optimizer(model, {.kind = kind, .weight_decay = 0.5});
        REQUIRE(optimizer->param_groups().size() == 4);
        if (kind == yolo::OptimizerKind::sgd)
            CHECK(static_cast<torch::optim::SGDOptions&>(optimizer->param_groups()[3].options())
                      .weight_decay() == 0);
        yolo::StepSchedule const schedule(*optimizer,
                                          {.epochs = 100, .batches_per_epoch = 100, .quantizer_lr = 0.25});
        auto const rates = schedule(50, 7);
        CHECK(optimizer->param_groups()[3].options().get_lr() == doctest::Approx(rates.weight_lr / 4));
        CHECK(schedule(0, 0).quantizer_lr == 0);  // warm-up
    }

    run.options.ema = true, run.options.hyp.quantizer_lr = 1;
    auto val = data.validation();
    CHECK(run.train(train, &val) == yolo::Outcome::finished);
    CHECK(same(logits_of(*run.reloaded(run.last())), run.kept));
    for (auto const& item : run.last().model)
        if (item.first.ends_with("weight_grid.scale")) {
            auto const exponent = torch::log2(item.second);
            CHECK_MESSAGE(torch::equal(exponent, exponent.round()), item.first);
        }
}

TEST_CASE("the average of learned scales is taken between their logarithms, and its grids follow") {
    using Step = Quantizer<ex::Int<8>, ex::PerTensorSymmetric, ex::MovingAverageMinMax<>, qat::LearnedStep>;
    using Threshold = ex::ShiftOutputs::vary<qat::TrainedThreshold>;
    struct Grids : torch::nn::Module {
        qat::nn::FakeQuantize<Step> output;
        qat::nn::FakeQuantize<Threshold> weight_grid;
        Grids() {
            register_module("output", output.ptr()), register_module("weight_grid", weight_grid.ptr());
        }
        void start(float reach) {
            for (qat::nn::Grid* g :
                 {static_cast<qat::nn::Grid*>(output.get()), static_cast<qat::nn::Grid*>(weight_grid.get())})
                g->forward(torch::tensor({-reach, reach}));
        }
    } model, average;  // on the stack, which modules(include_self) does not allow
    model.start(4.0f);
    yolo::Ema ema(average);
    ema.set_updates(1999);
    ema.update(model);  // the average has not started: it takes what is there
    CHECK(torch::equal(average.output->learned(), model.output->learned()));
    CHECK(torch::equal(average.output->scale, model.output->scale));

    auto const set = [](qat::nn::Grid& grid, double value) {
        torch::NoGradGuard no_grad;
        grid.learned().fill_(value);
        grid.refresh();
    };
    set(*average.output, 0.125), set(*model.output, 2.0);
    set(*average.weight_grid, -3.5), set(*model.weight_grid, 0.5);
    ema.set_updates(1999);
    ema.update(model);
    double const weight = 1 - yolo::ema_decay(2000);
    CHECK(average.output->learned().item<double>() == doctest::Approx(std::exp2(-3 + 4 * weight)));
    CHECK(average.output->scale.item<double>() == doctest::Approx(std::exp2(-3 + 4 * weight)));
    CHECK(average.weight_grid->learned().item<double>() == doctest::Approx(-3.5 + 4 * weight));
    CHECK(average.weight_grid->scale.item<double>() == std::exp2(std::ceil(-3.5 + 4 * weight)) / 128);

    set(*model.output, -1);  // training has pushed it beyond 0
    ema.update(model);
    CHECK(average.output->learned().item<double>() == -1);
    CHECK(average.output->scale.item<double>() > 0);
}

TEST_CASE("batch norm is re-estimated after the last epoch, before it is validated and kept; a run that "
          "froze weights resumes") {
    Drawn data;
    auto train = data.training(), val = data.validation();
    Run<Steady> run(data, "steady");
    CHECK(run.train(train, &val) == yolo::Outcome::finished);
    CHECK(run.messages.back() == "batch norm re-estimated from 2 batches");
    auto const last = run.last();
    for (auto const& [key, tensor] : last.model)
        if (key.ends_with("num_batches_tracked")) CHECK_MESSAGE(tensor.item<std::int64_t>() == 2, key);
    auto const reloaded = run.reloaded(last);
    CHECK(same(logits_of(*reloaded), run.kept));
    yolo::DetectionLoss const loss(reloaded->options(), yolo::scaled_for(run.options.hyp, 5, 64));
    CHECK(yolo::validate(*reloaded, val, {}, &loss).loss == run.epochs[1].validation.loss);

    run.options.epochs = 4, run.resumed = last;
    run.messages.clear();
    CHECK(run.train(train, &val) == yolo::Outcome::finished);
    CHECK(run.epochs.back().epoch == 3);
    CHECK(run.messages.back() == "batch norm re-estimated from 2 batches");
}

TEST_CASE("dampening is wired: its strength follows the progress and the images of a step") {
    yolo::ExperimentInfo const info = yolo::experiment_info<Dampened>();
    CHECK(info.stability.dampening == 0.01);
    CHECK(info.stability.freeze_threshold == 0);
    CHECK(yolo::experiment_info<Steady>().stability.freeze_threshold == 0.001);
    CHECK(yolo::experiment_info<ex::exp2>().stability.dampening == 0);

    torch::manual_seed(0);
    yolo::TypedDetector<Dampened::arithmetic> detector({.size = tiny, .classes = 5});
    auto& model = detector.module();
    auto const images = torch::rand({2, 3, 64, 64});
    qat::nn::observe_once(model, [&] { detector(images); });
    detector(images);
    yolo::StabilityTools tools(detector, info.stability);
    auto const weight = model.named_parameters()["backbone.down2.conv.weight"];
    tools.before_update(0.5, 64);
    auto const gradient = weight.grad().clone();
    CHECK(gradient.abs().max().item<double>() > 0);
    model.zero_grad();
    qat::nn::dampen(model, 0.01 * 0.5 * 64);
    CHECK(support::relative_error(gradient, weight.grad()) < 1e-6);

    Drawn data;
    auto train = data.training();
    Run<Dampened> run(data, "dampened");
    CHECK(run.train(train, nullptr) == yolo::Outcome::finished);
}

namespace {
bool same(yolo::StateDict const& a, yolo::StateDict const& b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (a[i].first != b[i].first || a[i].second.sizes() != b[i].second.sizes() ||
            !torch::allclose(a[i].second, b[i].second, /*rtol=*/0, /*atol=*/0, /*equal_nan=*/true)) {
            MESSAGE("differs: ", a[i].first);
            return false;
        }
    return true;
}

// Three epochs at once, against the same with the run taken down after `steps` micro-batches and built up again from
// last.pt alone.
template <class E> void resumes_exactly(int steps, auto const& change) {
    Drawn data;
    auto train = data.training(), val = data.validation();
    auto const make = [&](char const* name) {
        torch::manual_seed(5);
        auto run = std::make_unique<Run<E>>(data, name);
        run->options.epochs = 3, run->options.hyp.warmup_epochs = 0;
        run->options.batch_size = 64;  // as if: every micro-batch is a step
        change(run->options);
        return run;
    };
    auto const whole = make("whole");
    torch::manual_seed(7);
    REQUIRE(whole->train(train, &val) == yolo::Outcome::finished);

    auto const first = make("halves");
    std::atomic<bool> stop{false};
    torch::manual_seed(7);
    REQUIRE(first->train(train, &val, &stop, steps) == yolo::Outcome::interrupted);
    torch::manual_seed(99);  // what another process would have
    auto const second = make("halves");
    auto other_train = data.training(), other_val = data.validation();
    second->resumed = first->last();
    REQUIRE(second->train(other_train, &other_val) == yolo::Outcome::finished);

    auto const a = whole->last(), b = second->last();
    CHECK(same(a.model, b.model));
    CHECK(same(a.more, b.more));  // optimizer, average, observers, oscillation, thresholds, generator
    CHECK(a.manifest.best_fitness == b.manifest.best_fitness);
    CHECK(a.manifest.extra == b.manifest.extra);
    CHECK(support::read_file(whole->options.folder / "results.csv") ==
          support::read_file(second->options.folder / "results.csv"));
    auto const best = [](auto const& run) {
        return yolo::load_checkpoint(run.options.folder / "weights/best.pt").model;
    };
    CHECK(same(best(*whole), best(*second)));
}
}  // namespace

TEST_CASE("a float run that was interrupted, between epochs or within one, ends as if it had not been, bit "
          "for bit") {
    auto const nothing = [](auto&) {};
    resumes_exactly<ex::relu>(3, nothing);  // the end of epoch 0, which is not validated any more
    resumes_exactly<ex::relu>(9, nothing);
    resumes_exactly<ex::relu>(5, nothing);
    resumes_exactly<ex::relu>(5, [](auto& o) { o.image_weights = o.multi_scale = true; });
    resumes_exactly<ex::relu>(
        5, [](auto& o) { o.half = true; });  // the average in full, though half of it is kept
    resumes_exactly<ex::relu>(4, [](yolo::TrainerOptions& o) {
        o.optimizer = yolo::OptimizerKind::adamw, o.hyp.lr0 = 0.001, o.half = true;
        o.batch_size = 16;  // as if: gradients of four micro-batches wait for a step, also between epochs
    });
}

namespace {
using Late = ex::exp1::vary<
    "late", qat::QuantizeFrom<qat::after_steps(4), qat::after_steps(2)>,
    qat::Outputs<Quantizer<ex::Int<8>, ex::PerTensorSymmetric, ex::MovingAverageMinMax<>, qat::LearnedStep>>,
    ex::StopObservers<qat::after_steps(5)>, qat::FreezeThresholds<qat::after_steps(6)>,
    qat::FreezeBatchNorm<qat::after_steps(7), qat::Affine::frozen>>;
}

TEST_CASE("so does a quantized one: observers, oscillation, frozen weights, thresholds and their history") {
    resumes_exactly<ex::exp2>(2, [](auto&) {});
    resumes_exactly<ex::exp2>(6, [](auto& o) { o.ema = true; });
    resumes_exactly<Steady>(5, [](auto&) {});
    resumes_exactly<LearnedSteps>(4, [](yolo::TrainerOptions& o) {
        o.ema = true, o.hyp.quantizer_lr = 1, o.optimizer = yolo::OptimizerKind::adam, o.hyp.lr0 = 0.001;
    });
    using Narrowing = ex::exp1::vary<
        "narrowing",
        qat::StepBits<qat::BitsStep{6, qat::after_epochs(1)}, qat::BitsStep{4, qat::after_epochs(2)}>,
        qat::StopObservers<qat::after_steps(4)>, qat::Weights<ex::ShiftWeights::vary<qat::Stochastic>>>;
    resumes_exactly<Narrowing>(3, [](auto& o) { o.ema = true; });
    resumes_exactly<Narrowing>(5, [](auto&) {});
    resumes_exactly<Narrowing>(6, [](auto& o) { o.ema = true; });  // trained, not validated
    using NarrowingSearch = Narrowing::vary<
        "narrowing-search",
        qat::Outputs<Quantizer<ex::Int<8>, ex::PerTensorSymmetric, ex::MovingAverageMinMax<>,
                               ex::PowerOfTwo<qat::LeastError>>>,
        qat::Weights<Quantizer<ex::Int<8>, qat::PerChannelSymmetric<0>, qat::MeanSquaredError<>>>,
        qat::StopObservers<qat::never()>>;
    resumes_exactly<NarrowingSearch>(4, [](auto&) {});
    resumes_exactly<NarrowingSearch>(6, [](auto&) {});
    resumes_exactly<Late>(3, [](auto&) {});  // while grids watch
    for (int const steps : {4, 5, 6, 9}) resumes_exactly<Late>(steps, [](auto& o) { o.ema = true; });
    using LateThresholds =
        ex::exp1::vary<"late-thresholds", qat::QuantizeFrom<qat::after_steps(4)>,
                       qat::Outputs<Quantizer<ex::Int<8>, ex::PerTensorSymmetric, ex::MovingAverageMinMax<>,
                                              ex::PowerOfTwo<qat::Ceil>, qat::TrainedThreshold>>>;
    for (int const steps : {3, 7})
        resumes_exactly<LateThresholds>(steps, [](auto& o) { o.ema = true, o.hyp.quantizer_lr = 1; });
    using LateFixed =
        Late::vary<"late-fixed",
                   qat::Outputs<Quantizer<ex::Int<8>, ex::PerTensorSymmetric,
                                          qat::FixedRange<std::ratio<-8>, std::ratio<8>>, qat::LearnedStep>>,
                   qat::StopObservers<qat::never()>, qat::FreezeThresholds<qat::never()>>;
    for (int const steps : {3, 7}) resumes_exactly<LateFixed>(steps, [](auto& o) { o.hyp.quantizer_lr = 1; });
    // After the last step, with statistics that are estimated once
    using Reestimating =
        ex::exp1::vary<"reestimating", qat::ReestimateBatchNorm<2>, qat::StopObservers<qat::after_steps(4)>>;
    resumes_exactly<Reestimating>(9, [](auto&) {});
    resumes_exactly<Reestimating>(6, [](auto& o) { o.ema = true; });
}

TEST_CASE("validation ends before the batch at which it is told to, and says that it did") {
    Drawn data;
    auto val = data.validation();
    Run<ex::relu> run(data, "stopped");
    std::atomic<bool> stop{false};
    yolo::ValidationOptions options;
    options.stop = &stop;
    auto const whole = yolo::validate(run.detector, val, options);
    CHECK_FALSE(whole.stopped);
    int batches = 0;
    options.observer = [&](auto const&) { stop = ++batches == 1; };
    auto const part = yolo::validate(run.detector, val, options);
    CHECK(part.stopped);
    CHECK(batches == 1);
    CHECK(part.evaluation.images < whole.evaluation.images);
}

TEST_CASE("any checkpoint that stays can be gone on with; the best one gives its weights only") {
    Drawn data;
    auto train = data.training(), val = data.validation();
    auto const make = [&](char const* name) {
        auto run = std::make_unique<Run<ex::exp2>>(data, name);
        run->options.epochs = 3, run->options.save_period = 1;
        return run;
    };
    auto const whole = make("whole");
    torch::manual_seed(7);
    REQUIRE(whole->train(train, &val) == yolo::Outcome::finished);
    auto const again = make("again");
    again->resumed = yolo::load_checkpoint(whole->options.folder / "weights/epoch1.pt");
    auto other_train = data.training(), other_val = data.validation();
    REQUIRE(again->train(other_train, &other_val) == yolo::Outcome::finished);
    CHECK(same(again->last().model, whole->last().model));
    CHECK(same(again->last().more, whole->last().more));

    auto const best = make("best");
    best->resumed = yolo::load_checkpoint(whole->options.folder / "weights/best.pt");
    best->train(other_train, &other_val);
    REQUIRE_FALSE(best->messages.empty());
    CHECK(best->messages[0] ==
          "last.pt is no last.pt: it has no optimizer, so the run goes on from its weights only");
}

TEST_CASE("nothing is seen before observers start, not even by grids that several producers share") {
    using Later = ex::exp2::vary<"later", qat::QuantizeFrom<qat::after_steps(4), qat::after_steps(2)>,
                                 ex::StopObservers<qat::never()>, qat::FreezeBatchNorm<qat::never()>>;
    Drawn data;
    auto train = data.training();
    Run<Later> run(data, "later");
    std::vector<int> seen;
    yolo::Trainer trainer(run.detector, run.info, run.manifest, run.options, {.step = [&](auto const&) {
                              int count = 0;
                              qat::nn::for_each_grid(run.detector.module(), [&](auto& grid) {
                                  count += grid.quantized() && !grid.fixed() && !grid.unseen();
                              });
                              seen.push_back(count);
                          }});
    trainer.run(train, nullptr);
    REQUIRE(seen.size() == 6);
    CHECK(seen[0] == 0);
    CHECK(seen[1] == 0);
    CHECK(seen[3] > 20);
}

TEST_CASE("observers that stop before a grid has seen anything are an error") {
    using Blind = ex::exp1::vary<"blind", ex::StopObservers<qat::after_steps(0)>>;
    Drawn data;
    auto train = data.training();
    Run<Blind> run(data, "blind");
    CHECK_THROWS_WITH(run.train(train, nullptr),
                      doctest::Contains("observers stop before input.output has seen anything; start from"));
    Run<ex::exp1> seen(data, "seen");
    seen.options.epochs = 1;
    seen.train(train, nullptr);
    yolo::load_state(run.detector, seen.last().model, yolo::Fit::adapt, "last.pt");
    CHECK(run.train(train, nullptr) == yolo::Outcome::finished);
}

TEST_CASE("every switch of a schedule turns what it says, in the network and in its average") {
    Drawn data;
    Run<Late> run(data, "late");
    auto average = run.detector.replicate();
    yolo::Ema ema(average->module());
    yolo::ScheduleSwitches switches(run.detector, average.get(), &ema, run.info,
                                    {.steps_per_epoch = 3, .epochs = 3});
    std::vector<std::string> said;
    auto const turn = [&](std::int64_t step) {
        switches.turn(step, [&](std::string const& text) { said.push_back(text); });
    };
    auto const all = [](yolo::Detector& detector, auto const& what) {
        bool holds = true;
        qat::nn::for_each_grid(detector.module(), [&](qat::nn::Grid& g) { holds = holds && what(g); });
        return holds;
    };
    auto const in = [&](yolo::Detector& detector, qat::nn::GridMode mode) {
        return all(detector, [mode](qat::nn::Grid& g) { return g.mode == mode; });
    };
    auto const image = torch::rand({1, 3, 64, 64});
    using qat::nn::GridMode;
    CHECK(in(run.detector, GridMode::bypass));
    CHECK(in(*average, GridMode::bypass));
    turn(1);
    CHECK(said.empty());
    turn(2);
    CHECK(said == std::vector<std::string>{"observers start at step 2"});
    CHECK(in(run.detector, GridMode::observe));
    run.detector(image);
    turn(4);
    CHECK(in(run.detector, GridMode::quantize));
    CHECK(in(*average, GridMode::quantize));
    CHECK(all(run.detector, [](qat::nn::Grid& g) { return g.observing; }));
    turn(5);
    CHECK(all(run.detector, [](qat::nn::Grid& g) { return !g.observing; }));
    auto const trains = [](qat::nn::Grid& g) {
        return !g.learned().defined() || g.learned().requires_grad();
    };
    CHECK(all(run.detector, trains));
    turn(6);
    CHECK_FALSE(all(run.detector, trains));
    auto const& norms = run.detector.module().named_parameters();
    CHECK(norms["backbone.stem.bn.weight"].requires_grad());
    turn(9);
    CHECK_FALSE(norms["backbone.stem.bn.weight"].requires_grad());
    CHECK(said.size() == 5);

    // Resumed at step 6: the same without a word.
    Run<Late> again(data, "again");
    yolo::ScheduleSwitches silent(again.detector, nullptr, nullptr, again.info,
                                  {.steps_per_epoch = 3, .epochs = 3, .turned = 6});
    said.clear();
    silent.turn(6, [&](std::string const& text) { said.push_back(text); });
    CHECK(said.empty());
    CHECK(in(again.detector, GridMode::quantize));
    CHECK_FALSE(all(again.detector, trains));
}

TEST_CASE("a run whose epochs get no better ends early, and a run in a folder that was used begins anew") {
    Drawn data;
    auto train = data.training(), val = data.validation();
    Run<ex::relu> run(data, "patient");
    run.options.stop_after_epoch = 0, run.options.epochs = 9;
    CHECK(run.train(train, &val) == yolo::Outcome::paused);
    run.resumed = run.last(), run.options.stop_after_epoch = -1, run.options.patience = 2;
    run.resumed->manifest.best_fitness = 2;  // nothing is better
    run.epochs.clear();
    CHECK(run.train(train, &val) == yolo::Outcome::stopped_early);
    CHECK(run.epochs.size() == 2);
    CHECK(run.messages.back() == "no better epoch than 0 for 2 epochs: stopping early");
    CHECK(run.last().manifest.epoch == 2);
    auto const rows = [&] {
        auto const text = support::read_file(run.options.folder / "results.csv");
        return std::count(text.begin(), text.end(), '\n') - 1;
    };
    CHECK(rows() == 3);
    support::write_file(run.options.folder / "weights/last.pt.17-3.tmp");  // of a process that was killed
    support::write_file(run.options.folder / "results.csv.17-4.tmp");
    run.resumed.reset(), run.options.epochs = 1;
    CHECK(run.train(train, &val) == yolo::Outcome::finished);
    CHECK(rows() == 1);
    CHECK_FALSE(std::filesystem::exists(run.options.folder / "weights/last.pt.17-3.tmp"));
    CHECK_FALSE(std::filesystem::exists(run.options.folder / "results.csv.17-4.tmp"));
}

TEST_CASE("a best.pt that another run left in the folder is not this run's") {
    Drawn data;
    auto train = data.training();
    Run<ex::relu> run(data, "used");
    run.options.epochs = 1;
    run.train(train, nullptr);
    yolo::Trainer trainer(run.detector, run.info, run.manifest, run.options);
    CHECK_FALSE(trainer.kept_best());
    trainer.run(train, nullptr);
    CHECK(trainer.kept_best());
    yolo::Trainer resumed(run.detector, run.info, run.manifest, run.options);
    resumed.resume(run.last(), "last.pt");
    CHECK(resumed.kept_best());
}

TEST_CASE("where every layer is frozen nothing can be trained") {
    Drawn data;
    Run<ex::relu> run(data, "frozen");
    run.options.freeze = {25};
    CHECK_THROWS_WITH(yolo::Trainer(run.detector, run.info, run.manifest, run.options),
                      "every layer is frozen, so there is nothing to train; freeze fewer");
}

TEST_CASE("a run is resumed with its own data only") {
    Drawn data;
    auto train = data.training();
    Run<ex::relu> run(data, "run");
    run.options.stop_after_epoch = 0;
    CHECK(run.train(train, nullptr) == yolo::Outcome::paused);
    CHECK(run.messages.back().starts_with("stopped after epoch 0; "));
    run.resumed = run.last(), run.options.stop_after_epoch = -1;
    yolo::LoaderOptions larger;
    larger.image_size = 64, larger.batch_size = 6, larger.workers = 0;
    yolo::Loader other(data.train_images, larger);
    CHECK_THROWS_WITH(run.train(other, nullptr),
                      doctest::Contains("the run had 3 batches an epoch and now there are 2; resume with"));
}

TEST_CASE("a step that is not finite is skipped and its first tensor named; too many in a row end the run") {
    Drawn data;
    auto train = data.training();
    auto const poisoned = [&](char const* name, int from, int to) {
        auto run = std::make_unique<Run<ex::relu>>(data, name);
        run->options.batch_size = 64, run->options.ema = false;  // every micro-batch is a step
        run->options.epochs = 5, run->options.most_skipped = 3;
        run->detector.module().named_parameters()["backbone.c3_2.cv1.conv.weight"].register_hook(
            [from, to, n = std::make_shared<int>(0)](torch::Tensor const& g) {
            bool const now = *n >= from && *n < to;
            return ++*n, now ? g * std::numeric_limits<float>::quiet_NaN() : g;
        });
        return run;
    };
    auto const some = poisoned("some", 1, 3);
    auto const before = yolo::state_of(some->detector);
    CHECK(some->train(train, nullptr) == yolo::Outcome::finished);
    REQUIRE(some->messages.size() == 2);
    CHECK(some->messages[0] == "step 1 is skipped: the gradient of model.2.cv1.conv.weight is not finite");
    CHECK(some->epochs[0].skipped == 2);
    for (auto const& [key, tensor] : some->last().model)
        CHECK_MESSAGE(tensor.isfinite().all().item<bool>(), key);
    CHECK_FALSE(
        torch::equal(before[0].second, yolo::state_of(some->detector)[0].second));  // others were taken

    auto const many = poisoned("many", 4, 100);
    CHECK_THROWS_WITH(
        many->train(train, nullptr),
        doctest::Contains("4 steps in a row were not finite (the last because of the gradient of "
                          "model.2.cv1.conv.weight); "));
    CHECK(many->steps.size() == 7);           // the fourth is not reported any more
    CHECK(many->last().manifest.epoch == 1);  // it is the last good one
}

TEST_CASE("a network that is not finite any more ends the run at once") {
    Drawn data;
    auto train = data.training();
    Run<ex::relu> run(data, "broken");
    torch::NoGradGuard no_grad;
    run.detector.module().parameters().front().fill_(std::numeric_limits<float>::infinity());
    torch::AutoGradMode const grad(true);
    CHECK_THROWS_WITH(
        run.train(train, nullptr),
        doctest::Contains("model.0.conv.weight is not finite any more; no checkpoint was saved yet"));
}

TEST_CASE("the loss scale halves when gradients overflow and doubles after 2000 good steps") {
    yolo::LossScale scale(yolo::Precision::float16);
    CHECK(scale.on());
    CHECK(scale.value() == 65536);
    scale.follow(true);
    CHECK(scale.value() == 32768);
    for (int i = 0; i < 1999; ++i) scale.follow(false);
    CHECK(scale.value() == 32768);
    scale.follow(false);
    CHECK(scale.value() == 65536);
    CHECK(scale.steps() == 0);
    yolo::LossScale const none(yolo::Precision::bfloat16);  // as wide as float32
    CHECK_FALSE(none.on());
    CHECK(none.value() == 1);
}

TEST_CASE("checkpoints that stay are written every so many epochs") {
    Drawn data;
    auto train = data.training();
    Run<ex::relu> run(data, "period");
    run.options.save_period = 2, run.options.epochs = 3;
    run.train(train, nullptr);
    CHECK(std::filesystem::exists(run.options.folder / "weights/epoch0.pt"));
    CHECK_FALSE(std::filesystem::exists(run.options.folder / "weights/epoch1.pt"));
    CHECK(std::filesystem::exists(run.options.folder / "weights/epoch2.pt"));
}

TEST_CASE(
    "the average of observed scales is taken between their logarithms; powers of two are rounded again") {
    struct Grids : torch::nn::Module {
        qat::nn::FakeQuantize<ex::ShiftOutputs> output;
        qat::nn::FakeQuantize<Quantizer<ex::Int<8>, ex::PerTensorSymmetric>> weight_grid;
        Grids() {
            register_module("output", output.ptr()), register_module("weight_grid", weight_grid.ptr());
        }
        void see(float reach) { output->scale.fill_(reach), weight_grid->scale.fill_(reach); }
    } model, average;
    yolo::Ema ema(average);
    auto const step = [&](float scale) {
        model.see(scale);
        ema.set_updates(1999);
        ema.update(model);
    };
    step(0.125f);  // the first one is taken as it is
    CHECK(average.output->scale.item<float>() == 0.125f);
    CHECK(average.weight_grid->scale.item<float>() == 0.125f);
    double const weight = 1 - yolo::ema_decay(2000);  // 0.37
    step(0.25f);
    CHECK(average.output->scale.item<float>() == 0.125f);  // 2^-2.63 is nearer to 2^-3
    CHECK(average.weight_grid->scale.item<double>() == doctest::Approx(std::exp2(-3 + weight)));
    step(0.25f);
    CHECK(average.output->scale.item<float>() == 0.25f);
    ema.restart_scales();
    step(8);
    CHECK(average.output->scale.item<float>() == 8);
    CHECK(average.weight_grid->scale.item<float>() == 8);
}

TEST_CASE("every run gets a folder of its own") {
    support::TemporaryFolder folder;
    CHECK(yolo::make_run_folder(folder.path(), "exp", false) == folder / "exp");
    CHECK(yolo::make_run_folder(folder.path(), "exp", false) == folder / "exp2");
    CHECK(yolo::make_run_folder(folder.path(), "exp", false) == folder / "exp3");
    CHECK(yolo::make_run_folder(folder.path(), "exp", true) == folder / "exp");
}
