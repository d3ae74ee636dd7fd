// The training loop's promises. (Single steps against the reference: steps.cpp.)

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "support/doctest.hpp"

#include <yolo/data/shapes.hpp>
#include <yolo/experiments.hpp>
#include <yolo/io/dataset_yaml.hpp>
#include <yolo/model/typed_detector.hpp>
#include <yolo/train/run_folder.hpp>
#include <yolo/train/trainer.hpp>

namespace {
namespace ex = yolo::experiments;

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
    yolo::ExperimentInfo info = yolo::experiment_info<E>();
    yolo::TypedDetector<typename E::arithmetic> detector{{.size = tiny, .classes = 5}};
    yolo::Manifest manifest;
    yolo::TrainerOptions options;
    std::vector<std::string> messages;
    std::vector<yolo::EpochReport> epochs;
    std::vector<yolo::StepReport> steps;
    yolo::Logits kept;  // of the network that training keeps

    explicit Run(Drawn const& data, char const* name) {
        torch::manual_seed(0);
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
    CHECK(run.messages ==
          std::vector<std::string>{"observers stop at step 1", "batch norm freezes at step 1"});
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
        return found;  // biases, weights, batch norm
    };
    yolo::TypedDetector<ex::relu::arithmetic> live({});
    CHECK(sizes(live.module()) == std::vector<std::size_t>{60, 60, 57});
    yolo::TypedDetector<ex::stock::arithmetic> folded({});
    CHECK(sizes(folded.module()) == std::vector<std::size_t>{60, 60, 0});
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

TEST_CASE("every run gets a folder of its own") {
    support::TemporaryFolder folder;
    CHECK(yolo::make_run_folder(folder.path(), "exp", false) == folder / "exp");
    CHECK(yolo::make_run_folder(folder.path(), "exp", false) == folder / "exp2");
    CHECK(yolo::make_run_folder(folder.path(), "exp", false) == folder / "exp3");
    CHECK(yolo::make_run_folder(folder.path(), "exp", true) == folder / "exp");
}
