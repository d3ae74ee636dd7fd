#pragma once
// yolo-val: mAP of a checkpoint on a data set, or of a result file.

#include <yolo/apps/coco_output.hpp>
#include <yolo/apps/scan.hpp>
#include <yolo/apps/val_output.hpp>
#include <yolo/apps/validation_pictures.hpp>
#include <yolo/plot/study_plot.hpp>
#include <yolo/train/run_folder.hpp>

namespace yolo::apps {

/// A run of yolo-val on one image size.
struct ValRun {
    Detector& detector;
    Dataset const& images;
    std::filesystem::path folder;        // for what is saved
    BatchObserver observer{};            // sees every batch beside what the options ask for
    KeepCurves curves = KeepCurves::no;  // in the evaluation

    Validation operator()(ValArguments const& a, int side, CocoOutput* coco = nullptr) const {
        Loader loader(images, a.loader(side));
        ProgressLine progress;
        auto options = a.validation(detector.device());
        options.curves = curves;
        options.progress = [&](int done, int total) {
            progress("validating " + std::to_string(done) + "/" + std::to_string(total));
        };
        LabelFiles labels(folder / "labels", a.save_conf ? SaveConfidence::yes : SaveConfidence::no);
        options.observer = [&](BatchFindings const& found) {
            if (coco) coco->add(found);
            for (std::size_t i = 0; a.save_txt && i < found.detections.size(); ++i) {
                auto const& info = found.batch.infos[i];
                labels.save(info.path.stem().string(), found.detections[i], info.height0, info.width0);
            }
            if (observer) observer(found);
        };
        auto result = validate(detector, loader, options);
        progress.end();
        return result;
    }
};

/// A result file against its annotations.
inline int val_predictions(ValArguments const& a) {
    auto const truth = read_coco_annotations(a.annotations);
    auto const coco = print_coco(truth, read_coco_results(a.predictions, truth));
    if (!a.json.empty()) write_json(a.json, {{"coco", coco}});
    return 0;
}

/// study_DATA_WEIGHTS.txt: a line an image size; study.png: all studies of the folder.
inline void val_study(ValRun const& run, ValArguments const& a, std::vector<std::string> const& names) {
    namespace fs = std::filesystem;
    auto const file = run.folder / ("study_" + fs::path(a.data).stem().string() + "_" +
                                    fs::path(a.weights).stem().string() + ".txt");
    std::string lines;
    auto sizes = nlohmann::ordered_json::array();
    for (int side = study_first; side <= study_last; side += study_step) {
        auto const result = run(a, side);
        lines += study_line(result);
        auto& entry = sizes.emplace_back(to_json(result, names));
        entry["imgsz"] = side;
        auto const& e = result.evaluation;
        std::cout << table_row(std::to_string(side) + " px", e.images, e.labels, e.precision, e.recall,
                               e.map50, e.map)
                  << "  " << speed_line(result, a.batch_size, side) << std::endl;
        write_atomically(file, lines);  // as far as it goes
    }
    std::vector<fs::path> studies;
    for (auto const& entry : fs::directory_iterator(run.folder))
        if (auto const& path = entry.path();
            path.filename().string().starts_with("study_") && path.extension() == ".txt")
            studies.push_back(path);
    std::sort(studies.begin(), studies.end());
    if (auto const why = plot_study(studies, run.folder / "study.png"); !why.empty()) spdlog::warn(why);
    std::cout << "study in " << file.string() << "\n";
    if (!a.json.empty()) write_json(a.json, {{"study", sizes}});
}

inline int val_network(Catalogue const& catalogue, ValArguments a) {
    set_threads(a.threads);
    auto const split = split_named(a.task);
    auto set = load_dataset_yaml(a.data, {split});
    require_images(set, split, a.data);
    auto loaded = load_detector(catalogue, a.weights, a.experiment, device(a.device));
    auto& detector = *loaded.detector;
    if (a.single_class)
        set = single_class(std::move(set));
    else if (detector.options().classes != set.classes)
        throw std::runtime_error(a.weights + " knows " + std::to_string(detector.options().classes) +
                                 " classes and " + a.data + " has " + std::to_string(set.classes) +
                                 "; they do not belong together");
    auto const images = scan_data_set(images_of(set, split), static_cast<int>(set.classes), a.single_class);
    if (images.boxes() == 0)
        spdlog::warn(
            "no image of {} has a label, so that all figures are 0; the first one's is looked for in {}",
            a.data, label_path(images[0].image).string());
    std::optional<CocoOutput> coco;
    if (bool const listed = a.task == "val" && is_coco(set); listed || a.save_json) {
        a.save_json = true;
        coco.emplace(listed && a.annotations.empty() ? coco_output(set, images)
                                                     : CocoOutput(set, images, a.annotations));
    }
    spdlog::info(summary(detector, *loaded.experiment));

    ValRun run{detector, images, a.saves() ? make_run_folder(a.project, a.name, a.exist_ok) : ""};
    if (a.task == "study") {
        val_study(run, a, set.names);
        return 0;
    }
    ValidationPictures pictures(run.folder, set.names);
    if (!a.noplots) run.observer = pictures.observer(), run.curves = KeepCurves::yes;
    auto const result = run(a, a.image_size, coco ? &*coco : nullptr);
    if (!a.noplots) pictures.draw(result.evaluation);
    print_table(result.evaluation, set.names, a.verbose || (set.classes > 1 && set.classes < 50));
    std::cout << speed_line(result, a.batch_size, a.image_size) << "\n";
    auto object = to_json(result, set.names);
    object["experiment"] = loaded.experiment->name;
    if (coco) {
        auto const name = std::filesystem::path(a.weights).stem().string() + "_predictions.json";
        if (auto const figures = coco->write(run.folder / name)) object["coco"] = *figures;
    }
    if (a.saves()) std::cout << "results in " << run.folder.string() << "\n";
    if (!a.json.empty()) write_json(a.json, object);
    return 0;
}

inline int val(Catalogue const& catalogue, int argc, char const* const* argv) {
    CommandLine app(
        "Precision, recall and mean average precision of a checkpoint on a data set, or of a COCO "
        "result file.",
        "yolo-val");
    ValArguments a;
    a.declare(app);
    return run(app, argc, argv, [&] {
        a.check();
        return a.predictions.empty() ? val_network(catalogue, a.for_task()) : val_predictions(a);
    });
}

}  // namespace yolo::apps
