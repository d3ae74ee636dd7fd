#pragma once
// What a validation found: figures, losses and time.

#include <yolo/metrics/average_precision.hpp>

#include <array>

namespace yolo {

struct Validation {
    Evaluation evaluation;
    std::array<double, 3> loss{};  // box, obj, cls with their gains, means over batches; 0 without a loss
    // milliseconds per image: waiting for the loader and moving to the device, forward and decoding, NMS
    double preprocess_ms = 0, inference_ms = 0, nms_ms = 0;
    bool stopped = false;  // before the last batch: all figures are of those before
};

}  // namespace yolo
