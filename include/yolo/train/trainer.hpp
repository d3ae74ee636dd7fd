#pragma once
// The training loop: YOLOv5's, with the switches of quantization. It drives a Detector and knows no experiment's type.

#include <qat/nn/reestimate.hpp>
#include <yolo/io/checkpoint.hpp>
#include <yolo/io/transfer.hpp>
#include <yolo/train/ema.hpp>
#include <yolo/train/optimizer.hpp>
#include <yolo/train/results.hpp>
#include <yolo/train/stability.hpp>

#include <atomic>

namespace yolo {

struct TrainerOptions {
    std::filesystem::path folder;  // of the run: results.csv, weights/last.pt, weights/best.pt
    Hyperparameters hyp;
    int epochs = 100;
    int image_size = 640, batch_size = 16;  // pixels, images
    OptimizerKind optimizer = OptimizerKind::sgd;
    RateDecay decay = RateDecay::linear;
    int patience = 100;       // epochs without a better one before training stops; 0: never
    std::vector<int> freeze;  // numbered layers whose parameters stay as they are; {10}: the first ten
    bool ema = true;          // validate and keep the moving average of the state
    bool validate = true, save = true;  // false: only after the last epoch
    bool half = false;                  // the kept checkpoints in float16
    int first_epoch = 0;                // of a resumed run
    double best_fitness = 0;
};

struct StepReport {
    int epoch, batch, batches;
    std::array<double, 3> loss;  // means over the epoch so far
    std::int64_t instances;      // labels in this batch
    double seconds;              // since the epoch began
};

/// Where training tells what it does. Every member may be empty.
struct TrainingEvents {
    std::function<void(std::string const&)> message;  // a switch of the schedule, early stopping, ...
    std::function<void(StepReport const&)> step;
    std::function<void(EpochReport const&)> epoch;
};

enum class Outcome { finished, stopped_early, interrupted };

class Trainer {
public:
    /// manifest: what checkpoints say about the network. stop: training ends after the step at which it becomes true,
    /// leaving a usable last.pt; may be null.
    Trainer(Detector& detector, ExperimentInfo const& experiment, Manifest manifest, TrainerOptions options,
            TrainingEvents events = {}, std::atomic<bool> const* stop = nullptr)
        : detector_(detector), experiment_(experiment), manifest_(std::move(manifest)),
          o_(std::move(options)), events_(std::move(events)), stop_(stop),
          loss_(detector.options(), scaled_for(o_.hyp, detector.options().classes, o_.image_size)) {
        manifest_.experiment = experiment.name;
        freeze_layers();
        if (o_.ema) {
            average_ = detector_.replicate();
            ema_.emplace(average_->module());
        }
        optimizer_ = make_optimizer(
            detector_.module(), {.kind = o_.optimizer,
                                 .lr = o_.hyp.lr0,
                                 .momentum = o_.hyp.momentum,
                                 .weight_decay = scaled_weight_decay(o_.hyp.weight_decay, o_.batch_size)});
    }

    /// The network that is validated and kept.
    Detector& kept() { return average_ ? *average_ : detector_; }
    double best_fitness() const { return o_.best_fitness; }

    Outcome run(Loader& train, Loader* validation) {
        StepSchedule const rates(*optimizer_, {.epochs = o_.epochs,
                                               .batches_per_epoch = train.batches(),
                                               .batch_size = o_.batch_size,
                                               .decay = o_.decay,
                                               .lr0 = o_.hyp.lr0,
                                               .lrf = o_.hyp.lrf,
                                               .momentum = o_.hyp.momentum,
                                               .warmup_epochs = o_.hyp.warmup_epochs,
                                               .warmup_momentum = o_.hyp.warmup_momentum,
                                               .warmup_bias_lr = o_.hyp.warmup_bias_lr,
                                               .quantizer_lr = o_.hyp.quantizer_lr});
        detector_.module().train();
        if (ema_ && o_.first_epoch > 0)  // a resumed average remembers as long as before
            ema_->set_updates(std::int64_t{o_.first_epoch} * train.batches() /
                              full_accumulation(o_.batch_size));
        if (experiment_.quantized && o_.first_epoch == 0) observe_first_batch(train);
        begin_schedule(train.batches());
        if (experiment_.quantized) stability_.emplace(detector_, experiment_.stability);
        Outcome outcome = Outcome::finished;
        int best_epoch = o_.first_epoch;
        for (int epoch = o_.first_epoch; epoch < o_.epochs && outcome == Outcome::finished; ++epoch) {
            EpochReport report;
            report.epoch = epoch, report.epochs = o_.epochs;
            detail::Stopwatch lap;
            bool const whole = train_epoch(train, rates, report);
            bool const last = epoch + 1 == o_.epochs;
            if (!whole) outcome = Outcome::interrupted;
            if (whole && last) reestimate(train);
            if (whole && validation && (o_.validate || last)) {
                report.validation = validate(kept(), *validation, {}, &loss_);
                report.validated = true;
                double const fitness = report.validation.evaluation.fitness();
                report.best = fitness >= o_.best_fitness;  // also while it is still 0, as YOLOv5
                if (report.best) o_.best_fitness = std::max(fitness, o_.best_fitness), best_epoch = epoch;
            }
            report.seconds = lap() / 1000;
            if (whole) append_results(o_.folder / "results.csv", report);
            if (events_.epoch && whole) events_.epoch(report);
            manifest_.epoch = whole ? epoch : epoch - 1;
            manifest_.best_fitness = o_.best_fitness;
            if (o_.save || last || !whole) save("last.pt");
            if (report.best || (last && !validation)) save("best.pt");
            if (whole && o_.patience > 0 && report.validated && epoch - best_epoch >= o_.patience && !last) {
                say("no better epoch than " + std::to_string(best_epoch) + " for " +
                    std::to_string(o_.patience) + " epochs: stopping early");
                outcome = Outcome::stopped_early;
            }
        }
        return outcome;
    }

private:
    void say(std::string const& text) const {
        if (events_.message) events_.message(text);
    }

