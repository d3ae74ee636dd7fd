#pragma once
// The schedule of an experiment: policies in its type, plain values below it.

#include <qat/core/schedule/after.hpp>
#include <qat/core/slots.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace qat {
namespace detail {
template <After When> struct Time {
    static_assert(When.count >= 0, "qat::after_steps, after_epochs: 0 or more; never() for never");
};
constexpr bool in_order(After earlier, After later) {  // as far as their units tell; plan() knows the rest
    return earlier.unit != After::never && (earlier.unit != later.unit || earlier.count < later.count);
}
constexpr bool before(After earlier, After later) {  // or both before the first step
    bool const both = earlier.unit != After::never && earlier.count == 0 && later.count == 0;
    return later == never() || in_order(earlier, later) || both;
}
}  // namespace detail

/// Grids quantize once When has come, and only watch before; they watch once Watch has come, and let pass before.
template <After When, After Watch = after_steps(0)> struct QuantizeFrom {
    using slot = slot::start;
    static constexpr std::string_view name = "quantization starts";
    static constexpr After when = When, watch = Watch;
    static_assert(sizeof(detail::Time<When>) + sizeof(detail::Time<Watch>) > 0);
    static_assert(detail::before(Watch, When),
                  "qat::QuantizeFrom: grids watch before they quantize; let Watch come first");
};

template <After When> struct StopObservers {  // ranges and scales no longer move
    using slot = slot::observers;
    static constexpr std::string_view name = "stop observers";
    static constexpr After when = When;
    static_assert(sizeof(detail::Time<When>) > 0);
};

enum class Affine { trained, frozen };

/// Running statistics no longer move, and are used. Affine::frozen: gamma and beta stay as they are, too.
template <After When, Affine A = Affine::trained> struct FreezeBatchNorm {
    using slot = slot::statistics;
    static constexpr std::string_view name = "freeze batch norm";
    static constexpr After when = When;
    static_assert(sizeof(detail::Time<When>) > 0);
    static constexpr bool affine = A == Affine::frozen;
};

template <After When> struct FreezeThresholds {  // trained scales and thresholds stay as they are
    using slot = slot::thresholds;
    static constexpr std::string_view name = "freeze thresholds";
    static constexpr After when = When;
    static_assert(sizeof(detail::Time<When>) > 0);
};

/// From then on every grid has so many bits, or its format's if that has fewer.
struct BitsStep {
    int bits;
    After when;
    friend constexpr bool operator==(BitsStep, BitsStep) = default;
};
namespace detail {
template <BitsStep... Steps> constexpr bool steps_down() {
    BitsStep const steps[] = {Steps..., BitsStep{0, never()}};
    for (std::size_t i = 1; i < sizeof...(Steps); ++i)
        if (steps[i].bits >= steps[i - 1].bits || !in_order(steps[i - 1].when, steps[i].when)) return false;
    return true;
}
}  // namespace detail

template <BitsStep... Steps>
struct StepBits {  // StepBits<BitsStep{6, after_epochs(4)}, BitsStep{4, after_epochs(8)}>
    using slot = slot::bits;
    static constexpr std::string_view name = "step bits";
    static constexpr int count = sizeof...(Steps);
    static constexpr int most = std::max({0, Steps.bits...});
    static constexpr bool valid =
        (... && (Steps.bits >= 2 && Steps.bits <= 16)) && count <= 4 && detail::steps_down<Steps...>();
    static_assert((... && (Steps.bits >= 2 && Steps.bits <= 16)), "qat::StepBits: 2 to 16 bits");
    static_assert(sizeof...(Steps) <= 4, "qat::StepBits: at most four steps");
    static_assert((... && (sizeof(detail::Time<Steps.when>) > 0)));
    static_assert(detail::steps_down<Steps...>(),
                  "qat::StepBits: each step is later than the one before and has fewer bits; sort them");
};

/// After the last epoch, before it is validated: statistics from so many batches anew. Nagel et al. 2022,
/// arXiv:2203.11086, section 4.1.
template <int Batches> struct ReestimateBatchNorm {
    using slot = slot::reestimation;
    static constexpr std::string_view name = "re-estimate batch norm";
    static constexpr int batches = Batches;
    static_assert(Batches >= 0, "qat::ReestimateBatchNorm: a number of batches, 0 for none");
};

