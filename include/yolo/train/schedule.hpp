#pragma once
// Learning rate, momentum and accumulation of every training step, as pure functions. No LibTorch.

#include <algorithm>
#include <cmath>
#include <numbers>

namespace yolo {

enum class RateDecay { linear, cosine };

/// What a schedule depends on. All of it is fixed for a run.
struct ScheduleOptions {
    int epochs = 100;
    int batches_per_epoch = 1;
    int batch_size = 16;     // images per micro-batch
    int nominal_batch = 64;  // images per optimizer step, reached by accumulation
    RateDecay decay = RateDecay::linear;
    double lr0 = 0.01, lrf = 0.01;  // the rate of the first epoch; the last one tends to lr0 * lrf
    double momentum = 0.937;
    double warmup_epochs = 3;      // may be a fraction; the warm-up has at least 100 steps
    double warmup_momentum = 0.8;  // at the first step
    double warmup_bias_lr = 0.1;   // of the biases at the first step; the other rates start at 0
    double quantizer_lr = 0.1;     // of learned scales, times the weights' rate
};

/// What one step uses; the order of the rates is that of the optimizer's groups and, but for the last, of results.csv.
struct StepRates {
    double bias_lr, weight_lr, norm_lr;
    double momentum;  // applied to SGD only, as in YOLOv5
    int accumulate;   // micro-batches per optimizer step
    double quantizer_lr = 0;
};

/// Factor of lr0 in an epoch. x = epoch / epochs
///     linear  1 - x (1 - lrf)            cosine  1 - (1 - cos(pi x)) / 2 * (1 - lrf)
inline double rate_factor(RateDecay decay, double epoch, int epochs, double lrf) {
    auto const x = epoch / epochs;
    if (decay == RateDecay::linear) return (1 - x) * (1 - lrf) + lrf;
    return (1 - std::cos(x * std::numbers::pi)) / 2 * (lrf - 1) + 1;
}

/// Steps before the full rate: whole warm-up epochs, at least 100.
inline int warmup_steps(double warmup_epochs, int batches_per_epoch) {
    return std::max(static_cast<int>(std::nearbyint(warmup_epochs * batches_per_epoch)), 100);
}

/// Micro-batches per optimizer step once the warm-up is over.
inline int full_accumulation(int batch_size, int nominal_batch = 64) {
    return std::max(static_cast<int>(std::nearbyint(static_cast<double>(nominal_batch) / batch_size)), 1);
}

/// The weight decay is meant for the nominal batch; a step of more images decays more.
inline double scaled_weight_decay(double weight_decay, int batch_size, int nominal_batch = 64) {
    return weight_decay * batch_size * full_accumulation(batch_size, nominal_batch) / nominal_batch;
}

/// The rates of one micro-batch. During the warm-up everything moves in a straight line, the target being the
/// rate of the epoch that the step lies in.
/// @param epoch  from 0        @param batch  from 0, within the epoch
inline StepRates rates_at(ScheduleOptions const& o, int epoch, int batch) {
    auto const rate = o.lr0 * rate_factor(o.decay, epoch, o.epochs, o.lrf);
    auto const step = static_cast<double>(epoch) * o.batches_per_epoch + batch;
    auto const warmup = warmup_steps(o.warmup_epochs, o.batches_per_epoch);
    if (step >= warmup)
        return {rate,
                rate,
                rate,
                o.momentum,
                full_accumulation(o.batch_size, o.nominal_batch),
                rate * o.quantizer_lr};

    auto const between = [&](double from, double to) { return (to - from) / warmup * step + from; };
    auto const accumulate = std::nearbyint(between(1, static_cast<double>(o.nominal_batch) / o.batch_size));
    return {between(o.warmup_bias_lr, rate),
            between(0, rate),
            between(0, rate),
            between(o.warmup_momentum, o.momentum),
            std::max(1, static_cast<int>(accumulate)),
            between(0, rate) * o.quantizer_lr};
}

/// Weight of the old average in the n-th update (from 1): short memory at first, 10,000 updates in the end.
inline double ema_decay(double updates) { return 0.9999 * (1 - std::exp(-updates / 2000)); }

}  // namespace yolo
