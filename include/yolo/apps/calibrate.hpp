#pragma once
// yolo-calibrate: post-training quantization of a float checkpoint with an experiment's policies, then mAP of both.

#include <qat/calibrate/correct_bias.hpp>
#include <qat/calibrate/equalize.hpp>
#include <qat/calibrate/report_text.hpp>
#include <qat/calibrate/round_weights.hpp>
#include <qat/calibrate/sensitivity.hpp>
#include <yolo/apps/calibrate_files.hpp>
#include <yolo/apps/val.hpp>

namespace yolo::apps {

struct CalibrateArguments {
    std::string experiment, weights, data, split = "train", task = "val", device, save, json, report, plot;
    std::string sensitivity;  // "", alone or all-but-one
    int batches = 16, batch_size = 16, image_size = 640, workers = 2, threads = 0, adaround_steps = 200;
    std::uint64_t seed = 0;
    bool equalize = false, correct_bias = false, adaround = false, noval = false, verbose = false,
         by_layer = false;

    void declare(CommandLine& app) {
        app.add_option("--experiment", experiment, "whose policies quantize; yolo-describe --list names all")
            ->required();
        app.add_option("--weights", weights, "float checkpoint: ours or an official .pt")->required();
        app.add_option("--data", data, "data set YAML as YOLOv5's")->required();
        app.add_option("--batches", batches, "how many batches calibrate")->check(at_least(1));
        app.add_option("--batch-size", batch_size, "images of a batch")->check(at_least(1));
        app.add_option("--imgsz,--img,--img-size", image_size, "pixels of the longer side")
            ->transform(up_to_multiple_of_32());
        app.add_option("--calibrate-on", split, "the part of the data set that calibrates")
            ->check(CLI::IsMember({"train", "val", "test"}));
        app.add_flag("--equalize", equalize,
                     "cross-layer equalization before: wants ReLU and folded batch norm, helps weights per "
                     "tensor (arXiv:1906.04721)");
        app.add_flag("--correct-bias", correct_bias,
                     "take mean errors out of biases (arXiv:1906.04721); with --adaround layer by layer "
                     "along with it");
        app.add_flag("--adaround", adaround,
                     "choose for each weight which way it is rounded (arXiv:2004.10568)");
        app.add_option("--adaround-steps", adaround_steps,
                       "of its optimizer, for each layer; 0: only a search")
            ->check(at_least(0));
        app.add_option(
               "--sensitivity", sensitivity,
               "rank the quantizers on one batch by what each costs: alone, or what is gained where all but "
               "one quantize")
            ->check(CLI::IsMember({"alone", "all-but-one"}));
        app.add_flag("--by-layer", by_layer, "--sensitivity of layers: weights and output together");
        app.add_option("--report", report,
                       "write signal-to-noise ratio, clip rate, range of every quantizer to this JSON file");
        app.add_option("--plot", plot, "draw the report as this PNG file; wants gnuplot");
        app.add_option("--save", save, "write the quantized checkpoint to this file");
        app.add_option("--json", json, "write the results to this file");
        app.add_option("--task", task, "the part of the data set that is validated")
            ->check(CLI::IsMember({"train", "val", "test"}));
        app.add_flag("--noval", noval, "no mAP");
        app.add_option("--seed", seed, "which images calibrate");
        app.add_option("--device", device, "cpu or 0; default: a GPU if there is one");
        app.add_option("--workers", workers, "threads that load images")->check(at_least(0));
        app.add_option("--threads", threads, "threads that compute; 0: all cores")->check(at_least(0));
        app.add_flag("--verbose", verbose, "print the report as a table");
    }
};

/// What post-training tools see of a detector: three results, the logits of the levels.
inline qat::calibrate::Network network_of(Detector& detector) {
    return {detector.module(), detector.trace({1, 3, 64, 64}), [&detector](torch::Tensor const& images) {
                auto logits = detector(images);
                return std::vector<torch::Tensor>(logits.begin(), logits.end());
            }};
}

namespace detail {
// Square pictures without augmentation, each once, in an order that the seed decides.              uint8 [N, 3, S, S]
inline qat::calibrate::Batches calibration_batches(Dataset const& images, CalibrateArguments const& a) {
    LoaderOptions o{
        .image_size = a.image_size, .batch_size = a.batch_size, .workers = a.workers, .shuffle = true};
    o.seed = a.seed, o.caching = ImageCaching::none;
    Loader loader(images, o);
    loader.start_epoch(0);
    qat::calibrate::Batches batches;
    for (Batch batch; static_cast<int>(batches.size()) < a.batches && loader.next(batch);)
        batches.push_back(batch.images);
    if (static_cast<int>(batches.size()) < a.batches)
        spdlog::warn("the data set has images for {} of {} batches", batches.size(), a.batches);
    return batches;
}

// What rounding by data runs at once: about 32 pictures.
inline torch::Tensor first_images(qat::calibrate::Batches const& batches) {
    std::vector<torch::Tensor> some;
    for (std::int64_t count = 0; count < 32 && some.size() < batches.size(); count += some.back().size(0))
        some.push_back(batches[some.size()]);
    return torch::cat(some);
}

inline std::string percent(double share) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f %%", 100 * share);
    return text;
}

inline void say(qat::calibrate::Equalization const& e) {
    if (e.pairs.empty()) {
        spdlog::warn("--equalize found no pair of convolutions that it may scale; the first reason: {}: {}",
                     e.skipped.front().path, e.skipped.front().why);
        return;
    }
    double most = 0;
    for (auto const& pair : e.pairs) most = std::max(most, pair.before);
    spdlog::info("equalized {} convolutions with those that read them in {} passes{}; the most unequal "
                 "channel was {:.1f} to 1",
                 e.pairs.size(), e.passes, e.converged ? "" : " (not converged)", most);
    for (auto const& [path, why] : e.skipped) spdlog::debug("not equalized: {}: {}", path, why);
}

inline Validation validated(Detector& detector, Dataset const& images, CalibrateArguments const& a,
                            char const* what) {
    Loader loader(images, validation_loader(a.image_size, a.batch_size, a.workers));
    ProgressLine progress;
    NmsOptions nms;
    nms.confidence = 0.001, nms.iou = 0.6;  // as yolo-val
    return validate(detector, loader, nms, nullptr, [&](int done, int total) {
        progress(std::string("validating ") + what + " " + std::to_string(done) + "/" +
                 std::to_string(total));
    });
}
}  // namespace detail

