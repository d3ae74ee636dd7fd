#pragma once
// yolo-detect: boxes on pictures and videos.

#include <yolo/apps/cli.hpp>
#include <yolo/apps/detect_output.hpp>
#include <yolo/apps/half.hpp>
#include <yolo/train/detect_picture.hpp>
#include <yolo/train/run_folder.hpp>

#include <chrono>

namespace yolo::apps {

struct DetectArguments {
    std::string source, weights, experiment, device, project = "runs/detect", name = "exp", json;
    std::vector<int> image_size{640}, classes;
    int max_det = 1000, threads = 0, stride = 1, thickness = 3;
    double confidence = 0.25, iou = 0.45;
    bool agnostic = false, exist_ok = false, augment = false, half = false;
    bool save_txt = false, save_conf = false, save_crop = false, nosave = false;
    bool hide_labels = false, hide_conf = false;

    void declare(CLI::App& app) {
        app.add_option("--source", source,
                       "picture, video, folder, pattern such as 'a/*.jpg', or .txt list of these")
            ->required();
        app.add_option("--weights", weights, "checkpoint: ours or an official .pt")->required();
        app.add_option("--experiment", experiment,
                       "what the network computes; default: what the checkpoint says");
        app.add_option(
               "--imgsz,--img,--img-size", image_size,
               "pixels that pictures are made to fit, multiples of 32: of both sides, or height and width")
            ->expected(1, 2)
            ->trigger_on_parse()
            ->transform(up_to_multiple_of_32());
        app.add_option("--conf-thres,--conf", confidence, "confidence below which boxes are left out")
            ->check(share());
        app.add_option("--iou-thres,--iou", iou, "overlap above which the less confident box goes")
            ->check(share());
        app.add_option("--max-det", max_det, "boxes of an image")->check(at_least(1));
        app.add_option("--classes", classes, "only these")->trigger_on_parse()->check(at_least(0));
        app.add_option("--device", device, "cpu or 0; default: a GPU if there is one");
        app.add_option("--threads", threads, "threads that compute; 0: all cores")->check(at_least(0));
        app.add_option("--vid-stride", stride, "of a video, take every so many-th frame")->check(at_least(1));
        app.add_option("--line-thickness", thickness, "of the boxes' lines, pixels")->check(at_least(1));
        app.add_option("--project", project, "folder of the runs");
        app.add_option("--name", name, "folder of this run");
        app.add_option("--json", json, "write the boxes to this file");
        app.add_flag("--agnostic-nms", agnostic, "classes suppress each other");
        app.add_flag("--augment", augment, "look at every picture three times: as it is, mirrored, smaller");
        app.add_flag("--half", half, "float16 on CUDA");
        app.add_flag("--save-txt", save_txt, "label files: labels/NAME.txt");
        app.add_flag("--save-conf", save_conf, "with the confidence behind each label");
        app.add_flag("--save-crop", save_crop, "cut-outs of the boxes: crops/CLASS/NAME.jpg");
        app.add_flag("--nosave", nosave, "no pictures and no videos");
        app.add_flag("--hide-labels", hide_labels, "boxes without names");
        app.add_flag("--hide-conf", hide_conf, "names without confidences");
        app.add_flag("--exist-ok", exist_ok, "use the run's folder though it exists");
    }

    DetectOutputs outputs() const {
        return {.pictures = !nosave,
                .labels = save_txt,
                .crops = save_crop,
                .label_confidence = save_conf ? SaveConfidence::yes : SaveConfidence::no,
                .style = {.thickness = thickness, .labels = !hide_labels, .confidence = !hide_conf}};
    }
    PictureOptions picture(torch::Device where) const {
        return {.height = image_size.front(),
                .width = image_size.back(),
                .nms = {.confidence = confidence,
                        .iou = iou,
                        .max_detections = max_det,
                        .multi_label = false,
                        .agnostic = agnostic,
                        .classes = classes},
                .precision = precision(half, where),
                .augment = augment};
    }
};

inline int detect(Catalogue const& catalogue, int argc, char const* const* argv) {
    CommandLine app("Finds objects on pictures and videos and draws their boxes.", "yolo-detect");
    DetectArguments a;
    a.declare(app);
    return run(app, argc, argv, [&] {
        set_threads(a.threads);
        cv::setNumThreads(0);  // OpenCV's threads would fight with LibTorch's
        auto const where = device(a.device);
        FrameReader reader(find_sources(a.source), a.stride);
        auto loaded = load_detector(catalogue, a.weights, a.experiment, where);
        auto const options = a.picture(where);
        auto const folder = make_run_folder(a.project, a.name, a.exist_ok);
        DetectionWriter writer(folder, loaded.manifest.names, a.outputs());
        int frames = 0;
        for (Frame frame;;) {
            if (!reader.next(frame)) {
                auto const problem = reader.problem();
                if (!problem) break;
                spdlog::warn("{}; it is passed over", *problem);
                continue;
            }
            auto const begin = std::chrono::steady_clock::now();
            auto const boxes = detect_picture(*loaded.detector, frame.image, options);
            std::chrono::duration<double, std::milli> const took = std::chrono::steady_clock::now() - begin;
            writer.write(frame, boxes);
            char speed[32];
            std::snprintf(speed, sizeof speed, "%.1f ms", took.count());
            std::cout << (frame.of_video() ? "video " : "image ") << frame.source + 1 << "/"
                      << reader.sources();
            if (frame.of_video()) std::cout << " (" << frame.number << "/" << frame.count << ")";
            std::cout << " " << frame.path.string() << ": " << counts(boxes, loaded.manifest.names) << ", "
                      << speed << "\n";
            ++frames;
        }
        if (frames == 0) throw std::runtime_error(a.source + ": nothing in it could be read");
        if (!a.nosave || a.save_txt || a.save_crop) std::cout << "results in " << folder.string() << "\n";
        if (!a.json.empty()) write_json(a.json, writer.json());
        return 0;
    });
}

}  // namespace yolo::apps
