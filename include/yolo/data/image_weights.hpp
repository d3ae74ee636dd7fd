#pragma once
// YOLOv5's --image-weights: pictures with rare or badly detected classes are shown more often.
//
//     auto const classes = labels_to_class_weights(dataset, nc);
//     loader.set_image_weights(labels_to_image_weights(dataset, weights_of_classes(classes, maps)));   // before each epoch

#include <yolo/data/dataset.hpp>
#include <yolo/data/random.hpp>

#include <algorithm>
#include <span>
#include <stdexcept>
#include <vector>

namespace yolo {

/// w_c = (1 / n_c) / sum, with n_c objects of the class (1 where there are none).                                [nc]
inline std::vector<double> labels_to_class_weights(Dataset const& dataset, int classes) {
    std::vector<double> weights(static_cast<std::size_t>(classes));
    for (DatasetItem const& item : dataset.items())
        for (Box const& box : item.boxes) weights.at(static_cast<std::size_t>(box.cls)) += 1;
    double sum = 0;
    for (double& weight : weights) sum += weight = 1 / std::max(weight, 1.0);
    for (double& weight : weights) weight /= sum;
    return weights;
}

/// w_c (1 - map_c)^2: a class that is detected well needs no more pictures. maps: mAP50-95 of the classes, 0 before the
/// first validation.                                                                                             [nc]
inline std::vector<double> weights_of_classes(std::vector<double> class_weights,
                                              std::span<double const> maps) {
    if (maps.size() != class_weights.size())
        throw std::runtime_error("image weights: " + std::to_string(maps.size()) +
                                 " classes have a mAP, want " + std::to_string(class_weights.size()));
    for (std::size_t c = 0; c < maps.size(); ++c) class_weights[c] *= (1 - maps[c]) * (1 - maps[c]);
    return class_weights;
}

/// The sum of the weights of a picture's objects; 0 for background.                                          [images]
inline std::vector<double> labels_to_image_weights(Dataset const& dataset,
                                                   std::span<double const> class_weights) {
    std::vector<double> weights;
    weights.reserve(dataset.size());
    for (DatasetItem const& item : dataset.items()) {
        double sum = 0;
        for (Box const& box : item.boxes) {
            auto const c = static_cast<std::size_t>(box.cls);
            if (c >= class_weights.size())
                throw std::runtime_error(item.image.string() + ": class " + std::to_string(c) +
                                         " has no weight; there are " + std::to_string(class_weights.size()));
            sum += class_weights[c];
        }
        weights.push_back(sum);
    }
    return weights;
}

/// `count` indices, each i with probability weights[i] / sum; all alike where the sum is 0.
inline std::vector<std::size_t> weighted_draws(std::span<double const> weights, std::size_t count,
                                               Random& random) {
    std::vector<double> upto;
    double sum = 0;
    for (double const weight : weights) upto.push_back(sum += weight);
    std::vector<std::size_t> draws(count);
    for (std::size_t& draw : draws) {
        if (!(sum > 0)) {
            draw = static_cast<std::size_t>(random.integer(weights.size()));
            continue;
        }
        auto at = std::upper_bound(upto.begin(), upto.end(), random.uniform() * sum);
        if (at == upto.end())
            at = std::lower_bound(upto.begin(), upto.end(), sum);  // rounded up: the last that weighs
        draw = static_cast<std::size_t>(at - upto.begin());
    }
    return draws;
}

}  // namespace yolo
