// Images/s of the loader beside what decoding alone allows, measured in one process and in turns:
// - mosaics from JPEG (nothing cached) and from memory (second epoch), rectangular validation batches from JPEG;
// - the limits: every image through cv::imread on one thread and on as many as the loader has; a mosaic needs four;
// - the stages on one thread, by plain OpenCV calls on whole pictures: what a loader without own ideas would spend.
// Of several rounds the fastest counts. Measure on an idle machine.

#include <yolo/apps/cli.hpp>
#include <yolo/data/loader.hpp>
#include <yolo/io/dataset_yaml.hpp>
#include <yolo/io/results_json.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>

namespace {
using Clock = std::chrono::steady_clock;

double seconds(auto const& work) {
    auto const start = Clock::now();
    work();
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// All images through imread, on so many threads.                                                     images/s
double decode(yolo::Dataset const& images, int threads) {
    std::atomic<std::size_t> next{0};
    auto const work = [&] {
        for (std::size_t i; (i = next++) < images.size();) yolo::read_image(images[i].image);
    };
    return static_cast<double>(images.size()) / seconds([&] {
               std::vector<std::thread> others;
               for (int i = 1; i < threads; ++i) others.emplace_back(work);
               work();
               for (std::thread& thread : others) thread.join();
           });
}

/// An epoch, without the start of its threads.                                                         images/s
double epoch(yolo::Loader& loader, int number) {
    std::int64_t count = 0;
    double const time = seconds([&] {
        loader.start_epoch(number);
        for (yolo::Batch batch; loader.next(batch);) count += batch.images.size(0);
    });
    return static_cast<double>(count) / time;
}

/// ms for an image on one thread.
nlohmann::ordered_json stages(yolo::Dataset const& images, int size) {
    double decoding = 0, resizing = 0, drawing = 0, warping = 0, colours = 0, planes = 0;
    yolo::Hyperparameters const hyp;
    std::vector<cv::Mat> loaded;
    for (auto const& item : images.items()) {
        cv::Mat image;
        decoding += seconds([&] { image = yolo::read_image(item.image); });
        resizing +=
            seconds([&] { loaded.push_back(yolo::resize_long_side(image, size, yolo::Shrink::linear)); });
    }
    std::vector<std::uint8_t> bytes(3 * static_cast<std::size_t>(size) * static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < loaded.size(); ++i) {
        yolo::Random random(0, 0, i);
        std::vector<yolo::MosaicPart> parts;
        for (std::size_t k = 0; k < 4; ++k) {
            std::size_t const index = (i + 31 * k) % loaded.size();
            parts.push_back({loaded[index], &images[index].boxes, nullptr});
        }
        yolo::Sample whole, seen;
        drawing += seconds([&] { whole = yolo::mosaic(parts, size, random); });
        auto const view = yolo::random_view(hyp, whole.image.size(), {size, size}, random);
        warping += seconds([&] { seen = yolo::warp(whole, view, {size, size}); });
        colours += seconds([&] {
            cv::Mat hsv;
            cv::Mat const table(1, 256, CV_8UC3, cv::Scalar::all(7));
            cv::cvtColor(seen.image, hsv, cv::COLOR_BGR2HSV);
            cv::LUT(hsv, table, hsv);
            cv::cvtColor(hsv, hsv, cv::COLOR_HSV2BGR);
        });
        planes += seconds([&] { yolo::write_planes(seen.image, bytes.data(), size, size); });
    }
    auto const ms = [&](double total) { return 1000 * total / static_cast<double>(images.size()); };
    return {{"decode_ms", ms(decoding)}, {"resize_ms", ms(resizing)}, {"mosaic_ms", ms(drawing)},
            {"warp_ms", ms(warping)},    {"hsv_ms", ms(colours)},     {"planes_ms", ms(planes)}};
}

}  // namespace

int main(int argc, char** argv) {
    yolo::apps::CommandLine app("Images/s of the loader and of decoding alone.", "bench-loader");
    std::string data, json;
    int size = 640, workers = 2, batch = 16, rounds = 3;
    app.add_option("--data", data, "data set YAML; its training images")->required();
    app.add_option("--imgsz", size, "pixels");
    app.add_option("--workers", workers, "threads");
    app.add_option("--batch-size", batch, "images of a training batch; validation takes twice as many");
    app.add_option("--rounds", rounds, "of which the fastest counts");
    app.add_option("--json", json, "write the results to this file");
    return yolo::apps::run(app, argc, argv, [&] {
        auto const set = yolo::load_dataset_yaml(data);
        yolo::Dataset const images(set.train, static_cast<int>(set.classes));
        yolo::LoaderOptions training;
        training.image_size = size, training.batch_size = batch, training.workers = workers;
        training.augment = training.shuffle = true;
        auto from_files = training;
        from_files.caching = yolo::ImageCaching::none;
        yolo::LoaderOptions validation;
        validation.image_size = size, validation.batch_size = 2 * batch, validation.workers = workers;
        validation.rect = true, validation.pad = 0.5, validation.caching = yolo::ImageCaching::none;
        yolo::Loader jpeg(images, from_files), memory(images, training), rectangular(images, validation);
        epoch(memory, 0), epoch(rectangular, 0);  // fills the cache, and the system's
        double alone = 0, together = 0, mosaic = 0, cached = 0, rect = 0;
        auto const fastest = [](double& best, double rate) { best = std::max(best, rate); };
        for (int round = 1; round <= rounds; ++round) {
            fastest(alone, decode(images, 1)), fastest(together, decode(images, workers));
            fastest(mosaic, epoch(jpeg, round));
            fastest(cached, epoch(memory, round));
            fastest(rect, epoch(rectangular, round));
        }
        nlohmann::ordered_json const stage = stages(images, size);
        auto const stage_ms = [&](char const* name) { return stage.at(name).get<double>(); };
        double const plain_ms =
            4 * (stage_ms("decode_ms") + stage_ms("resize_ms")) + stage_ms("warp_ms") + stage_ms("hsv_ms");
        nlohmann::ordered_json const result{{"images", images.size()},
                                            {"image_size", size},
                                            {"workers", workers},
                                            {"mosaic_from_jpeg", mosaic},
                                            {"mosaic_cached", cached},
                                            {"validation_from_jpeg", rect},
                                            {"decode_one_thread", alone},
                                            {"decode_all_threads", together},
                                            {"mosaic_of_decoding_four", mosaic / (together / 4)},
                                            {"mosaic_of_all_stages", mosaic / (workers * 1000 / plain_ms)},
                                            {"validation_of_decoding", rect / together},
                                            {"stages", stage},
                                            {"cache", memory.cache_summary()}};
        std::printf("%s\n", result.dump(2).c_str());
        if (!json.empty()) yolo::write_json(json, result);
        return 0;
    });
}
