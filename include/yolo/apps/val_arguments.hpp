#pragma once
// The options of yolo-val.

#include <yolo/apps/cli.hpp>
#include <yolo/apps/half.hpp>
#include <yolo/io/dataset_yaml.hpp>
#include <yolo/train/validate.hpp>

namespace yolo::apps {

inline Split split_named(std::string const& name) {
    return name == "train" ? Split::train : name == "test" ? Split::test : Split::val;
}

struct ValArguments {
    std::string data, weights, experiment, device, task = "val", json;
    std::string annotations, predictions;
    std::string project = "runs/val", name = "exp";
    int image_size = 640, batch_size = 32, workers = 2, max_det = 300, threads = 0;
    double confidence = 0.001, iou = 0.6;
    bool verbose = false, agnostic = false, augment = false, half = false, single_class = false;
    bool save_txt = false, save_conf = false, save_json = false, noplots = false, exist_ok = false;

    void declare(CLI::App& app) {
        app.add_option("--data", data, "data set YAML as YOLOv5's");
        app.add_option("--weights", weights, "checkpoint: ours or an official .pt");
        app.add_option("--experiment", experiment,
                       "what the network computes; default: what the checkpoint says");
        app.add_option("--imgsz,--img,--img-size", image_size, "pixels of the longer side")
            ->transform(up_to_multiple_of_32());
        app.add_option("--batch-size,--batch", batch_size, "images")->check(at_least(1, largest_batch));
        app.add_option("--conf-thres,--conf", confidence, "confidence below which boxes are left out")
            ->check(share());
        app.add_option("--iou-thres,--iou", iou, "overlap above which the less confident box goes")
            ->check(share());
        app.add_option("--max-det", max_det, "boxes of an image")->check(at_least(1));
        app.add_option(
               "--task", task,
               "which part of the data set; speed: how fast on square images with confidence 0.25 and "
               "overlap 0.45; study: figures and speeds over image sizes from 256 to 1536")
            ->check(CLI::IsMember({"train", "val", "test", "speed", "study"}));
        app.add_option("--device", device, "cpu or 0; default: a GPU if there is one");
        app.add_option("--workers", workers, "threads that load images")->check(at_least(0));
        app.add_option("--threads", threads, "threads that compute; 0: all cores")->check(at_least(0));
        app.add_option("--annotations", annotations, "COCO's annotation file of the images");
        app.add_option("--predictions", predictions,
                       "evaluate this COCO result file against --annotations; no network and no data set");
        app.add_option("--project", project, "folder of the runs that save something");
        app.add_option("--name", name, "folder of this run");
        app.add_option("--json", json, "write the results to this file");
        app.add_flag("--verbose", verbose, "a row for every class");
        app.add_flag("--agnostic-nms", agnostic, "classes suppress each other");
        app.add_flag("--single-cls", single_class, "all classes are one");
        app.add_flag("--augment", augment, "look at every image three times: as it is, mirrored, smaller");
        app.add_flag("--half", half, "float16 on CUDA");
        app.add_flag("--save-txt", save_txt, "label files of what is found: labels/NAME.txt");
        app.add_flag("--save-conf", save_conf, "with the confidence behind each label");
        app.add_flag("--save-json", save_json,
                     "COCO's result file, and its twelve figures with --annotations");
        app.add_flag("--noplots", noplots, "draw no curves, no confusion matrix and no batches");
        app.add_flag("--exist-ok", exist_ok, "use the run's folder though it exists");
    }

    /// throws CLI::ParseError, which ends the program with status 2.
    void check() const {
        if (!predictions.empty()) {
            if (annotations.empty()) throw CLI::RequiresError("--predictions", "--annotations");
            return;
        }
        if (data.empty()) throw CLI::RequiredError("--data");
        if (weights.empty()) throw CLI::RequiredError("--weights");
        if (!annotations.empty() && !save_json)
            throw CLI::RequiresError("--annotations", "--save-json (or --predictions)");
    }

    /// What --task makes of them.
    ValArguments for_task() const {
        auto a = *this;
        if (task == "speed") a.confidence = 0.25, a.iou = 0.45;
        if (task == "speed" || task == "study") a.noplots = true, a.save_json = false, a.annotations = "";
        return a;
    }
    bool saves() const { return save_txt || save_json || !noplots || task == "study"; }

    /// side: pixels, a multiple of 32
    LoaderOptions loader(int side) const {
        auto o = validation_loader(side, batch_size, workers);
        if (task == "speed") o.rect = false, o.pad = 0;  // every image the same work
        return o;
    }
    ValidationOptions validation(torch::Device where) const {
        ValidationOptions o;
        o.nms.confidence = confidence, o.nms.iou = iou;
        o.nms.max_detections = max_det, o.nms.agnostic = agnostic;
        o.precision = precision(half, where), o.augment = augment, o.single_class = single_class;
        return o;
    }
};

}  // namespace yolo::apps
