#pragma once
// The switches of an experiment's schedule, turned in a network and its average when their step has come.

#include <qat/nn/producer.hpp>
#include <yolo/model/detector.hpp>
#include <yolo/train/ema.hpp>

namespace yolo {

/// Where a run is when its switches are set.
struct SwitchesStart {
    std::int64_t steps_per_epoch;
    int epochs;
    std::int64_t turned =
        -1;        // of a resumed run: what was due by then was done before, it is done again, silently
    int bits = 0;  // of a resumed run's grids; 0: their formats'
};

class ScheduleSwitches {
public:
    /// average, ema: null where the run has none. Grids that start later only watch, or let pass, until then.
    ScheduleSwitches(Detector& detector, Detector* average, Ema* ema, ExperimentInfo const& experiment,
                     SwitchesStart const& start)
        : detector_(detector), average_(average), ema_(ema), schedule_(experiment.schedule), start_(start),
          plan_(qat::plan(schedule_, start.steps_per_epoch, start.epochs)), bits_(start.bits) {
        if (!experiment.quantized) return;
        using qat::nn::GridMode;
        auto const mode = schedule_.watch.step(start.steps_per_epoch) != 0      ? GridMode::bypass
                          : schedule_.quantize.step(start.steps_per_epoch) != 0 ? GridMode::observe
                                                                                : GridMode::quantize;
        qat::nn::set_mode(detector_.module(), mode);
        if (average_) qat::nn::set_mode(average_->module(), mode);
    }

    /// Turns everything that is due by now. What the average lacks because it is no state of the network is done there
    /// too. say: told each switch by its title.
    template <class Say> void turn(std::int64_t step, Say&& say) {
        for (; next_ < plan_.size() && plan_[next_].step <= step; ++next_) {
            auto const& event = plan_[next_];
            // Scales have as many bits as they were saved with.
            bool const done =
                event.step <= start_.turned &&
                (event.action != qat::Action::set_bits || (start_.bits > 0 && start_.bits <= event.value));
            turn(event, done);
            if (!done) say(event.title + " at step " + std::to_string(step));
        }
    }

    int bits() const { return bits_; }  // of the grids; 0: their formats'

private:
    void turn(qat::Event const& event, bool done) {
        auto& model = detector_.module();
        using qat::Action;
        switch (event.action) {
        case Action::watch:
            qat::nn::set_mode(model, qat::nn::GridMode::observe);
            break;
        case Action::quantize:
            if (ema_ && !done) ema_->restart_scales();
            qat::nn::refresh_scales(model);
            qat::nn::set_mode(model, qat::nn::GridMode::quantize);
            if (average_) qat::nn::set_mode(average_->module(), qat::nn::GridMode::quantize);
            break;
        case Action::stop_observers:
            qat::nn::stop_observers(model);
            if (!done) demand_ranges();
            break;
        case Action::freeze_batch_norm:
            qat::nn::freeze_batch_norm(model, schedule_.freeze_affine);
            break;
        case Action::freeze_thresholds:
            qat::nn::freeze_thresholds(model);
            break;
        case Action::set_bits:
            if (ema_ && !done) ema_->restart_scales();
            qat::nn::step_bits(model, event.value, !done);
            if (average_) qat::nn::step_bits(average_->module(), event.value, !done);
            bits_ = event.value;
            break;
        }
    }

    // A grid that has seen nothing when observers stop never will.
    void demand_ranges() const {
        for (auto const& item : detector_.module().named_modules()) {
            auto const* grid = dynamic_cast<qat::nn::Grid const*>(item.value().get());
            if (grid && grid->quantized() && grid->unseen())
                throw std::runtime_error(
                    "observers stop before " + item.key() +
                    " has seen anything; start from a checkpoint of the same experiment, or stop them later");
        }
    }

    Detector& detector_;
    Detector* average_;
    Ema* ema_;
    qat::Schedule const& schedule_;
    SwitchesStart start_;
    std::vector<qat::Event> plan_;
    std::size_t next_ = 0;
    int bits_;
};

}  // namespace yolo
