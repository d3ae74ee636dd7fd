#pragma once
// When something happens during training. The unit is part of the value: epoch 1 and step 1 cannot be mixed up.

#include <cstdint>

namespace qat {

/// after_steps(n): after n micro-batches. after_epochs(n): at the end of epoch n - 1.
struct After {
    enum Unit { steps, epochs, never } unit;
    int count;

    /// The number of micro-batches after which it happens; -1: never.
    constexpr std::int64_t step(std::int64_t steps_per_epoch) const {
        return unit == never ? -1 : unit == steps ? count : count * steps_per_epoch;
    }
    friend constexpr bool operator==(After, After) = default;
};
consteval After after_steps(int n) { return {After::steps, n}; }
consteval After after_epochs(int n) { return {After::epochs, n}; }
consteval After never() { return {After::never, 0}; }

}  // namespace qat
