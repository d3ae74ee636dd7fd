#pragma once
// yolo-train: from a checkpoint (or from nothing) to a trained network, float or quantized.

#include <yolo/apps/val.hpp>
#include <yolo/data/draw.hpp>
#include <yolo/io/hyperparameters.hpp>
#include <yolo/train/run_folder.hpp>
#include <yolo/train/trainer.hpp>

namespace yolo::apps {

/// The flags of yolo-train, with YOLOv5's names and defaults.
struct TrainArguments {
    std::string data, weights, experiment, hyp, device, optimizer = "SGD", project = "runs/train",
                                                        name = "exp", size = "n", json, resume;
    int epochs = 0, batch_size = 16, image_size = 640, workers = 2, patience = 100, threads = 0;
    std::uint64_t seed = 0;
    std::vector<int> freeze;
    std::vector<std::string> set;
    bool exist_ok = false, cos_lr = false, noval = false, nosave = false, half = false, no_cache = false;
    std::optional<bool> ema;

    void declare(CLI::App& app) {
        app.add_option("--data", data, "data set YAML as YOLOv5's");
        app.add_option("--weights", weights,
                       "checkpoint to start from: ours or an official .pt; none: from nothing");
        app.add_option("--experiment", experiment,
                       "what the network computes; default: what the checkpoint says");
        app.add_option(
            "--hyp", hyp,
            "hyper-parameter YAML as YOLOv5's; default: scratch-low, of quantized experiments m-relu-tune");
        app.add_option("--set", set, "a hyper-parameter by name, after --hyp: --set lr0=0.001");
        app.add_option("--epochs", epochs, "default: what the experiment says");
        app.add_option("--batch-size", batch_size, "images of a step");
        app.add_option("--imgsz,--img,--img-size", image_size, "pixels, a multiple of 32");
        app.add_option("--model", size, "size of a network from nothing: n s m l x, or depth,width")
            ->capture_default_str();
        app.add_option("--device", device, "cpu or 0; default: a GPU if there is one");
        app.add_option("--workers", workers, "threads that load images");
        app.add_option("--threads", threads, "threads that compute; 0: all cores");
        app.add_option("--project", project, "folder of the runs");
        app.add_option("--name", name, "folder of this run");
        app.add_option("--seed", seed, "of every random choice");
        app.add_option("--optimizer", optimizer)->check(CLI::IsMember({"SGD", "Adam", "AdamW"}));
        app.add_option("--patience", patience, "epochs without a better one before training stops; 0: never");
        app.add_option("--freeze", freeze,
                       "numbered layers that stay as they are; one number: so many from the first");
        app.add_option("--resume", resume,
                       "last.pt of a run that was interrupted; other options are taken from the run");
        app.add_option("--json", json, "write the results to this file");
        app.add_flag("--exist-ok", exist_ok, "use the run's folder though it exists");
        app.add_flag("--cos-lr", cos_lr, "cosine schedule of the learning rate");
        app.add_flag("--noval", noval, "validate after the last epoch only");
        app.add_flag("--nosave", nosave, "save last.pt after the last epoch only");
        app.add_flag("--half", half, "keep checkpoints in float16 (float experiments)");
        app.add_flag("--no-cache", no_cache, "decode images anew each time");
        app.add_flag("--ema,!--no-ema", ema,
                     "keep a moving average of the state; default: float experiments only");
    }
};

inline Size size_named(std::string const& name) {
    constexpr std::pair<char const*, Size> known[] = {
        {"n", nano}, {"s", small}, {"m", medium}, {"l", large}, {"x", extra_large}};
    for (auto const& [key, size] : known)
        if (name == key) return size;
    double depth = 0, width = 0;
    if (std::sscanf(name.c_str(), "%lf,%lf", &depth, &width) == 2 && depth > 0 && width > 0)
        return {depth, width};
    throw std::runtime_error("--model " + name +
                             " is no size; want n, s, m, l, x or depth,width as 0.33,0.125");
}

inline OptimizerKind optimizer_named(std::string const& name) {
    return name == "Adam" ? OptimizerKind::adam : name == "AdamW" ? OptimizerKind::adamw : OptimizerKind::sgd;
}

/// Resident memory of the process, as "1.2G".
inline std::string memory_in_use() {
    std::ifstream statm("/proc/self/statm");
    double total = 0, resident = 0;
    statm >> total >> resident;
    char text[32];
    std::snprintf(text, sizeof text, "%.3gG", resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e9);
    return text;
}

inline Hyperparameters hyperparameters_of(TrainArguments const& a, bool quantized) {
    auto hyp = !a.hyp.empty() ? load_hyperparameters(a.hyp)
               : quantized    ? quantized_hyperparameters()
                              : Hyperparameters{};
    for (auto const& assignment : a.set) {
        auto const equals = assignment.find('=');
        char* end = nullptr;
        double const value =
            equals == assignment.npos ? 0 : std::strtod(assignment.c_str() + equals + 1, &end);
        if (end == nullptr || *end != '\0' || end == assignment.c_str() + equals + 1)
            throw std::runtime_error("--set " + assignment + ": want name=number, as lr0=0.001");
        yolo::detail::set(hyp, assignment.substr(0, equals), value, "--set");
    }
    return hyp;
}

inline nlohmann::ordered_json to_json(TrainArguments const& a, std::string const& experiment, int epochs) {
    nlohmann::ordered_json json{{"data", a.data},
                                {"weights", a.weights},
                                {"experiment", experiment},
                                {"hyp", a.hyp},
                                {"set", a.set},
                                {"epochs", epochs},
                                {"batch-size", a.batch_size},
                                {"imgsz", a.image_size},
                                {"device", a.device},
                                {"workers", a.workers},
                                {"project", a.project},
                                {"name", a.name},
                                {"seed", a.seed},
                                {"optimizer", a.optimizer},
                                {"patience", a.patience},
                                {"freeze", a.freeze},
                                {"cos-lr", a.cos_lr},
                                {"noval", a.noval},
                                {"nosave", a.nosave},
                                {"half", a.half}};
    if (a.ema) json[*a.ema ? "ema" : "no-ema"] = true;
    return json;
}

/// Prints what YOLOv5 prints while it trains.
class TrainingPrinter {
public:
    TrainingPrinter(int image_size, int epochs) : image_size_(image_size), epochs_(epochs) {}

