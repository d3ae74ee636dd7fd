#pragma once
// --half of the command lines that do not train.

#include <spdlog/spdlog.h>
#include <yolo/train/mixed_precision.hpp>

namespace yolo::apps {

/// float16 on CUDA; elsewhere float32, with a warning, as YOLOv5 does.
inline Precision precision(bool half, torch::Device where) {
    if (half && !where.is_cuda())
        spdlog::warn("--half needs CUDA and the network runs on the CPU; it is ignored: float32");
    return half && where.is_cuda() ? Precision::float16 : Precision::float32;
}

}  // namespace yolo::apps
