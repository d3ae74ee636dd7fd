#pragma once
// yolo-train: from a checkpoint (or from nothing) to a trained network, float or quantized.

#include <yolo/apps/coco_output.hpp>
#include <yolo/apps/train_run.hpp>
#include <yolo/plot/labels_plot.hpp>
#include <yolo/train/evolve.hpp>
#include <yolo/train/run_folder.hpp>

namespace yolo::apps {
namespace detail {

// A generation is a training of its own in the same folder, of which only the last epoch is validated.
inline int evolve(Catalogue const& catalogue, TrainArguments const& a, TrainingData const& data,
                  Hyperparameters const& start, std::filesystem::path const& folder) {
    EvolveOptions options{.folder = folder, .generations = a.evolve, .seed = a.seed};
    options.message = [](std::string const& text) { spdlog::info(text); };
    auto const training = folder / "generation";
    auto const evolution = yolo::evolve(options, start, [&](Hyperparameters const& hyp, int) {
        std::filesystem::remove_all(training);
        std::optional<EvolveResult> result{EvolveResult{}};
        try {
            auto const run = train_once(catalogue, a, data, hyp, training, Extras::none);
            auto const& e = run.last.evaluation;
            auto const& loss = run.last.loss;
            result = EvolveResult{e.precision, e.recall, e.map50, e.map, loss[0], loss[1], loss[2]};
            if (run.outcome == Outcome::interrupted) result.reset();
        } catch (Diverged const& error) {  // the worst result there is
            spdlog::warn(error.what());
        }
        return result;
    });
    if (stop_requested) return 128 + stop_signal;
    spdlog::info("{} generations; the best is in {}", evolution.generations.size(),
                 (folder / "hyp_evolve.yaml").string());
    if (!a.json.empty() && !evolution.generations.empty()) {
        auto const& best = evolution.generations[evolution.best()];
        write_json(a.json, {{"generations", evolution.generations.size()},
                            {"best", evolution.best()},
                            {"fitness", best.result.fitness()},
                            {"map", best.result.map},
                            {"hyp", yolo::to_json(best.hyp)}});
    }
    return 0;
}

// The best epoch once more, with all that people look at.
inline void show_best(Catalogue const& catalogue, TrainArguments const& a, TrainingData const& data,
                      std::filesystem::path const& folder, TrainedRun const& run) {
    // Not with --nosave, unless the last epoch was it.
    auto const best = folder / (run.kept_best ? "weights/best.pt" : "weights/last.pt");
    spdlog::info("{} holds the {} epoch", best.string(), run.kept_best ? "best" : "last");
    nlohmann::ordered_json object;
    if (data.val) {
        auto const kept = load_detector(catalogue, best, "", device(a.device));
        Loader loader(*data.val, validation_loader(a.image_size, a.batch_size * 2, a.workers));
        ValidationOptions options;
        options.stop = &stop_requested;
        ValidationPictures pictures(folder, data.set.names);
        if (!a.noplots) options.curves = KeepCurves::yes;
        std::optional<CocoOutput> coco;
        if (is_coco(data.set)) {
            coco.emplace(coco_output(data.set, *data.val));
            options.nms.iou = 0.65;  // YOLOv5's, for the best figures on COCO
        }
        options.observer = [&, draw = pictures.observer()](BatchFindings const& found) {
            if (coco) coco->add(found);
            if (!a.noplots) draw(found);
        };
        auto const result = validate(*kept.detector, loader, options);
        if (result.stopped) return;
        print_table(result.evaluation, data.set.names, data.set.classes > 1);
        if (!a.noplots) pictures.draw(result.evaluation);
        object = yolo::to_json(result, data.set.names);
        if (coco)
            if (auto const figures = coco->write(folder / (best.stem().string() + "_predictions.json")))
                object["coco"] = *figures;
    }
    if (!a.noplots)
        if (auto const why = plot_results(folder / "results.csv", folder / "results.png"); !why.empty())
            spdlog::warn(why);
    if (a.json.empty()) return;
    object["experiment"] = run.experiment, object["weights"] = best.string(), object["epochs"] = run.epochs;
    write_json(a.json, object);
}
}  // namespace detail

inline int train(Catalogue const& catalogue, int argc, char const* const* argv) {
    CommandLine app("Trains a YOLOv5, in float or quantization-aware, as the experiment says.", "yolo-train");
    TrainArguments a;
    a.declare(app);
    return run(app, argc, argv, [&]() -> int {
        if (!a.resume.empty()) {  // the run's own options, then go on in its folder
            auto const resumed = std::filesystem::absolute(a.resume);
            auto const file = resumed.parent_path().parent_path() / "opt.json";
            auto arguments = arguments_of(file, app);
            std::reverse(arguments.begin(), arguments.end());
            auto const here = std::exchange(a, {});
            app.parse(arguments);
            a.resume = resumed, a.exist_ok = true;
            a.stop_after_epoch = here.stop_after_epoch;  // of this session, not of the run
            if (!here.json.empty()) a.json = here.json;
        }
        if (a.rect && a.image_weights) {
            spdlog::warn("--rect keeps the order of the images; it is ignored beside --image-weights");
            a.rect = false;
        }
        if (a.data.empty()) throw std::runtime_error("--data is missing: the data set's YAML file");
        if (a.evolve > 0) {
            if (a.stop_after_epoch >= 0)
                throw std::runtime_error("--evolve compares whole trainings; leave --stop-after-epoch out");
            if (!a.resume.empty())
                throw std::runtime_error(
                    "--evolve goes on by itself where its folder has an evolve.csv: give --project, "
                    "--name and --exist-ok instead of --resume");
            if (a.project == "runs/train") a.project = "runs/evolve";
        }
        set_threads(a.threads);
        torch::manual_seed(a.seed);
        detail::TrainingData const data(a);
        if (!data.val && a.evolve > 0)
            throw std::runtime_error(a.data + " has no val: images; --evolve compares generations by them");
        if (!data.val)
            spdlog::warn("{} has no val: images; nothing is validated, and best.pt is the last epoch",
                         a.data);
        auto const& info = detail::experiment_of(catalogue, a);
        int const epochs = a.epochs > 0 ? a.epochs : info.schedule.epochs;
        // A run goes on with what it was told when it began, whatever has become of --hyp's file.
        auto const run_hyp = std::filesystem::path(a.resume).parent_path().parent_path() / "hyp.yaml";
        auto const hyp = !a.resume.empty() && std::filesystem::exists(run_hyp)
                             ? load_hyperparameters(run_hyp)
                             : hyperparameters_of(a, info.quantized);

        auto const folder =
            a.resume.empty() ? make_run_folder(a.project, a.name, a.exist_ok) : run_hyp.parent_path();
        if (a.resume.empty()) {
            write_json(folder / "opt.json", to_json(a, info.name, epochs));
            write_atomically(folder / "hyp.yaml", to_yaml(hyp));
        }
        stop_on_signals();
        if (a.evolve > 0) return detail::evolve(catalogue, a, data, hyp, folder);

        if (!a.noplots && a.resume.empty())
            if (auto const why = plot_labels(data.train, data.set.names, folder / "labels.png"); !why.empty())
                spdlog::warn(why);
        auto const ran = detail::train_once(catalogue, a, data, hyp, folder, detail::Extras::all);
        if (ran.outcome != Outcome::paused && !stop_requested)
            detail::show_best(catalogue, a, data, folder, ran);
        return stop_requested ? 128 + stop_signal : 0;
    });
}

}  // namespace yolo::apps
