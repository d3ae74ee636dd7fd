#pragma once
// The grid of a learned parameter, the estimator as a value.

#include <qat/core/estimator/learned_step.hpp>
#include <qat/core/estimator/pact.hpp>
#include <qat/core/estimator/trained_threshold.hpp>

namespace qat {

struct ParameterRule {
    Learns learns;
    Toward way = Toward::up;  // of a trained threshold
};

/// p: step, log2 threshold or clip; offset: of LearnedStepAndOffset. requires that something is learned.
QAT_HOST_DEVICE constexpr ScaleZero learned_grid(ParameterRule rule, float p, float offset, Levels levels) {
    switch (rule.learns) {
    case Learns::step_and_offset:
        return LearnedStepAndOffset::grid(p, offset, levels);
    case Learns::clip:
        return PACT::grid(p, offset, levels);
    case Learns::log2_threshold:
        return TrainedThreshold::grid(rule.way, p, levels);
    default:
        return LearnedStep::grid(p, offset, levels);
    }
}

}  // namespace qat
