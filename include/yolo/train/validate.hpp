#pragma once
// A detector against labels: forward, decode, NMS, matching in original pixels. YOLOv5's val.py.

#include <yolo/data/loader.hpp>
#include <yolo/data/scale_boxes.hpp>
#include <yolo/loss/loss.hpp>
#include <yolo/metrics/nms.hpp>
#include <yolo/metrics/validation.hpp>
#include <yolo/model/decode.hpp>
#include <yolo/model/detector.hpp>

#include <chrono>
#include <functional>

namespace yolo {

/// What is known after each batch: done of total.
using BatchProgress = std::function<void(int done, int total)>;

namespace detail {
class Stopwatch {  // milliseconds since the last call
public:
    double operator()() {
        auto const now = std::chrono::steady_clock::now();
        auto const passed = std::chrono::duration<double, std::milli>(now - last_).count();
        last_ = now;
        return passed;
    }

private:
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// Rows (class, x1, y1, x2, y2) in original pixels of one image of a batch.                                    [m, 5]
inline torch::Tensor labels_in_pixels(Batch const& batch, std::int64_t image) {
    auto const& t = batch.targets;  // [n, 6]: image, class, cx, cy, w, h
    auto const own = t.index({t.select(1, 0) == image});
    auto const boxes = xywhn_to_xyxy(own.slice(1, 2, 6), static_cast<double>(batch.images.size(3)),
                                     static_cast<double>(batch.images.size(2)));
    return torch::cat({own.slice(1, 1, 2), scale_boxes(boxes, batch.infos[static_cast<std::size_t>(image)])},
                      1);
}
}  // namespace detail

/// Runs one epoch of the loader (rectangular batches, no augmentation). The detector is left in the mode it was in.
/// loss: null, or computed as in training.
inline Validation validate(Detector& detector, Loader& loader, NmsOptions const& nms_options,
                           DetectionLoss const* loss = nullptr, BatchProgress const& progress = {}) {
    torch::NoGradGuard no_grad;
    auto& model = detector.module();
    bool const was_training = model.is_training();
    model.eval();

    Validation result;
    DetectionMetrics metrics(static_cast<int>(detector.options().classes));
    auto items = torch::zeros(3);
    std::int64_t images = 0;
    int done = 0;
    detail::Stopwatch lap;
    loader.start_epoch(0);
    for (Batch batch; loader.next(batch);) {
        auto const input = batch.images.to(detector.device());
        result.preprocess_ms += lap();
        auto const logits = detector(input);
        auto const predictions = decode(logits, detector.options());
        if (loss) items += (*loss)(logits, batch.targets).items.to(torch::kCPU);
        result.inference_ms += lap();
        auto const found = nms(predictions, nms_options);
        result.nms_ms += lap();
        for (std::size_t i = 0; i < found.size(); ++i) {
            auto boxes = found[i].to(torch::kCPU);
            if (boxes.size(0) > 0) boxes = scale_boxes(boxes, batch.infos[i]);
            metrics.add(boxes, detail::labels_in_pixels(batch, static_cast<std::int64_t>(i)));
        }
        images += batch.images.size(0), ++done;
        if (progress) progress(done, loader.batches());
        lap();
    }
    result.evaluation = metrics.compute();
    for (std::size_t k = 0; k < 3; ++k)
        result.loss[k] = items[static_cast<std::int64_t>(k)].item<double>() / std::max(done, 1);
    for (double* ms : {&result.preprocess_ms, &result.inference_ms, &result.nms_ms})
        *ms /= static_cast<double>(std::max<std::int64_t>(images, 1));
    model.train(was_training);
    return result;
}

/// The loader that validation wants: rectangular batches with half a stride of padding, every image once.
inline LoaderOptions validation_loader(int image_size, int batch_size, int workers) {
    LoaderOptions o;
    o.image_size = image_size, o.batch_size = batch_size, o.workers = workers;
    o.rect = true, o.pad = 0.5;
    return o;
}

}  // namespace yolo
