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
        if constexpr (Q::observer::fixed)
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
    return {{"name", text(E::name)},
            {"activation", text(A::activation::name)},
            {"weights", describe<typename A::weights>()},
            {"outputs", describe<typename A::outputs>()},
            {"input", describe<typename A::input>()},
            {"head", text(E::template get<slot::head>::name)},
            {"head weights", describe<typename A::head_weights>()},
            {"head outputs", describe<typename A::head_outputs>()},
            {"joins", text(A::join::name)},
            {"batch norm", text(A::batch_norm::name)},
            {"observers stop", describe(E::schedule.stop_observers)},
            {"batch norm freezes", describe(E::schedule.freeze_batch_norm)},
            {"epochs", std::to_string(E::schedule.epochs)}};
}

}  // namespace qat
