#pragma once
// What is done about weights that jump to and fro between two integers. Nagel et al. 2022, arXiv:2203.11086.

#include <qat/core/slots.hpp>

#include <ratio>
#include <string_view>

namespace qat {

struct LeaveOscillation {
    using slot = slot::oscillation;
    static constexpr std::string_view name = "left alone";
    static constexpr double dampening = 0, threshold = 0, momentum = 0;
};

/// Adds strength * sum over weights of (Q(w) - clip(w))^2 to the loss, growing from 0 along a cosine over the training:
/// weights are drawn to the middle of their bins. Section 4.2.
template <class Strength = std::ratio<1, 1000>> struct DampenOscillation {
    using slot = slot::oscillation;
    static constexpr std::string_view name = "dampened";
    static constexpr double dampening = double(Strength::num) / double(Strength::den), threshold = 0,
                            momentum = 0;
    static_assert(dampening > 0, "qat::DampenOscillation: a strength above 0, or LeaveOscillation for none");
};

/// A weight whose moving average of flips exceeds the threshold is frozen to the integer it was at most. Section 4.3.
template <class Threshold = std::ratio<1, 50>, class Momentum = std::ratio<1, 100>> struct FreezeOscillation {
    using slot = slot::oscillation;
    static constexpr std::string_view name = "frozen";
    static constexpr double dampening = 0, threshold = double(Threshold::num) / double(Threshold::den),
                            momentum = double(Momentum::num) / double(Momentum::den);
    static_assert(
        threshold > 0 && threshold < 1 && momentum >= 0.001 && momentum < 1,  // averages are float16
        "qat::FreezeOscillation: shares of the steps, above 0 and below 1, the momentum at least 1/1000; "
        "e.g. std::ratio<1, 50>");
};

}  // namespace qat
