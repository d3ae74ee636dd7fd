#pragma once
// What a type says, as text: the only description of an experiment, so it cannot be out of date.

#include <qat/core/experiment.hpp>

#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace qat {

/// "int8, per-tensor symmetric, moving-average min-max, power of two, rounded up"; "float" if not quantized.
template <QuantizerSpec Q> std::string describe() {
    if constexpr (!Q::format::quantized) {
        return "float";
    } else {
        std::ostringstream text;
        text << Q::format::name << Q::format::bits << ", " << Q::scheme::name;
        if constexpr (requires { Q::observer::reaches; }) {
            text << ", ranges";
            for (double reach : Q::observer::reaches) text << " +-" << reach;
        } else if constexpr (Q::observer::fixed)
            text << ", range [" << Q::observer::lo << ", " << Q::observer::hi << "]";
        else
            text << ", " << Q::observer::name;
        text << ", " << Q::scale::name;
        if constexpr (!std::is_same_v<typename Q::rounding, HalfEven>) text << ", " << Q::rounding::name;
        if constexpr (!std::is_same_v<typename Q::estimator, StraightThrough>)
            text << ", " << Q::estimator::name;
        if constexpr (Q::movement::when == each_step) text << ", " << Q::movement::name;
        return text.str();
    }
}

inline std::string describe(After when) {
    switch (when.unit) {
    case After::never:
        return "never";
    case After::steps:
        return "after " + std::to_string(when.count) + (when.count == 1 ? " step" : " steps");
    default:
        return "after epoch " + std::to_string(when.count - 1);
    }
}

/// One row for every choice: what it is about, and what was chosen.
using Description = std::vector<std::pair<std::string, std::string>>;

template <ExperimentSpec E> Description describe() {
    using A = typename E::arithmetic;
    auto const text = [](std::string_view s) { return std::string(s); };
    Description rows{{"name", text(E::name)},
                     {"activation", text(A::activation::name)},
                     {"weights", describe<typename A::weights>()},
                     {"outputs", describe<typename A::outputs>()},
                     {"input", describe<typename A::input>()},
                     {"head", text(E::template get<slot::head>::name)},
                     {"head weights", describe<typename A::head::weights>()},
                     {"head outputs", describe<typename A::head::outputs>()},
                     {"joins", text(A::join::name)},
                     {"batch norm", text(A::batch_norm::name)},
                     {"bias", text(A::bias::name)},
                     {"inputs are kept", text(A::saves::name)}};
    std::string stages;
    for (auto stage : A::exceptions::stages) stages += (stages.empty() ? "" : ", ") + text(stage);
    rows.emplace_back("exceptions", stages.empty() ? "none" : stages);
    constexpr auto& s = E::schedule;
    if (s.quantize != after_steps(0)) rows.emplace_back("quantization starts", describe(s.quantize));
    if (s.watch != after_steps(0)) rows.emplace_back("observers start", describe(s.watch));
    rows.emplace_back("observers stop", describe(s.stop_observers));
    rows.emplace_back("batch norm freezes",
                      describe(s.freeze_batch_norm) + (s.freeze_affine ? ", gamma and beta too" : ""));
    if (s.freeze_thresholds != never()) rows.emplace_back("thresholds freeze", describe(s.freeze_thresholds));
    for (auto const& step : s.bits)
        if (step.bits > 0) rows.emplace_back(std::to_string(step.bits) + " bits", describe(step.when));
    if (s.reestimate_batches > 0)
        rows.emplace_back("batch norm re-estimated",
                          "from " + std::to_string(s.reestimate_batches) + " batches");
    if (E::oscillation::name != LeaveOscillation::name)
        rows.emplace_back("oscillating weights", text(E::oscillation::name));
    rows.emplace_back("epochs", std::to_string(s.epochs));
    return rows;
}

}  // namespace qat
