#pragma once
// yolo-val: mAP of a checkpoint on a data set.

#include <yolo/apps/cli.hpp>
#include <yolo/io/dataset_yaml.hpp>
#include <yolo/io/results_json.hpp>
#include <yolo/train/validate.hpp>

namespace yolo::apps {

inline constexpr char const* table_head =
    "                 Class     Images  Instances          P          R      mAP50   mAP50-95";

inline std::string table_row(std::string const& name, std::int64_t images, std::int64_t labels, double p,
                             double r, double map50, double map) {
    char line[160];
    std::snprintf(line, sizeof line, "%22s%11lld%11lld%11.3g%11.3g%11.3g%11.3g", name.c_str(),
                  static_cast<long long>(images), static_cast<long long>(labels), p, r, map50, map);
    return line;
}

inline void print_table(Evaluation const& e, std::vector<std::string> const& names, bool per_class) {
    std::cout << table_head << "\n"
              << table_row("all", e.images, e.labels, e.precision, e.recall, e.map50, e.map) << "\n";
    if (per_class)
        for (auto const& c : e.per_class)
            std::cout << table_row(names.at(static_cast<std::size_t>(c.cls)), c.images, c.labels, c.precision,
                                   c.recall, c.map50, c.map)
                      << "\n";
}

inline Split split_named(std::string const& name) {
    return name == "train" ? Split::train : name == "test" ? Split::test : Split::val;
}

inline int val(Catalogue const& catalogue, int argc, char const* const* argv) {
    CommandLine app("Precision, recall and mean average precision of a checkpoint on a data set.",
                    "yolo-val");
    std::string data, weights, experiment, device_name, task = "val", json;
    int image_size = 640, batch_size = 32, workers = 2, max_det = 300, threads = 0;
    double confidence = 0.001, iou = 0.6;
    bool verbose = false, agnostic = false;
    app.add_option("--data", data, "data set YAML as YOLOv5's")->required();
    app.add_option("--weights", weights, "checkpoint: ours or an official .pt")->required();
    app.add_option("--experiment", experiment,
                   "what the network computes; default: what the checkpoint says");
    app.add_option("--imgsz,--img,--img-size", image_size, "pixels of the longer side")->check(at_least(1));
    app.add_option("--batch-size", batch_size, "images")->check(at_least(1));
    app.add_option("--conf-thres", confidence, "confidence below which boxes are left out")->check(share());
    app.add_option("--iou-thres", iou, "overlap above which the less confident box goes")->check(share());
    app.add_option("--max-det", max_det, "boxes of an image")->check(at_least(1));
    app.add_option("--task", task, "which part of the data set")
        ->check(CLI::IsMember({"train", "val", "test"}));
    app.add_option("--device", device_name, "cpu or 0; default: a GPU if there is one");
    app.add_option("--workers", workers, "threads that load images")->check(at_least(0));
    app.add_option("--threads", threads, "threads that compute; 0: all cores")->check(at_least(0));
    app.add_option("--json", json, "write the results to this file");
    app.add_flag("--verbose", verbose, "a row for every class");
    app.add_flag("--agnostic-nms", agnostic, "classes suppress each other");
    return run(app, argc, argv, [&] {
        set_threads(threads);
        auto const set = load_dataset_yaml(data, {split_named(task)});
        require_images(set, split_named(task), data);
        auto loaded = load_detector(catalogue, weights, experiment, device(device_name));
        auto& detector = *loaded.detector;
        if (detector.options().classes != set.classes)
            throw std::runtime_error(weights + " knows " + std::to_string(detector.options().classes) +
                                     " classes and " + data + " has " + std::to_string(set.classes) +
                                     "; they do not belong together");
        Dataset const images(images_of(set, split_named(task)), static_cast<int>(set.classes));
        for (auto const& message : images.summary().messages) spdlog::warn(message);
        spdlog::info(summary(detector, *loaded.experiment));
        auto const side = (image_size + 31) / 32 * 32;
        if (side != image_size) spdlog::warn("--imgsz {} is no multiple of 32; {} is used", image_size, side);
        Loader loader(images, validation_loader(side, batch_size, workers));
        ProgressLine progress;
        NmsOptions nms;
        nms.confidence = confidence, nms.iou = iou, nms.max_detections = max_det, nms.agnostic = agnostic;
        auto const result = validate(detector, loader, nms, nullptr, [&](int done, int total) {
            progress("validating " + std::to_string(done) + "/" + std::to_string(total));
        });
        progress.end();
        print_table(result.evaluation, set.names, verbose);
        char speed[160];
        std::snprintf(
            speed, sizeof speed,
            "Speed: %.1f ms pre-process, %.1f ms inference, %.1f ms NMS per image at shape (%d, 3, %d, %d)",
            result.preprocess_ms, result.inference_ms, result.nms_ms, batch_size, side, side);
        std::cout << speed << "\n";
        if (!json.empty()) {
            auto object = to_json(result, set.names);
            object["experiment"] = loaded.experiment->name;
            write_json(json, object);
        }
        return 0;
    });
}

}  // namespace yolo::apps