template <int Count> struct Epochs {  // how long to train unless told otherwise
    using slot = slot::epochs;
    static constexpr std::string_view name = "epochs";
    static constexpr int count = Count;
    static_assert(Count > 0, "qat::Epochs: at least one");
};

struct Schedule {
    After stop_observers = never(), freeze_batch_norm = never();
    int epochs = 100;
    After watch = after_steps(0), quantize = after_steps(0);
    After freeze_thresholds = never();
    bool freeze_affine = false;  // when batch norm freezes
    BitsStep bits[4] = {};       // 0 bits: none
    int reestimate_batches = 0;
    friend constexpr bool operator==(Schedule const&, Schedule const&) = default;
};

namespace detail {
template <class Bits> struct bit_steps;
template <BitsStep... Steps> struct bit_steps<StepBits<Steps...>> {
    static constexpr void write(BitsStep* to) {
        BitsStep const steps[] = {Steps..., BitsStep{0, never()}};
        for (std::size_t i = 0; i < sizeof...(Steps); ++i) to[i] = steps[i];
    }
};
}  // namespace detail

/// What a schedule can switch.
enum class Action { watch, quantize, stop_observers, freeze_batch_norm, freeze_thresholds, set_bits };

/// Something that happens once `step` micro-batches have been trained.
struct Event {
    std::int64_t step;
    std::string what;  // "observers stop at step 3 = end of epoch 0"
    Action action = Action::watch;
    int value = 0;      // bits
    std::string title;  // "observers stop"
};

namespace detail {
// Times in different units have an order only for a data set.
inline void check_order(Schedule const& s, std::int64_t steps_per_epoch) {
    auto const want = [&](After earlier, std::string const& first, After later, std::string const& second) {
        auto const a = earlier.step(steps_per_epoch), b = later.step(steps_per_epoch);
        if (b < 0 || (a >= 0 && a < b) || (a == 0 && b == 0)) return;
        throw std::invalid_argument("schedule: with " + std::to_string(steps_per_epoch) + " steps an epoch " +
                                    first + " at step " + std::to_string(a) + ", and " + second +
                                    " at step " + std::to_string(b) +
                                    "; the first must come before the second, give both in one unit");
    };
    want(s.watch, "observers start", s.quantize, "quantization starts");
    want(s.watch, "observers start", s.stop_observers, "they stop");
    want(s.quantize, "quantization starts", s.freeze_thresholds, "thresholds freeze");
    auto const bits = [](BitsStep const& step) { return std::to_string(step.bits) + " bits come"; };
    for (int i = 1; i < 4 && s.bits[i].bits > 0; ++i)
        want(s.bits[i - 1].when, bits(s.bits[i - 1]), s.bits[i].when, bits(s.bits[i]));
}
}  // namespace detail

/// The events of a schedule for a data set of that many micro-batches an epoch, in order; those after the end are left out.
/// throws std::invalid_argument where times in different units contradict each other for that data set.
inline std::vector<Event> plan(Schedule const& s, std::int64_t steps_per_epoch, int epochs) {
    detail::check_order(s, steps_per_epoch);
    std::vector<Event> events;
    auto const last = steps_per_epoch * epochs;
    auto const add = [&](After when, std::string title, Action action, int value = 0) {
        auto const step = when.step(steps_per_epoch);
        if (step < 0 || step >= last) return;
        std::string text = title + " at step " + std::to_string(step);
        if (step % steps_per_epoch == 0 && step > 0)
            text += " = end of epoch " + std::to_string(step / steps_per_epoch - 1);
        auto const later =
            std::find_if(events.begin(), events.end(), [&](Event const& event) { return event.step > step; });
        events.insert(later, {step, std::move(text), action, value, std::move(title)});
    };
    // What holds from the beginning is no event.
    if (s.watch.step(steps_per_epoch) != 0) add(s.watch, "observers start", Action::watch);
    if (s.quantize.step(steps_per_epoch) != 0) add(s.quantize, "quantization starts", Action::quantize);
    add(s.stop_observers, "observers stop", Action::stop_observers);
    add(s.freeze_batch_norm,
        s.freeze_affine ? "batch norm freezes, gamma and beta too" : "batch norm freezes",
        Action::freeze_batch_norm);
    add(s.freeze_thresholds, "thresholds freeze", Action::freeze_thresholds);
    for (auto const& step : s.bits)
        if (step.bits > 0) add(step.when, std::to_string(step.bits) + " bits", Action::set_bits, step.bits);
    return events;
}

}  // namespace qat
