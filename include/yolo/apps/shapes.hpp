#pragma once
// yolo-shapes: writes a generated data set to train and to measure on where there is no other.

#include <yolo/apps/cli.hpp>
#include <yolo/data/shapes.hpp>
#include <yolo/io/results_json.hpp>

namespace yolo::apps {

inline int shapes(int argc, char const* const* argv) {
    CommandLine app("Draws a data set of shapes and writes it as a YOLOv5 data set.", "yolo-shapes");
    std::filesystem::path folder, json;
    ShapesOptions o;
    app.add_option("--output", folder, "folder to write; it must not exist or be empty")->required();
    app.add_option("--train", o.train, "training images")->check(at_least(0));
    app.add_option("--val", o.val, "validation images")->check(at_least(0));
    app.add_option("--imgsz,--img,--img-size", o.size_px, "pixels of a side")->check(at_least(32));
    app.add_option("--seed", o.seed, "of every random choice; another one gives other images")
        ->check(at_least(0));
    app.add_option("--json", json, "write what was drawn to this file");
    return run(app, argc, argv, [&] {
        if (std::filesystem::exists(folder) && !std::filesystem::is_empty(folder))
            throw std::runtime_error(folder.string() + " is not empty; give another folder");
        write_shapes(folder, o);
        std::cout << o.train << " training and " << o.val
                  << " validation images: " << (folder / "shapes.yaml").string() << "\n";
        if (!json.empty())
            write_json(json, {{"data", (folder / "shapes.yaml").string()},
                              {"train", o.train},
                              {"val", o.val},
                              {"size_px", o.size_px},
                              {"seed", o.seed}});
        return 0;
    });
}

}  // namespace yolo::apps
