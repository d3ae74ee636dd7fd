#pragma once
// What evaluation hands to the network.

#include <yolo/model/detector.hpp>

namespace yolo {

/// In [0, 1], with the channels of a pixel side by side in memory: on the CPU oneDNN.s convolutions then
/// need not turn every result round. The figures differ from those of planes only by rounding.
/// images: uint8                                                                              -> float [N, 3, H, W]
inline torch::Tensor network_input(torch::Tensor const& images, torch::Device device) {
    return images.to(device)
        .to(torch::kFloat, /*non_blocking=*/false, /*copy=*/false, torch::MemoryFormat::ChannelsLast)
        .div_(255);
}

}  // namespace yolo