    /// {n}: the first n numbered layers; several: just these. As YOLOv5's --freeze.
    void freeze_layers() {
        if (o_.freeze.empty()) return;
        for (auto const& [key, tensor, _] : detail::named_state(detector_)) {
            int const layer = detail::layer_of(key);
            bool const chosen = o_.freeze.size() == 1
                                    ? layer < o_.freeze.front()
                                    : std::count(o_.freeze.begin(), o_.freeze.end(), layer) > 0;
            if (torch::Tensor t = tensor; layer >= 0 && chosen && t.requires_grad())
                t.set_requires_grad(false);
        }
    }

    /// Grids that several producers share need a range before the first step.
    void observe_first_batch(Loader& train) {
        Batch batch;
        train.start_epoch(0);
        if (!train.next(batch)) return;
        qat::nn::observe_once(detector_.module(), [&] { detector_(batch.images); });
    }

    /// False if it was interrupted.
    bool train_epoch(Loader& train, StepSchedule const& rates, EpochReport& report) {
        auto& model = detector_.module();
        auto const events = qat::plan(experiment_.schedule, train.batches(), o_.epochs);
        auto sums = torch::zeros(3);
        auto const began = std::chrono::steady_clock::now();
        auto const mean_loss = [&](int batches) {
            std::array<double, 3> mean{};
            for (std::size_t k = 0; k < 3; ++k)
                mean[k] = sums[static_cast<std::int64_t>(k)].item<double>() / std::max(batches, 1);
            return mean;
        };
        model.train();
        optimizer_->zero_grad();  // what an epoch did not use up is dropped, as in YOLOv5
        train.start_epoch(report.epoch);
        Batch batch, latest;
        for (int i = 0; train.next(batch); ++i, latest = std::move(batch)) {
            auto const step = static_cast<std::int64_t>(report.epoch) * train.batches() + i;
            apply_events(step);
            auto const rate = rates(report.epoch, i);
            report.rates = {rate.bias_lr, rate.weight_lr, rate.norm_lr};
            qat::nn::refresh_scales(model);

            auto const logits = detector_(batch.images);
            auto const loss = loss_(logits, batch.targets);
            loss.total.backward();
            ++since_update_;
            images_since_update_ += batch.images.size(0);
            if (since_update_ >= rate.accumulate)
                update(static_cast<double>(step) / (static_cast<double>(train.batches()) * o_.epochs));

            auto const items = loss.items.to(torch::kCPU);
            if (!items.isfinite().all().item<bool>())
                throw std::runtime_error(
                    "the loss is not finite in epoch " + std::to_string(report.epoch) +
                    "; the checkpoints of the epochs before are kept, try a smaller lr0");
            sums += items;
            if (events_.step) {
                auto const seconds =
                    std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
                events_.step(
                    {report.epoch, i, train.batches(), mean_loss(i + 1), batch.targets.size(0), seconds});
            }
            if (stop_ && *stop_) {
                say("interrupted in epoch " + std::to_string(report.epoch) + "; " +
                    (o_.folder / "weights/last.pt").string() + " keeps what was learnt");
                return false;
            }
        }
        report.loss = mean_loss(train.batches());
        // What happens at the end of the last batch belongs to this epoch's checkpoint.
        apply_events(static_cast<std::int64_t>(report.epoch + 1) * train.batches());
        qat::nn::refresh_scales(model);
        if (stability_ && latest.images.defined())
            report.grids = stability_->end_of_epoch(latest.images, [this](auto const& text) { say(text); });
        return true;
    }

