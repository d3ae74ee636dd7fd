#pragma once
// The options of yolo-train: on the command line, in opt.json, and what they mean.

#include <yolo/apps/cli.hpp>
#include <yolo/io/hyperparameters.hpp>
#include <yolo/train/mixed_precision.hpp>
#include <yolo/train/optimizer.hpp>

#include <cstdio>
#include <optional>

namespace yolo::apps {

/// The last.pt below a folder that was written last. throws std::runtime_error where there is none.
inline std::filesystem::path latest_checkpoint(std::filesystem::path const& project) {
    namespace fs = std::filesystem;
    fs::path latest;
    fs::file_time_type when{};
    std::error_code ignored;
    for (auto const& run : fs::directory_iterator(project, ignored)) {
        auto const file = run.path() / "weights/last.pt";
        if (auto const written = fs::last_write_time(file, ignored);
            fs::exists(file, ignored) && (latest.empty() || written > when))
            latest = file, when = written;
    }
    if (latest.empty())
        throw std::runtime_error("--resume: no run in " + project.string() +
                                 " has a weights/last.pt; name the file, or the --project");
    return latest;
}

/// The flags of yolo-train, with YOLOv5's names and defaults.
struct TrainArguments {
    std::string data, weights, experiment, hyp, device, optimizer = "SGD", project = "runs/train",
                                                        name = "exp", size = "n", json, resume, amp = "auto",
                                                        cache;
    int epochs = 0;             // 0: what the experiment says
    int save_period = 0;        // 0: none
    int stop_after_epoch = -1;  // -1: none
    int evolve = 0;             // generations; 0: none
    int mosaic_tiles = 4;
    double label_smoothing = -1;  // -1: as --hyp says
    int batch_size = 16, image_size = 640, workers = 2, patience = 100, threads = 0;
    std::uint64_t seed = 0;
    std::vector<int> freeze;
    std::vector<std::string> set;
    bool exist_ok = false, cos_lr = false, noval = false, nosave = false, half = false, no_cache = false,
         rect = false, image_weights = false, single_cls = false, multi_scale = false, noautoanchor = false,
         noplots = false, tensorboard = false;
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
        app.add_option("--epochs", epochs, "passes over the data set")
            ->default_str("the experiment's")
            ->check(at_least(1));
        app.add_option("--batch-size,--batch", batch_size, "images of a step")
            ->check(at_least(1, largest_batch));
        app.add_option("--imgsz,--img,--img-size", image_size, "pixels, rounded up to a multiple of 32")
            ->transform(up_to_multiple_of_32());
        app.add_option("--model", size, "size of a network from nothing: n s m l x, or depth,width");
        app.add_option("--device", device, "cpu or 0; default: a GPU if there is one");
        app.add_option("--workers", workers, "threads that load images")->check(at_least(0));
        app.add_option("--threads", threads, "threads that compute; 0: all cores")->check(at_least(0));
        app.add_option("--project", project, "folder of the runs");
        app.add_option("--name", name, "folder of this run");
        app.add_option("--seed", seed, "of every random choice")->check(at_least(0));
        app.add_option("--optimizer", optimizer, "how gradients become steps")
            ->check(CLI::IsMember({"SGD", "Adam", "AdamW"}));
        app.add_option("--patience", patience, "epochs without a better one before training stops; 0: never")
            ->check(at_least(0));
        app.add_option("--freeze", freeze,
                       "numbered layers that stay as they are; one number: so many from the first")
            ->trigger_on_parse()
            ->check(at_least(0));
        auto* const resumed =
            app.add_option("--resume", resume,
                           "last.pt of a run that was interrupted, alone: the latest one in --project; other "
                           "options are taken from the run")
                ->expected(0, 1)
                ->default_str("");
        app.add_option("--save-period", save_period,
                       "keep weights/epochN.pt every so many epochs; 0 or less: last.pt and best.pt only")
            ->check(at_least(-1));
        app.add_option("--stop-after-epoch", stop_after_epoch,
                       "end the run once this epoch is saved, for --resume; -1: never")
            ->check(at_least(-1));
        app.add_option(
               "--amp", amp,
               "precision of convolutions on CUDA; auto: float16 there. Grids and the CPU stay float32")
            ->check(CLI::IsMember({"auto", "off", "float16", "bfloat16"}));
        app.add_option("--json", json, "write the results to this file");
        app.add_flag("--exist-ok", exist_ok, "use the run's folder though it exists");
        app.add_flag("--cos-lr", cos_lr, "cosine schedule of the learning rate");
        app.add_flag("--noval", noval, "validate after the last epoch only");
        app.add_flag("--nosave", nosave, "save after the last epoch only");
        app.add_flag("--half", half, "keep checkpoints in float16 (float experiments)");
        auto* const kept =
            app.add_option(
                   "--cache", cache,
                   "keep decoded images: in memory (ram, also without a word) or as .npy files beside them "
                   "(disk); default: up to 1 GiB in memory")
                ->expected(0, 1)
                ->default_str("")
                ->check(CLI::IsMember({"ram", "disk"}));
        app.add_flag("--no-cache", no_cache, "decode images anew each time");
        app.add_flag("--rect", rect, "batches of similar aspect ratio, without mosaics");
        app.add_flag("--image-weights", image_weights,
                     "show images with rare or badly detected classes more often");
        app.add_flag("--single-cls", single_cls, "train all classes as one");
        app.add_flag("--multi-scale", multi_scale, "vary the image size by half");
        app.add_option("--mosaic-tiles", mosaic_tiles, "images of a mosaic")->check(CLI::IsMember({4, 9}));
        app.add_option("--label-smoothing", label_smoothing, "epsilon; default: as the hyper-parameters say")
            ->default_str("")
            ->check(share());
        app.add_flag("--noautoanchor", noautoanchor, "keep the anchors whether or not they fit the data set");
        app.add_flag("--noplots", noplots, "draw nothing");
        app.add_flag("--tensorboard", tensorboard, "write event files for TensorBoard, too");
        auto* const evolved =
            app.add_option("--evolve", evolve,
                           "evolve the hyper-parameters for so many trainings, alone: 300; 0: do not")
                ->expected(0, 1)
                ->default_str("")
                ->check(at_least(0));
        app.parse_complete_callback([this, kept, resumed, evolved] {
            if (kept->count() > 0 && cache.empty()) cache = "ram";
            if (resumed->count() > 0 && resume.empty()) resume = latest_checkpoint(project);
            if (evolved->count() > 0 && evolved->results().back().empty()) evolve = 300;
        });
        // A function, since add_flag would count into an optional and so set it although the flag is not there.
        app.add_flag_function(
            "--ema,!--no-ema", [this](std::int64_t given) { ema = given > 0; },
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

/// --amp on that device. Mixed precision is CUDA's: elsewhere "auto" is off, and what was asked for is refused.
inline Precision precision_named(std::string const& name, torch::Device const& where) {
    if (name == "off" || (name == "auto" && !where.is_cuda())) return Precision::float32;
    if (!where.is_cuda())
        throw std::runtime_error("--amp " + name +
                                 " wants a CUDA device; the CPU trains in float32, use --amp off");
    return name == "bfloat16" ? Precision::bfloat16 : Precision::float16;
}

inline OptimizerKind optimizer_named(std::string const& name) {
    return name == "Adam" ? OptimizerKind::adam : name == "AdamW" ? OptimizerKind::adamw : OptimizerKind::sgd;
}

inline Hyperparameters hyperparameters_of(TrainArguments const& a, bool quantized) {
    auto hyp = !a.hyp.empty() ? load_hyperparameters(a.hyp)
               : quantized    ? quantized_hyperparameters()
                              : Hyperparameters{};
    if (a.label_smoothing >= 0) hyp.label_smoothing = a.label_smoothing;
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

/// opt.json of a run: every option by its name, so that the file describes the run to --run and --resume.
inline nlohmann::ordered_json to_json(TrainArguments const& a, std::string const& experiment, int epochs) {
    return {{"data", a.data},
            {"weights", a.weights},
            {"experiment", experiment},
            {"hyp", a.hyp},
            {"set", a.set},
            {"epochs", epochs},
            {"batch-size", a.batch_size},
            {"imgsz", a.image_size},
            {"model", a.size},
            {"device", a.device},
            {"workers", a.workers},
            {"threads", a.threads},
            {"project", a.project},
            {"name", a.name},
            {"seed", a.seed},
            {"optimizer", a.optimizer},
            {"patience", a.patience},
            {"freeze", a.freeze},
            {"resume", a.resume},
            {"save-period", a.save_period},
            {"stop-after-epoch", a.stop_after_epoch},
            {"amp", a.amp},
            {"json", a.json},
            {"exist-ok", a.exist_ok},
            {"cos-lr", a.cos_lr},
            {"noval", a.noval},
            {"nosave", a.nosave},
            {"half", a.half},
            {"cache", a.cache},
            {"no-cache", a.no_cache},
            {"rect", a.rect},
            {"image-weights", a.image_weights},
            {"single-cls", a.single_cls},
            {"multi-scale", a.multi_scale},
            {"mosaic-tiles", a.mosaic_tiles},
            {"label-smoothing", a.label_smoothing < 0 ? nlohmann::ordered_json(nullptr)
                                                      : nlohmann::ordered_json(a.label_smoothing)},
            {"noautoanchor", a.noautoanchor},
            {"noplots", a.noplots},
            {"tensorboard", a.tensorboard},
            {"evolve", a.evolve},
            {"ema", a.ema ? nlohmann::ordered_json(*a.ema) : nlohmann::ordered_json(nullptr)}};
}

}  // namespace yolo::apps
