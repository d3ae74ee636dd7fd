#pragma once
// Which pictures an epoch shows, in which order and in batches of which shape: a function of the data set, the options, the
// epoch's number and, if they are used, the weights of the pictures.

#include <yolo/data/batch.hpp>
#include <yolo/data/image_weights.hpp>
#include <yolo/data/random.hpp>
#include <yolo/data/reference_order.hpp>

#include <numeric>

namespace yolo {

struct BatchPlan {
    std::size_t first = 0, count = 0;  // in EpochPlan::order
    int height = 0, width = 0;         // pixels
};

struct EpochPlan {
    int epoch = 0;
    bool weighted = false;           // pictures were drawn: one may come several times, others never
    std::vector<std::size_t> order;  // indices of the data set
    std::vector<BatchPlan> batches;
};

/// Order and shapes that all epochs share.
inline EpochPlan first_plan(Dataset const& dataset, LoaderOptions const& options) {
    EpochPlan plan;
    plan.order.resize(dataset.size());
    std::iota(plan.order.begin(), plan.order.end(), std::size_t{0});
    auto const aspect = [&](std::size_t i) {
        return static_cast<double>(dataset[i].size.height) / dataset[i].size.width;
    };
    if (options.rect) {
        std::vector<double> aspects(dataset.size());
        for (std::size_t i = 0; i < aspects.size(); ++i) aspects[i] = aspect(i);
        plan.order = reference_order(aspects);
    }
    auto const rect_side = [&](double fraction) {
        return static_cast<int>(std::ceil(fraction * options.image_size / options.stride + options.pad)) *
               options.stride;
    };
    auto const size = static_cast<std::size_t>(options.batch_size);
    for (std::size_t first = 0; first < plan.order.size(); first += size) {
        BatchPlan batch{first, std::min(size, plan.order.size() - first), options.image_size,
                        options.image_size};
        if (batch.count < size && options.drop_last) break;
        if (options.rect) {
            double const lowest = aspect(plan.order[first]),
                         highest = aspect(plan.order[first + batch.count - 1]);
            batch.height = rect_side(highest < 1 ? highest : 1);
            batch.width = rect_side(lowest > 1 ? 1 / lowest : 1);
        }
        plan.batches.push_back(batch);
    }
    return plan;
}

/// The plan of one epoch. weights: empty, or one a picture, not negative; not with rect.
inline EpochPlan epoch_plan(EpochPlan plan, LoaderOptions const& options, int epoch,
                            std::vector<double> const& weights) {
    plan.epoch = epoch;
    Random random(options.seed, static_cast<std::uint64_t>(epoch), ~std::uint64_t{0});
    if (options.shuffle && options.rect)
        random.shuffle(std::span(plan.batches));
    else if (options.shuffle)
        random.shuffle(std::span(plan.order));
    if (!weights.empty()) {
        plan.order = weighted_draws(weights, plan.order.size(), random);
        plan.weighted = true;
    }
    return plan;
}

}  // namespace yolo
