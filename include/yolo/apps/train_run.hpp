#pragma once
// One training as the command line describes it.

#include <yolo/apps/scan.hpp>
#include <yolo/apps/train_arguments.hpp>
#include <yolo/apps/training_printer.hpp>
#include <yolo/apps/validation_pictures.hpp>
#include <yolo/data/auto_anchor.hpp>
#include <yolo/io/tensorboard.hpp>
#include <yolo/plot/results_plot.hpp>

namespace yolo::apps::detail {

/// The data set, scanned.
struct TrainingData {
    DatasetOptions set;
    Dataset train;
    std::optional<Dataset> val;

    explicit TrainingData(TrainArguments const& a) : set(described(a)), train(scanned(a, set, Split::train)) {
        if (train.boxes() == 0)
            throw std::runtime_error(a.data +
                                     ": no image to train on has a label; the first one's is looked for in " +
                                     label_path(train[0].image).string());
        if (set.val.empty()) return;
        require_images(set, Split::val, a.data);
        val.emplace(scanned(a, set, Split::val));
    }

private:
    static DatasetOptions described(TrainArguments const& a) {
        auto set = load_dataset_yaml(a.data, {Split::train});
        require_images(set, Split::train, a.data);
        return a.single_cls ? single_class(std::move(set)) : set;
    }
    static Dataset scanned(TrainArguments const& a, DatasetOptions const& set, Split split) {
        return scan_data_set(images_of(set, split), static_cast<int>(set.classes), a.single_cls);
    }
};

inline ExperimentInfo const& experiment_of(Catalogue const& catalogue, TrainArguments const& a) {
    if (!a.experiment.empty()) return catalogue.find(a.experiment);
    auto const& file = !a.resume.empty() ? a.resume : a.weights;
    auto const named = file.empty() ? std::string() : load_checkpoint(file).manifest.experiment;
    return catalogue.find(named.empty() ? "silu" : named);
}

/// Decoded images of every epoch.
inline void cache_as_told(LoaderOptions& o, TrainArguments const& a) {
    o.caching = a.no_cache ? ImageCaching::none : a.cache == "disk" ? ImageCaching::disk : ImageCaching::ram;
    if (a.cache == "ram")
        o.cache_limit_bytes = std::numeric_limits<std::int64_t>::max();  // what memory is left
}

inline LoaderOptions training_loader(TrainArguments const& a, Hyperparameters const& hyp) {
    LoaderOptions o{.image_size = a.image_size, .batch_size = a.batch_size, .workers = a.workers};
    o.augment = true, o.shuffle = true, o.rect = a.rect, o.seed = a.seed, o.hyp = hyp;
    o.mosaic_tiles = a.mosaic_tiles;
    cache_as_told(o, a);
    return o;
}

/// all: pictures, TensorBoard, and a table of each epoch. none: of a generation that evolves.
enum class Extras { none, all };

struct TrainedRun {
    Outcome outcome{};
    Validation last;  // of the last epoch that was validated
    std::string experiment;
    int epochs = 0;          // as planned
    bool kept_best = false;  // best.pt is this run's
};

/// Trains in `folder`, which is made.
inline TrainedRun train_once(Catalogue const& catalogue, TrainArguments const& a, TrainingData const& data,
                             Hyperparameters const& hyp, std::filesystem::path const& folder, Extras extras) {
    torch::manual_seed(a.seed);  // each generation of an evolution begins alike
    auto const& info = experiment_of(catalogue, a);
    if (a.half && info.quantized)
        throw std::runtime_error("--half would round the scales of " + info.name +
                                 "; it is for float experiments");
    int const epochs = a.epochs > 0 ? a.epochs : info.schedule.epochs;
    std::filesystem::create_directories(folder);

    // The network: the checkpoint's size and anchors, the data set's classes.
    Checkpoint from;
    if (auto const& file = !a.resume.empty() ? a.resume : a.weights; !file.empty())
        from = load_checkpoint(file);
    else
        from.manifest.size = size_named(a.size);
    auto manifest = from.manifest;
    if (!a.resume.empty() && manifest.epoch + 1 >= epochs)
        throw std::runtime_error(a.resume + " has finished its " + std::to_string(epochs) + " epochs");
    manifest.classes = data.set.classes, manifest.names = data.set.names, manifest.extra.clear();
    if (a.resume.empty()) {
        manifest.bits = 0;
        if (!a.noautoanchor) {
            auto const fitted = auto_anchor(data.train, a.image_size, hyp.anchor_t, manifest.anchors, a.seed);
            for (auto const& message : fitted.messages) spdlog::info(message);
            manifest.anchors = fitted.anchors;
        }
    }
    auto const where = device(a.device);
    auto const precision = precision_named(a.amp, where);
    auto detector = info.make(network_options(manifest));
    spdlog::info(summary(*detector, info));
    if (a.resume.empty() && !a.weights.empty()) {
        auto const fit = from.manifest.experiment != info.name ? Fit::restart : Fit::adapt;
        auto const t = load_state(*detector, from.model, fit, a.weights);
        spdlog::info("transferred {}/{} from {}", t.transferred, t.total, a.weights);
    }
    detector->module().to(where);

    Loader train_loader(data.train, training_loader(a, hyp));
    std::optional<Loader> val_loader;
    if (data.val) {
        auto o = validation_loader(a.image_size, a.batch_size * 2, a.workers);
        if (!a.noval) cache_as_told(o, a);
        val_loader.emplace(*data.val, o);
    }
    spdlog::info("{} training images, {} batches an epoch, {} epochs; results in {}", data.train.size(),
                 train_loader.batches(), epochs, folder.string());
    for (auto const& event : qat::plan(info.schedule, train_loader.batches(), epochs))
        spdlog::info("plan: {}", event.what);

    TrainedRun run;
    run.experiment = info.name, run.epochs = epochs;
    TrainingPrinter printer(a.image_size, epochs);
    auto events = printer.events();
    std::optional<TensorBoardWriter> board;
    if (a.tensorboard && extras == Extras::all) board.emplace(folder);
    events.epoch = [&, print = events.epoch](EpochReport const& report) {
        print(report);
        if (report.validated) run.last = report.validation;
        if (board) board->scalars(report.epoch, result_columns(report));
    };
    if (!a.noplots && extras == Extras::all)
        events.batch = [&](Batch const& batch, std::int64_t step) {
            if (step < 3)
                draw_or_warn([&] {
                    write_batch_picture(folder / ("train_batch" + std::to_string(step) + ".jpg"), batch,
                                        data.set.names);
                });
        };
    bool const evolves = extras == Extras::none;
    Trainer trainer(*detector, info, manifest,
                    {.folder = folder,
                     .hyp = hyp,
                     .epochs = epochs,
                     .image_size = a.image_size,
                     .batch_size = a.batch_size,
                     .optimizer = optimizer_named(a.optimizer),
                     .decay = a.cos_lr ? RateDecay::cosine : RateDecay::linear,
                     .patience = a.patience,
                     .freeze = a.freeze,
                     .ema = a.ema.value_or(!info.quantized),
                     .validate = !a.noval && !evolves,
                     .save = !a.nosave && !evolves,
                     .multi_scale = a.multi_scale,
                     .image_weights = a.image_weights,
                     .save_period = a.save_period,
                     .half = a.half,
                     .precision = precision,
                     .stop_after_epoch = a.stop_after_epoch},
                    std::move(events), &stop_requested);
    if (!a.resume.empty()) trainer.resume(from, a.resume);
    from = {};
    run.outcome = trainer.run(train_loader, val_loader ? &*val_loader : nullptr);
    run.kept_best = trainer.kept_best();
    spdlog::info(train_loader.cache_summary());
    return run;
}

}  // namespace yolo::apps::detail
