#pragma once
// yolo-train: from a checkpoint (or from nothing) to a trained network, float or quantized.

#include <yolo/apps/train_arguments.hpp>
#include <yolo/apps/training_printer.hpp>
#include <yolo/data/draw.hpp>
#include <yolo/train/run_folder.hpp>

namespace yolo::apps {

inline int train(Catalogue const& catalogue, int argc, char const* const* argv) {
    CommandLine app("Trains a YOLOv5, in float or quantization-aware, as the experiment says.", "yolo-train");
    TrainArguments a;
    a.declare(app);
    return run(app, argc, argv, [&]() -> int {
        if (!a.resume.empty()) {  // the run's own options, then go on in its folder
            auto const resumed = std::filesystem::path(a.resume);
            auto const file = resumed.parent_path().parent_path() / "opt.json";
            auto arguments = arguments_of(file, app);
            std::reverse(arguments.begin(), arguments.end());
            int const stop_after_epoch = a.stop_after_epoch;  // of this session, not of the run
            app.parse(arguments);
            a.resume = resumed, a.exist_ok = true, a.stop_after_epoch = stop_after_epoch;
        }
        if (a.data.empty()) throw std::runtime_error("--data is missing: the data set's YAML file");
        set_threads(a.threads);
        torch::manual_seed(a.seed);
        auto const set = load_dataset_yaml(a.data, {Split::train});
        require_images(set, Split::train, a.data);

        // The network: the checkpoint's size and anchors, the data set's classes.
        Manifest manifest;
        StateDict start;
        Checkpoint resumed;
        if (!a.resume.empty()) {
            resumed = load_checkpoint(a.resume), manifest = resumed.manifest;
        } else if (!a.weights.empty()) {
            auto checkpoint = load_checkpoint(a.weights);
            manifest = checkpoint.manifest, start = std::move(checkpoint.model);
        } else {
            manifest.size = size_named(a.size);
        }
        auto const trained_by = manifest.experiment;
        auto const& info = catalogue.find(!a.experiment.empty() ? a.experiment
                                          : !trained_by.empty() ? trained_by
                                                                : "silu");
        if (a.half && info.quantized)
            throw std::runtime_error("--half would round the scales of " + info.name +
                                     "; it is for float experiments");
        auto const hyp = hyperparameters_of(a, info.quantized);
        int const epochs = a.epochs > 0 ? a.epochs : info.schedule.epochs;
        if (!a.resume.empty() && manifest.epoch + 1 >= epochs)
            throw std::runtime_error(a.resume + " has finished its " + std::to_string(epochs) + " epochs");
        manifest.classes = set.classes, manifest.names = set.names, manifest.extra.clear();
        if (a.resume.empty()) manifest.bits = 0;
        auto const where = device(a.device);
        auto const precision = precision_named(a.amp, where);
        auto detector = info.make(network_options(manifest));
        spdlog::info(summary(*detector, info));
        if (a.resume.empty() && !a.weights.empty()) {
            auto const fit = trained_by != info.name ? Fit::restart : Fit::adapt;
            auto const t = load_state(*detector, start, fit, a.weights);
            spdlog::info("transferred {}/{} from {}", t.transferred, t.total, a.weights);
        }
        start.clear();
        detector->module().to(where);

        Dataset const train_images(set.train, static_cast<int>(set.classes));
        for (auto const& message : train_images.summary().messages) spdlog::warn(message);
        std::optional<Dataset> val_images;
        if (!set.val.empty()) {
            require_images(set, Split::val, a.data);
            val_images.emplace(set.val, static_cast<int>(set.classes));
        }

        auto const folder = a.resume.empty() ? make_run_folder(a.project, a.name, a.exist_ok)
                                             : std::filesystem::path(a.resume).parent_path().parent_path();
        if (a.resume.empty()) write_json(folder / "opt.json", to_json(a, info.name, epochs));
        write_atomically(folder / "hyp.yaml", to_yaml(hyp));
        LoaderOptions loading{.image_size = a.image_size,
                              .batch_size = a.batch_size,
                              .workers = a.workers,
                              .augment = true,
                              .shuffle = true,
                              .seed = a.seed,
                              .cache_images = !a.no_cache,
                              .hyp = hyp};
        Loader train_loader(train_images, loading);
        std::optional<Loader> val_loader;
        if (val_images)
            val_loader.emplace(*val_images, validation_loader(a.image_size, a.batch_size * 2, a.workers));

        spdlog::info("{} training images, {} batches an epoch, {} epochs; results in {}", train_images.size(),
                     train_loader.batches(), epochs, folder.string());
        for (auto const& event : qat::plan(info.schedule, train_loader.batches(), epochs))
            spdlog::info("plan: {}", event.what);
        stop_on_signals();
        TrainingPrinter printer(a.image_size, epochs);
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
                         .validate = !a.noval,
                         .save = !a.nosave,
                         .save_period = a.save_period,
                         .half = a.half,
                         .precision = precision,
                         .stop_after_epoch = a.stop_after_epoch},
                        printer.events(), &stop_requested);
        if (!a.resume.empty()) {
            trainer.resume(resumed, a.resume);
            resumed = {};
        }
        auto const outcome = trainer.run(train_loader, val_loader ? &*val_loader : nullptr);
        if (outcome == Outcome::interrupted) return 128 + stop_signal;
        if (outcome == Outcome::paused) return 0;

        auto const best_file = folder / "weights/best.pt";
        spdlog::info("{} holds the best epoch", best_file.string());
        if (val_loader) {
            auto kept = load_detector(catalogue, best_file, "", where);
            auto const result = validate(*kept.detector, *val_loader, {});
            print_table(result.evaluation, set.names, set.classes <= 50);
            if (!a.json.empty()) {
                auto object = yolo::to_json(result, set.names);
                object["experiment"] = info.name, object["weights"] = best_file.string(),
                object["epochs"] = epochs;
                write_json(a.json, object);
            }
        }
        return 0;
    });
}

}  // namespace yolo::apps
