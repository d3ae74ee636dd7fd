#pragma once
// A detector against labels: forward, decode, NMS, matching in original pixels. YOLOv5's val.py.

#include <yolo/data/loader.hpp>
#include <yolo/data/scale_boxes.hpp>
#include <yolo/loss/loss.hpp>
#include <yolo/metrics/nms.hpp>
#include <yolo/metrics/validation.hpp>
#include <yolo/model/augmented.hpp>
#include <yolo/train/mixed_precision.hpp>

#include <atomic>
#include <chrono>
#include <functional>

namespace yolo {

/// What is known after each batch: done of total.
using BatchProgress = std::function<void(int done, int total)>;

/// What was found in a batch, and what should have been. One tensor an image.
struct BatchFindings {
    Batch const& batch;
    std::vector<torch::Tensor> const&
        in_batch;  // [n, 6]: x1, y1, x2, y2 in pixels of the batch, confidence, class
    std::vector<torch::Tensor> const& detections;  // [n, 6]: the same in pixels of the original picture
    std::vector<torch::Tensor> const&
        labels;  // [m, 5]: class, x1, y1, x2, y2 in pixels of the original picture
};
/// Sees every batch, in their order, on the thread that validates. Its time counts for none of the speeds.
using BatchObserver = std::function<void(BatchFindings const&)>;

struct ValidationOptions {
    NmsOptions nms{};
    Precision precision = Precision::float32;  // of the network on CUDA; no effect on the CPU
    bool augment = false;                      // three views of every picture; excludes a loss
    bool single_class = false;                 // every detection is of class 0, as the labels must be
    KeepCurves curves = KeepCurves::no;        // in the evaluation
    DetectionLoss const* loss = nullptr;       // computed as in training, where there is one
    BatchObserver observer{};
    BatchProgress progress{};
    std::atomic<bool> const* stop = nullptr;  // ends it before the next batch once it is true; may be null
};

namespace detail {
class Stopwatch {  // milliseconds since the last call, of a device that has done its work
public:
    explicit Stopwatch(torch::Device device) : device_(device) {}

    double operator()() {
        if (device_.is_cuda()) torch::cuda::synchronize(device_.index());
        auto const now = std::chrono::steady_clock::now();
        auto const passed = std::chrono::duration<double, std::milli>(now - last_).count();
        last_ = now;
        return passed;
    }

private:
    torch::Device device_;
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
inline Validation validate(Detector& detector, Loader& loader, ValidationOptions const& options) {
    torch::NoGradGuard no_grad;
    TORCH_CHECK(!options.augment || !options.loss,
                "validate: boxes of several views have no loss; leave out augment or the loss");
    auto& model = detector.module();
    auto const device = detector.device();
    bool const was_training = model.is_training();
    model.eval();

    Validation result;
    DetectionMetrics metrics(options.single_class ? 1 : static_cast<int>(detector.options().classes));
    auto nms_options = options.nms;
    nms_options.agnostic |= options.single_class;
    auto items = torch::zeros(3);
    std::int64_t images = 0;
    int done = 0;
    detail::Stopwatch lap(device);
    loader.start_epoch(0);
    auto const stops = [&] { return done < loader.batches() && options.stop && *options.stop; };
    for (Batch batch; !(result.stopped = stops()) && loader.next(batch);) {
        auto const input = network_input(batch.images, device);
        result.preprocess_ms += lap();
        torch::Tensor predictions;
        {
            Autocast const precision(device.is_cuda() ? options.precision : Precision::float32);
            if (options.augment) {
                predictions = augmented_predictions(detector, input);
            } else {
                auto const logits = detector(input);
                predictions = decode(logits, detector.options());
                if (options.loss) items += (*options.loss)(logits, batch.targets).items.to(torch::kCPU);
            }
        }
        result.inference_ms += lap();
        auto const found = nms(predictions, nms_options);
        result.nms_ms += lap();
        std::vector<torch::Tensor> detections, labels;
        for (std::size_t i = 0; i < found.size(); ++i) {
            if (options.single_class) found[i].select(1, 5).zero_();
            detections.push_back(found[i].size(0) > 0 ? scale_boxes(found[i], batch.infos[i]) : found[i]);
            labels.push_back(detail::labels_in_pixels(batch, static_cast<std::int64_t>(i)));
            metrics.add(detections.back(), labels.back());
        }
        if (options.observer) options.observer({batch, found, detections, labels});
        images += batch.images.size(0), ++done;
        if (options.progress) options.progress(done, loader.batches());
        lap();
    }
    result.evaluation = metrics.compute(options.curves);
    for (std::size_t k = 0; k < 3; ++k)
        result.loss[k] = items[static_cast<std::int64_t>(k)].item<double>() / std::max(done, 1);
    for (double* ms : {&result.preprocess_ms, &result.inference_ms, &result.nms_ms})
        *ms /= static_cast<double>(std::max<std::int64_t>(images, 1));
    model.train(was_training);
    return result;
}

/// loss: null, or computed as in training.
inline Validation validate(Detector& detector, Loader& loader, NmsOptions const& nms_options,
                           DetectionLoss const* loss = nullptr, BatchProgress const& progress = {}) {
    ValidationOptions options;
    options.nms = nms_options, options.loss = loss, options.progress = progress;
    return validate(detector, loader, options);
}

/// The loader that validation wants: rectangular batches with half a stride of padding, every image once, so that none is
/// kept in memory.
inline LoaderOptions validation_loader(int image_size, int batch_size, int workers) {
    LoaderOptions o;
    o.image_size = image_size, o.batch_size = batch_size, o.workers = workers;
    o.rect = true, o.pad = 0.5, o.caching = ImageCaching::none;
    return o;
}

}  // namespace yolo