inline int calibrate(Catalogue const& catalogue, int argc, char const* const* argv) {
    namespace tools = qat::calibrate;
    CommandLine app("Quantizes a float checkpoint without training, and measures what that costs.",
                    "yolo-calibrate");
    CalibrateArguments a;
    a.declare(app);
    return run(app, argc, argv, [&]() -> int {
        set_threads(a.threads);
        auto const& info = catalogue.find(a.experiment);
        if (!info.quantized)
            throw std::runtime_error(info.name +
                                     " is a float experiment, there is nothing to calibrate; choose one that "
                                     "quantizes (yolo-describe --list)");
        auto const split = split_named(a.split), task = split_named(a.task);
        auto const set = load_dataset_yaml(a.data, {split});
        require_images(set, split, a.data);
        if (!a.noval) require_images(set, task, a.data);

        auto checkpoint = load_checkpoint(a.weights);
        auto manifest = checkpoint.manifest;
        if (manifest.classes != set.classes)
            throw std::runtime_error(a.weights + " knows " + std::to_string(manifest.classes) +
                                     " classes and " + a.data + " has " + std::to_string(set.classes) +
                                     "; they do not belong together");
        if (auto const warning = detail::other_activation(catalogue, info, manifest.experiment);
            !warning.empty())
            spdlog::warn(warning);
        auto const where = device(a.device);
        auto detector = info.make(network_options(manifest));
        auto const t = load_state(*detector, checkpoint.model, Fit::restart, a.weights);
        checkpoint.model.clear();
        detector->module().to(where), detector->module().eval();
        spdlog::info("{}; transferred {}/{} from {}", summary(*detector, info), t.transferred, t.total,
                     a.weights);

        Dataset const calibration_images(images_of(set, split), static_cast<int>(set.classes));
        auto const batches = detail::calibration_batches(calibration_images, a);
        auto quantized = network_of(*detector);
        nlohmann::ordered_json object{{"experiment", info.name},
                                      {"weights", a.weights},
                                      {"batches", batches.size()},
                                      {"batch_size", a.batch_size},
                                      {"imgsz", a.image_size}};
        ProgressLine progress;

        if (a.equalize) {
            auto const e = tools::equalize(quantized);
            detail::say(e), object["equalize"] = to_json(e);
        }
        auto const in_float = detector->replicate();  // whose weights stay, and whose grids are never used
        in_float->module().eval();
        qat::nn::set_mode(in_float->module(), qat::nn::GridMode::bypass);
        auto reference = network_of(*in_float);

        auto const seen = tools::calibrate(quantized, batches, [&](std::size_t done) {
            progress("calibrating " + std::to_string(done) + "/" + std::to_string(batches.size()));
        });
        progress.end();
        for (auto const& path : seen.unseen)
            spdlog::warn("{} has seen nothing; its scale is the initial one", path);
        auto const measured = tools::Batches{batches.front()};
        auto const wanted = tools::float_results(reference, measured);
        auto const logits = [&](char const* after) {
            auto const ratio = tools::compare(quantized, measured, wanted).signal_to_noise();
            spdlog::info("logits after {}: {:.2f} dB signal to noise", after, ratio);
            object["logits_snr_db"][after] = ratio;
        };
        logits("calibration");

        // Before biases and weights move: then float is what all quantizers off give.
        if (!a.sensitivity.empty()) {
            bool const alone = a.sensitivity == "alone";
            auto const ranked = tools::sensitivity(
                quantized, reference, measured,
                {.measured = alone ? tools::Measured::alone : tools::Measured::left_out,
                 .by_layer = a.by_layer,
                 .done = [&](std::size_t done, std::size_t total) {
                     progress("sensitivity " + std::to_string(done) + "/" + std::to_string(total));
                 }});
            progress.end();
            std::cout << (alone ? "Signal to noise of the logits with one quantizer alone, the worst first:\n"
                                : "Signal to noise of the logits with all but one quantizer, what gains most "
                                  "first:\n");
            tools::write_table(std::cout, ranked);
            object["sensitivity_of"] = a.sensitivity, object["sensitivity"] = to_json(ranked);
        }
        if (a.adaround) {
            tools::RoundingOptions o;
            o.steps = a.adaround_steps, o.seed = a.seed, o.bias = a.correct_bias;
            auto const layers = tools::round_weights(quantized, reference, detail::first_images(batches), o,
                                                     [&](tools::RoundedWeights const& layer) {
                progress("rounding the weights of " + layer.path);
            });
            progress.end();
            object["adaround"] = to_json(layers);
            logits("rounding");
        }
        if (a.correct_bias && !a.adaround) {
            object["correct_bias"] = to_json(tools::correct_bias(quantized, reference, batches));
            logits("bias correction");
        }
        {
            auto const reports = tools::report(quantized, measured);
            if (a.verbose) tools::write_table(std::cout, reports);
            for (auto const& r : reports)
                if (r.finding != tools::Finding::none && !a.verbose)  // float is the experiment's own choice
                    spdlog::log(r.finding == tools::Finding::not_quantized ? spdlog::level::info
                                                                           : spdlog::level::warn,
                                "{}: {}", r.path, text(r.finding));
            if (!a.report.empty()) write_json(a.report, to_json(reports));
            if (!a.plot.empty())
                if (auto const why = detail::draw(reports, a.plot, info.name + ", " + a.weights);
                    !why.empty())
                    spdlog::warn(why);
        }
        if (!a.save.empty()) {
            manifest.experiment = info.name, manifest.names = set.names, manifest.bits = 0;
            manifest.epoch = -1, manifest.best_fitness = 0;
            save_checkpoint(a.save, {state_of(*detector), manifest});
            spdlog::info("{} holds the quantized network", a.save);
        }
        if (!a.noval) {
            Dataset const images(images_of(set, task), static_cast<int>(set.classes));
            auto const before = detail::validated(*in_float, images, a, "float");
            auto const after = detail::validated(*detector, images, a, "quantized");
            std::cout << table_head << "\n";
            for (auto const& [name, v] :
                 {std::pair{"float", &before}, std::pair{info.name.c_str(), &after}}) {
                auto const& e = v->evaluation;
                std::cout << table_row(name, e.images, e.labels, e.precision, e.recall, e.map50, e.map)
                          << "\n";
            }
            object["float"] = yolo::to_json(before, set.names),
            object["quantized"] = yolo::to_json(after, set.names);
        }
        if (!a.json.empty()) write_json(a.json, object);
        return 0;
    });
}

}  // namespace yolo::apps
