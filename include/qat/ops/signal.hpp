#pragma once
// What a forward may be applied to, and the stateless operations for each of it.
// Every operation here keeps the grid of its input: it only moves or selects numbers.

#include <qat/graph/graph.hpp>
#include <qat/torch.hpp>

#include <concepts>

namespace qat {

/// torch::Tensor: train and evaluate. graph::Value: write the network down.
template <class V>
concept Signal = std::same_as<V, torch::Tensor> || std::same_as<V, graph::Value>;

// y[i, j] = max of the k x k window around x[i, j]; same size                                     [N, C, H, W]
inline torch::Tensor max_pool(torch::Tensor const& x, std::int64_t k) {
    return torch::max_pool2d(x, k, 1, k / 2);
}
inline graph::Value max_pool(graph::Value x, std::int64_t k) {
    auto const window = std::to_string(k) + "x" + std::to_string(k);
    return x.graph->record({.op = graph::Op::max_pool, .shape = x.shape(), .computes = window}, nullptr, {x});
}

// Nearest neighbour, twice the size                                                               [N, C, 2H, 2W]
inline torch::Tensor upsample(torch::Tensor const& x) {
    return torch::upsample_nearest2d(x, {x.size(2) * 2, x.size(3) * 2});
}
inline graph::Value upsample(graph::Value x) {
    auto shape = x.shape();
    shape[2] *= 2, shape[3] *= 2;
    return x.graph->record({.op = graph::Op::upsample, .shape = shape}, nullptr, {x});
}

// [N, A * K, H, W] -> [N, A, H, W, K], a view: who reads it takes any strides
inline torch::Tensor split_anchors(torch::Tensor const& x, std::int64_t anchors) {
    return x.reshape({x.size(0), anchors, x.size(1) / anchors, x.size(2), x.size(3)})
        .permute({0, 1, 3, 4, 2});
}
inline graph::Value split_anchors(graph::Value x, std::int64_t anchors) {
    auto const& s = x.shape();
    return x.graph->record({.op = graph::Op::anchors, .shape = {s[0], anchors, s[2], s[3], s[1] / anchors}},
                           nullptr, {x});
}

}  // namespace qat
