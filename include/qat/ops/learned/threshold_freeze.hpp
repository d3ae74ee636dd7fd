#pragma once
// Freezes trained thresholds that only oscillate: a log2 threshold whose optimum lies next to an integer crosses it for
// ever, and each crossing doubles or halves the scale for the whole network. Jain et al. 2020, arXiv:1903.08066, section
// on freezing, which freezes on a timetable, on the side of the integer that a moving average prefers; here the test is
// the oscillation itself.

#include <qat/core/estimator/trained_threshold.hpp>
#include <qat/torch.hpp>

#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace qat {

/// The history of one or of [C] thresholds; every member is [] or [C], on the threshold's device, and may be registered
/// as a buffer (keep the handle: they are changed in place). Nothing waits for the device.
struct ThresholdFreeze {
    torch::Tensor exponent;  // in use after the last step, float32: integers
    torch::Tensor
        boundary;  // the lower of the two exponents that the last crossing was between, float32; NaN: none
    torch::Tensor crossings;  // of that boundary in a row, int32
    torch::Tensor average;    // of the exponent since the first of them, float32
    torch::Tensor age;        // steps since the first of them, int32
    torch::Tensor frozen;     // bool

    ThresholdFreeze() = default;
    /// log2_threshold: its first value. way: of the PowerOfTwo scale. levels: of the format.
    ThresholdFreeze(torch::Tensor const& log2_threshold, Toward way, Levels levels) : way_(way) {
        torch::NoGradGuard no_grad;
        least_ = qat::exponent(smallest_scale * static_cast<float>(levels.hi + 1), Ceil);
        auto const t = log2_threshold.detach();
        exponent = in_use(t);
        boundary = torch::full_like(t, std::numeric_limits<float>::quiet_NaN());
        crossings = torch::zeros_like(t, t.options().dtype(torch::kInt));
        average = exponent.clone();
        age = torch::zeros_like(crossings);
        frozen = torch::zeros_like(t, t.options().dtype(torch::kBool));
    }

    /// The history by name, for checkpoints: these very tensors.
    std::vector<std::pair<std::string, torch::Tensor>> state() const {
        return {{"exponent", exponent}, {"boundary", boundary}, {"crossings", crossings},
                {"average", average},   {"age", age},           {"frozen", frozen}};
    }

    /// Before the optimizer's step: no gradient for what is frozen. In place.
    void mask(torch::Tensor const& log2_threshold) const {
        torch::NoGradGuard no_grad;
        if (auto gradient = log2_threshold.grad(); gradient.defined()) gradient.masked_fill_(frozen, 0);
    }

    /// After the optimizer's step: counts, and gives every frozen threshold a value in the middle of its exponent's
    /// interval, whatever momentum or weight decay have done to it. In place.
    void follow(torch::Tensor const& log2_threshold,
                int crossings_before_freeze = TrainedThreshold::crossings_before_freeze) {
        torch::NoGradGuard no_grad;
        auto t = log2_threshold.detach();
        auto const now = in_use(t), lower = torch::minimum(now, exponent);
        auto const moved = (now != exponent) & ~frozen;
        auto const crossed = moved & ((now - exponent).abs() == 1);  // by more than one: no oscillation
        auto const again = crossed & (lower == boundary);
        auto const first = moved & ~again;
        auto const none = torch::full_like(boundary, std::numeric_limits<float>::quiet_NaN());
        boundary.copy_(torch::where(crossed, lower, torch::where(moved, none, boundary)));
        crossings.copy_(
            torch::where(again, crossings + 1, torch::where(first, crossed.to(torch::kInt), crossings)));
        age.copy_(torch::where(first, torch::zeros_like(age), age) + 1);
        auto const share = (1.0f / age.to(torch::kFloat)).clamp_min(TrainedThreshold::average_momentum);
        average.copy_(torch::where(first, now, average + share * (now - average)));
        auto const freezes = ~frozen & (crossings > crossings_before_freeze);
        // nearest of the two exponents at the boundary; a tie goes to the wider range, which clips less
        auto const kept = boundary + (average - boundary >= 0.5f).to(torch::kFloat);
        exponent.copy_(torch::where(freezes, kept, torch::where(frozen, exponent, now)));
        frozen.logical_or_(freezes);
        t.copy_(torch::where(frozen, exponent + middle(), t));
    }

private:
    torch::Tensor in_use(torch::Tensor const& t) const {
        auto const k = way_ == Toward::up ? t.ceil() : way_ == Toward::down ? t.floor() : (t + 0.5).floor();
        return k.clamp(least_, 127);
    }
    double middle() const { return way_ == Toward::up ? -0.5 : way_ == Toward::down ? 0.5 : 0.0; }

    Toward way_ = Ceil;
    double least_ = 0;
};

}  // namespace qat