    // After the last epoch: the statistics of the network that is kept, from training images. (A run that stops early ends
    // with an epoch that nobody knew to be the last: it has none of this.)
    void reestimate(Loader& train) {
        int const batches = experiment_.schedule.reestimate_batches;
        if (batches == 0) return;
        train.start_epoch(o_.epochs);
        int const seen =
            qat::nn::reestimate_batch_norm(kept().module(), batches, [&, batch = Batch{}]() mutable {
                if (!train.next(batch)) return false;
                kept()(batch.images);
                return true;
            });
        say("batch norm re-estimated from " + std::to_string(seen) + " batches");
    }

    // Everything that was due by now. What the average lacks because it is no state of the network is done there too.
    void apply_events(std::int64_t step) {
        for (; next_event_ < plan_.size() && plan_[next_event_].step <= step; ++next_event_) {
            auto const& event = plan_[next_event_];
            auto& model = detector_.module();
            bool const already = o_.first_epoch > 0 && event.step <= first_step_;
            using qat::Action;
            switch (event.action) {
            case Action::watch:
                qat::nn::set_mode(model, qat::nn::GridMode::observe);
                break;
            case Action::quantize:
                qat::nn::refresh_scales(model);
                qat::nn::set_mode(model, qat::nn::GridMode::quantize);
                if (average_) qat::nn::set_mode(average_->module(), qat::nn::GridMode::quantize);
                break;
            case Action::stop_observers:
                qat::nn::stop_observers(model);
                break;
            case Action::freeze_batch_norm:
                qat::nn::freeze_batch_norm(model, experiment_.schedule.freeze_affine);
                break;
            case Action::freeze_thresholds:
                qat::nn::freeze_thresholds(model);
                break;
            case Action::set_bits:
                // What a resumed run was saved with already has that many bits.
                qat::nn::step_bits(model, event.value, !already);
                if (average_) qat::nn::step_bits(average_->module(), event.value, !already);
                manifest_.bits = event.value;
                break;
            }
            say(event.title + " at step " + std::to_string(step));
        }
    }

    // Grids that start later only watch, or let pass, until then.
    void begin_schedule(std::int64_t steps_per_epoch) {
        plan_ = qat::plan(experiment_.schedule, steps_per_epoch, o_.epochs);
        first_step_ = o_.first_epoch * steps_per_epoch;
        if (!experiment_.quantized) return;
        auto const& s = experiment_.schedule;
        auto const mode = s.watch.step(steps_per_epoch) != 0      ? qat::nn::GridMode::bypass
                          : s.quantize.step(steps_per_epoch) != 0 ? qat::nn::GridMode::observe
                                                                  : qat::nn::GridMode::quantize;
        qat::nn::set_mode(detector_.module(), mode);
        if (average_) qat::nn::set_mode(average_->module(), mode);
    }

    // progress: of the training, 0 to 1.
    void update(double progress) {
        if (stability_) stability_->before_update(progress, images_since_update_);
        clip_gradients();
        optimizer_->step();
        optimizer_->zero_grad();
        since_update_ = 0, images_since_update_ = 0;
        if (stability_) stability_->after_update();
        if (ema_) ema_->update(detector_.module());
    }

    // Learned scales by themselves: a threshold's gradient is a sum over millions of values and would leave nothing of the
    // weights' own.
    void clip_gradients() {
        constexpr double largest_norm = 10;
        auto& groups = optimizer_->param_groups();
        if (groups.size() <= static_cast<std::size_t>(ParameterGroup::quantizer)) {
            torch::nn::utils::clip_grad_norm_(detector_.module().parameters(), largest_norm);
            return;
        }
        std::vector<torch::Tensor> network;
        for (auto group : {ParameterGroup::bias, ParameterGroup::weight, ParameterGroup::norm}) {
            auto const& own = groups[static_cast<std::size_t>(group)].params();
            network.insert(network.end(), own.begin(), own.end());
        }
        torch::nn::utils::clip_grad_norm_(network, largest_norm);
        torch::nn::utils::clip_grad_norm_(groups.back().params(), largest_norm);
    }

    void save(char const* name) {
        Checkpoint checkpoint;
        checkpoint.model = state_of(kept()), checkpoint.manifest = manifest_;
        if (o_.half)
            for (auto& [_, tensor] : checkpoint.model)
                if (tensor.is_floating_point()) tensor = tensor.to(torch::kHalf);
        std::filesystem::create_directories(o_.folder / "weights");
        save_checkpoint(o_.folder / "weights" / name, checkpoint);
    }

    Detector& detector_;
    ExperimentInfo const& experiment_;
    Manifest manifest_;
    TrainerOptions o_;
    TrainingEvents events_;
    std::atomic<bool> const* stop_;
    DetectionLoss loss_;
    std::unique_ptr<Detector> average_;
    std::optional<Ema> ema_;
    std::unique_ptr<torch::optim::Optimizer> optimizer_;
    std::optional<StabilityTools> stability_;  // of quantized runs
    int since_update_ = 0;                     // micro-batches
    std::int64_t images_since_update_ = 0;
    std::vector<qat::Event> plan_;
    std::size_t next_event_ = 0;
    std::int64_t first_step_ = 0;
};

}  // namespace yolo
