#pragma once
// Layers that training leaves as they are.

#include <yolo/io/transfer.hpp>

#include <algorithm>
#include <vector>

namespace yolo {

/// layers: one number n: the first n of YOLOv5's numbered layers; several: just these; none: all are trained. As YOLOv5's
/// --freeze. To be called before optimizers and averages are made.
inline void freeze_layers(Detector& detector, std::vector<int> const& layers) {
    if (layers.empty()) return;
    for (auto const& [key, tensor, _] : detail::named_state(detector)) {
        int const layer = detail::layer_of(key);
        bool const chosen =
            layers.size() == 1 ? layer < layers.front() : std::count(layers.begin(), layers.end(), layer) > 0;
        if (torch::Tensor t = tensor; layer >= 0 && chosen && t.requires_grad()) t.set_requires_grad(false);
    }
}

}  // namespace yolo
