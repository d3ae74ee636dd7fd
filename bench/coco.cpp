// How long coco_evaluate takes on a large case made by a seed: by default 5,000 images with 100 detections each and some
// seven objects, over 80 classes. With --write the same case as files, so that other tools can be timed on it.

#include <yolo/io/coco_json.hpp>
#include <yolo/metrics/coco.hpp>

#include <CLI/CLI.hpp>

#include <chrono>
#include <random>

namespace {

/// The engine is specified, so that a seed gives the same case everywhere.
class Numbers {
public:
    explicit Numbers(std::uint32_t seed) : engine_(seed) {}
    double operator()(double low, double high) {
        return low + (high - low) * (static_cast<double>(engine_()) / 4294967296.0);
    }
    int below(int n) { return static_cast<int>(engine_() % static_cast<std::uint32_t>(n)); }

private:
    std::mt19937 engine_;
};

struct Case {
    yolo::CocoGroundTruth truth;
    std::vector<yolo::CocoDetection> detections;
};

double round_to(double value, double step) { return std::round(value / step) * step; }

/// Half of the objects are found by a shifted box of their class; the rest of the detections lie anywhere.
Case make_case(int images, int detections, int classes, std::uint32_t seed) {
    Numbers random(seed);
    Case out;
    for (int c = 0; c < classes; ++c) out.truth.categories.push_back({c + 1, "class " + std::to_string(c)});
    auto const box = [&]() -> yolo::CocoBox {
        auto const size = std::exp(random(2, 5.5)), shape = random(0.5, 2);
        return {round_to(random(0, 500), 0.01), round_to(random(0, 400), 0.01), round_to(size, 0.01),
                round_to(size * shape, 0.01)};
    };
    std::int64_t id = 1;
    for (int i = 0; i < images; ++i) {
        std::int64_t const image = i + 1;
        out.truth.images.push_back({image, std::to_string(image) + ".jpg"});
        int left = detections;
        for (int o = 1 + random.below(13); o > 0; --o) {
            auto const where = box();
            std::int64_t const category = 1 + random.below(classes);
            out.truth.annotations.push_back(
                {id++, image, category, where, where[2] * where[3] * 0.7, random.below(100) == 0});
            for (int n = random.below(3); n > 0 && left > 0; --n, --left) {
                auto const move = where[2] * 0.2;
                out.detections.push_back(
                    {image,
                     category,
                     {round_to(where[0] + random(-move, move), 0.001),
                      round_to(where[1] + random(-move, move), 0.001), where[2], where[3]},
                     round_to(random(0.2, 1), 1e-5)});
            }
        }
        for (; left > 0; --left)
            out.detections.push_back(
                {image, 1 + random.below(classes), box(), round_to(random(0, 0.6), 1e-5)});
    }
    return out;
}

nlohmann::json annotations_json(yolo::CocoGroundTruth const& truth) {
    nlohmann::json json{{"info", nlohmann::json::object()}};
    for (auto const& image : truth.images)
        json["images"].push_back({{"id", std::get<std::int64_t>(image.id)}, {"file_name", image.file_name}});
    for (auto const& a : truth.annotations)
        json["annotations"].push_back({{"id", a.id},
                                       {"image_id", std::get<std::int64_t>(a.image_id)},
                                       {"category_id", a.category_id},
                                       {"bbox", a.box},
                                       {"area", a.area},
                                       {"iscrowd", a.crowd ? 1 : 0}});
    for (auto const& c : truth.categories) json["categories"].push_back({{"id", c.id}, {"name", c.name}});
    return json;
}

double seconds_of(auto const& f) {
    auto const start = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Times yolo::coco_evaluate on a case made by a seed."};
    int images = 5000, detections = 100, classes = 80, repeats = 5, threads = 0;
    std::uint32_t seed = 1;
    double pycocotools = 89.6, faster_coco_eval = 9.3;
    std::string json_file, folder;
    app.add_option("--images", images)->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--detections", detections, "An image")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    app.add_option("--classes", classes)->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--repeats", repeats, "The median is reported")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--threads", threads, "At most; 0: all cores")->capture_default_str();
    app.add_option("--seed", seed)->capture_default_str();
    app.add_option("--pycocotools", pycocotools, "Its seconds, measured elsewhere")->capture_default_str();
    app.add_option("--faster-coco-eval", faster_coco_eval, "Its seconds, measured elsewhere")
        ->capture_default_str();
    app.add_option("--json", json_file, "Write the figures there");
    app.add_option("--write", folder, "Write annotations.json and results.json of the case there, and stop");
    CLI11_PARSE(app, argc, argv);

    try {
        auto const made = make_case(images, detections, classes, seed);
        if (!folder.empty()) {
            std::filesystem::create_directories(folder);
            auto const path = std::filesystem::path(folder);
            yolo::write_atomically(path / "annotations.json", annotations_json(made.truth).dump());
            yolo::write_coco_results(path / "results.json", made.detections);
            return 0;
        }
        yolo::CocoStats stats;
        std::vector<double> seconds;
        for (int i = 0; i < repeats; ++i)
            seconds.push_back(seconds_of(
                [&] { stats = coco_evaluate(made.truth, made.detections, {.threads = threads}); }));
        std::sort(seconds.begin(), seconds.end());
        double const median = seconds[seconds.size() / 2];
        std::printf("%s", coco_summary(stats).c_str());
        std::printf("%zu images, %zu objects, %zu detections: %.3f s (median of %d; %.3f to %.3f)\n",
                    made.truth.images.size(), made.truth.annotations.size(), made.detections.size(), median,
                    repeats, seconds.front(), seconds.back());
        std::printf(
            "%.0f times faster than %.1f s (pycocotools), %.0f times faster than %.1f s (faster-coco-eval)\n",
            pycocotools / median, pycocotools, faster_coco_eval / median, faster_coco_eval);
        if (!json_file.empty())
            yolo::write_atomically(
                json_file, nlohmann::ordered_json{{"images", images},
                                                  {"detections_per_image", detections},
                                                  {"classes", classes},
                                                  {"objects", made.truth.annotations.size()},
                                                  {"seconds", median},
                                                  {"seconds_fastest", seconds.front()},
                                                  {"seconds_slowest", seconds.back()},
                                                  {"pycocotools_seconds", pycocotools},
                                                  {"faster_coco_eval_seconds", faster_coco_eval},
                                                  {"times_pycocotools", pycocotools / median},
                                                  {"times_faster_coco_eval", faster_coco_eval / median},
                                                  {"coco", to_json(stats)}}
                                   .dump(2) +
                               "\n");
    } catch (std::exception const& error) {
        std::fprintf(stderr, "bench-coco: %s\n", error.what());
        return 1;
    }
}
