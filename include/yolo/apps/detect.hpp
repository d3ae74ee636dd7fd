#pragma once
// yolo-detect: boxes on images, as pictures.

#include <yolo/apps/cli.hpp>
#include <yolo/data/dataset.hpp>
#include <yolo/data/draw.hpp>
#include <yolo/data/scale_boxes.hpp>
#include <yolo/io/results_json.hpp>
#include <yolo/metrics/nms.hpp>
#include <yolo/model/decode.hpp>
#include <yolo/train/run_folder.hpp>

namespace yolo::apps {

/// "3 cat, 1 dog"
inline std::string counts(torch::Tensor const& boxes, std::vector<std::string> const& names) {
    std::map<int, int> count;
    for (std::int64_t i = 0; i < boxes.size(0); ++i) ++count[static_cast<int>(boxes[i][5].item<float>())];
    std::string text;
    for (auto const& [cls, n] : count)
        text += (text.empty() ? "" : ", ") + std::to_string(n) + " " + class_name(names, cls);
    return text.empty() ? "nothing" : text;
}

inline int detect(Catalogue const& catalogue, int argc, char const* const* argv) {
    CommandLine app("Finds objects on an image or a folder of images and draws their boxes.", "yolo-detect");
    std::string source, weights, experiment, device_name, project = "runs/detect", name = "exp", json;
    int image_size = 640, max_det = 1000, threads = 0;
    double confidence = 0.25, iou = 0.45;
    std::vector<int> classes;
    bool agnostic = false, exist_ok = false;
    app.add_option("--source", source, "image, folder or .txt list")->required();
    app.add_option("--weights", weights, "checkpoint: ours or an official .pt")->required();
    app.add_option("--experiment", experiment,
                   "what the network computes; default: what the checkpoint says");
    app.add_option("--imgsz,--img,--img-size", image_size, "pixels of the longer side, a multiple of 32")
        ->check(multiple_of_32());
    app.add_option("--conf-thres", confidence, "confidence below which boxes are left out")->check(share());
    app.add_option("--iou-thres", iou, "overlap above which the less confident box goes")->check(share());
    app.add_option("--max-det", max_det, "boxes of an image")->check(at_least(1));
    app.add_option("--classes", classes, "only these")->check(at_least(0));
    app.add_option("--device", device_name, "cpu or 0; default: a GPU if there is one");
    app.add_option("--threads", threads, "threads that compute; 0: all cores")->check(at_least(0));
    app.add_option("--project", project, "folder of the runs");
    app.add_option("--name", name, "folder of this run");
    app.add_option("--json", json, "write the boxes to this file");
    app.add_flag("--agnostic-nms", agnostic, "classes suppress each other");
    app.add_flag("--exist-ok", exist_ok, "use the run's folder though it exists");
    return run(app, argc, argv, [&] {
        torch::NoGradGuard no_grad;
        set_threads(threads);
        auto loaded = load_detector(catalogue, weights, experiment, device(device_name));
        auto& detector = *loaded.detector;
        Dataset const images({source}, 0);
        for (auto const& message : images.summary().messages) spdlog::warn(message);
        // One image a batch, each in a rectangle of its own shape.
        LoaderOptions loading;
        loading.image_size = image_size, loading.batch_size = 1, loading.workers = 1;
        loading.rect = true, loading.cache_images = false;
        Loader loader(images, loading);
        auto const folder = make_run_folder(project, name, exist_ok);
        NmsOptions const options{.confidence = confidence,
                                 .iou = iou,
                                 .max_detections = max_det,
                                 .multi_label = false,
                                 .agnostic = agnostic,
                                 .classes = classes};
        auto results = nlohmann::ordered_json::array();
        for (Batch batch; loader.next(batch);) {
            auto boxes = nms(decode(detector(batch.images), detector.options()), options)[0].to(torch::kCPU);
            if (boxes.size(0) > 0) boxes = scale_boxes(boxes, batch.infos[0]);
            auto const& path = batch.infos[0].path;
            draw_detections(path, folder / path.filename(), boxes, loaded.manifest.names);
            std::cout << path.string() << ": " << counts(boxes, loaded.manifest.names) << "\n";
            auto found = nlohmann::ordered_json::array();
            for (std::int64_t i = 0; i < boxes.size(0); ++i) {
                auto const at = [&](std::int64_t column) { return boxes[i][column].item<double>(); };
                auto const cls = static_cast<int>(at(5));
                found.push_back({{"class", cls},
                                 {"name", class_name(loaded.manifest.names, cls)},
                                 {"confidence", at(4)},
                                 {"box", {at(0), at(1), at(2), at(3)}}});
            }
            results.push_back({{"image", path.string()}, {"boxes", found}});
        }
        std::cout << "pictures in " << folder.string() << "\n";
        if (!json.empty()) write_json(json, {{"images", results}});
        return 0;
    });
}

}  // namespace yolo::apps