    TrainingEvents events() {
        return {.message = [this](std::string const& text) { progress_.end(), spdlog::info(text); },
                .step = [this](StepReport const& r) { step(r); },
                .epoch = [this](EpochReport const& r) { epoch(r); }};
    }

private:
    static constexpr char const* head =
        "      Epoch     Memory   box_loss   obj_loss   cls_loss  Instances       Size";

    std::string row(int epoch, int epochs, std::array<double, 3> const& loss, std::int64_t instances) const {
        char line[160];
        std::snprintf(line, sizeof line, "%11s%11s%11.4g%11.4g%11.4g%11lld%11d",
                      (std::to_string(epoch) + "/" + std::to_string(epochs - 1)).c_str(),
                      memory_in_use().c_str(), loss[0], loss[1], loss[2], static_cast<long long>(instances),
                      image_size_);
        return line;
    }

    void step(StepReport const& r) {
        instances_ = r.instances;
        auto const left = r.seconds / (r.batch + 1) * (r.batches - r.batch - 1);
        char rest[64];
        std::snprintf(rest, sizeof rest, "  %d/%d %.0fs<%.0fs", r.batch + 1, r.batches, r.seconds, left);
        progress_(row(r.epoch, epochs_, r.loss, r.instances) + rest);
    }

    void epoch(EpochReport const& r) {
        progress_.end();
        std::cout << head << "\n"
                  << row(r.epoch, r.epochs, r.loss, instances_) << "  " << std::lround(r.seconds) << " s\n";
        auto const& e = r.validation.evaluation;
        if (r.validated)
            std::cout << table_head << "\n"
                      << table_row("all", e.images, e.labels, e.precision, e.recall, e.map50, e.map)
                      << (r.best ? "  best" : "") << "\n";
        std::cout << std::flush;
    }

    int image_size_, epochs_;
    std::int64_t instances_ = 0;
    ProgressLine progress_;
};

inline int train(Catalogue const& catalogue, int argc, char const* const* argv) {
    CLI::App app("Trains a YOLOv5, in float or quantization-aware, as the experiment says.", "yolo-train");
    TrainArguments a;
    a.declare(app);
    return run(app, argc, argv, [&]() -> int {
        if (!a.resume.empty()) {  // the run's own options, then go on in its folder
            auto const resumed = std::filesystem::path(a.resume);
            auto const file = resumed.parent_path().parent_path() / "opt.json";
            auto arguments = arguments_of(file, app);
            std::reverse(arguments.begin(), arguments.end());
            app.parse(arguments);
            a.resume = resumed, a.weights = resumed, a.exist_ok = true;
        }
        if (a.data.empty()) throw std::runtime_error("--data is missing: the data set's YAML file");
        set_threads(a.threads);
        torch::manual_seed(a.seed);
        auto const set = load_dataset_yaml(a.data, {Split::train});
        require_images(set, Split::train, a.data);
        if (a.image_size % 32 != 0)
            throw std::runtime_error("--imgsz " + std::to_string(a.image_size) + " is no multiple of 32");

        // The network: the checkpoint's size and anchors, the data set's classes.
        Manifest manifest;
        StateDict start;
        if (!a.weights.empty()) {
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
        int const first_epoch = a.resume.empty() ? 0 : manifest.epoch + 1;
        double const best = a.resume.empty() ? 0 : manifest.best_fitness;
        if (first_epoch >= epochs)
            throw std::runtime_error(a.resume + " has finished its " + std::to_string(epochs) + " epochs");
        manifest.classes = set.classes, manifest.names = set.names, manifest.extra.clear();
        auto const where = device(a.device);
        auto detector = info.make(network_options(manifest));
        spdlog::info(summary(*detector, info));
        if (!a.weights.empty()) {
            auto const fit = trained_by != info.name ? Fit::restart
                             : a.resume.empty()      ? Fit::adapt
                                                     : Fit::exact;
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
        write_json(folder / "opt.json", to_json(a, info.name, epochs));
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
                         .half = a.half,
                         .first_epoch = first_epoch,
                         .best_fitness = best},
                        printer.events(), &stop_requested);
        auto const outcome = trainer.run(train_loader, val_loader ? &*val_loader : nullptr);
        if (outcome == Outcome::interrupted) return 128 + stop_signal;

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
