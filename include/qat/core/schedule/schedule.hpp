#pragma once
// The schedule of an experiment: policies in its type, plain values below it.

#include <qat/core/schedule/after.hpp>
#include <qat/core/slots.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace qat {

template <After When> struct StopObservers {  // ranges and scales no longer move
    using slot = slot::observers;
    static constexpr std::string_view name = "stop observers";
    static constexpr After when = When;
};

template <After When> struct FreezeBatchNorm {  // running statistics no longer move, and are used
    using slot = slot::statistics;
    static constexpr std::string_view name = "freeze batch norm";
    static constexpr After when = When;
};

template <int Count> struct Epochs {  // how long to train unless told otherwise
    static_assert(Count > 0, "qat::Epochs: at least one");
    using slot = slot::epochs;
    static constexpr std::string_view name = "epochs";
    static constexpr int count = Count;
};

struct Schedule {
    After stop_observers = never(), freeze_batch_norm = never();
    int epochs = 100;
    friend constexpr bool operator==(Schedule, Schedule) = default;
};

/// Something that happens once `step` micro-batches have been trained.
struct Event {
    std::int64_t step;
    std::string what;
};

/// The events of a schedule for a data set of that many micro-batches an epoch, in order; those after the end are left out.
inline std::vector<Event> plan(Schedule const& s, std::int64_t steps_per_epoch, int epochs) {
    std::vector<Event> events;
    auto const last = steps_per_epoch * epochs;
    auto const add = [&](After when, std::string_view what) {
        auto const step = when.step(steps_per_epoch);
        if (step < 0 || step >= last) return;
        std::string text = std::string(what) + " at step " + std::to_string(step);
        if (step % steps_per_epoch == 0 && step > 0)
            text += " = end of epoch " + std::to_string(step / steps_per_epoch - 1);
        events.push_back({step, std::move(text)});
    };
    add(s.stop_observers, "observers stop");
    add(s.freeze_batch_norm, "batch norm freezes");
    std::stable_sort(events.begin(), events.end(),
                     [](Event const& a, Event const& b) { return a.step < b.step; });
    return events;
}

}  // namespace qat
