#pragma once
// The training loop: YOLOv5's, with the switches of quantization. It drives a Detector and knows no experiment's type.

#include <qat/nn/reestimate.hpp>
#include <yolo/data/image_weights.hpp>
#include <yolo/data/multi_scale.hpp>
#include <yolo/io/checkpoint.hpp>
#include <yolo/io/progress.hpp>
#include <yolo/train/freeze_layers.hpp>
#include <yolo/train/not_finite.hpp>
#include <yolo/train/run_state.hpp>
#include <yolo/train/schedule_switches.hpp>
#include <yolo/train/trainer_options.hpp>

#include <atomic>

namespace yolo {

class Trainer {
public:
    /// manifest: what checkpoints say about the network. stop: training ends after the step at which it becomes true,
    /// or before the next batch that is validated, leaving a last.pt to resume; may be null.
    Trainer(Detector& detector, ExperimentInfo const& experiment, Manifest manifest, TrainerOptions options,
            TrainingEvents events = {}, std::atomic<bool> const* stop = nullptr)
        : detector_(detector), experiment_(experiment), manifest_(std::move(manifest)),
          o_(std::move(options)), events_(std::move(events)), stop_(stop),
          loss_(detector.options(), scaled_for(o_.hyp, detector.options().classes, o_.image_size)) {
        manifest_.experiment = experiment.name;
        manifest_.epoch = -1,
        manifest_.best_fitness = 0;  // of this run; the manifest may come from the one before
        freeze_layers(detector_, o_.freeze);
        for (auto const& [key, tensor, _] : detail::named_state(detector_))
            if (tensor.requires_grad()) parameters_.emplace_back(key, tensor);
        if (parameters_.empty())
            throw std::runtime_error("every layer is frozen, so there is nothing to train; freeze fewer");
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
    double best_fitness() const { return manifest_.best_fitness; }
    /// Whether best.pt is this run's, and not that of another which was in the folder before.
    bool kept_best() const { return at_.kept_best; }

    /// run() goes on where the run was that wrote this last.pt: the same steps as if it had not been interrupted, bit for
    /// bit on one thread. A checkpoint that is not from such a run gives its weights and its epoch.
    /// source: named in errors.
    void resume(Checkpoint const& checkpoint, std::string const& source) {
        auto const& m = checkpoint.manifest;
        manifest_.best_fitness = m.best_fitness, manifest_.bits = m.bits;
        at_ = {}, at_.epoch = m.epoch + 1, at_.best_epoch = std::max(m.epoch, 0);
        at_.kept_best = true;
        for (auto const& [name, tensor] : checkpoint.more) saved_.emplace(name, tensor);
        if (auto const text = m.extra.find(progress_key); text != m.extra.end())
            at_ = progress_from_json(text->second);
        else
            say(source + " is no last.pt: it has no optimizer, so the run goes on from its weights only");
        auto const load = [&](Detector& detector, std::string const& prefix) {
            StateDict state;
            for (auto const& [key, tensor] : checkpoint.more)
                if (key.starts_with(prefix)) state.emplace_back(key.substr(prefix.size()), tensor);
            load_state(detector, state.empty() ? checkpoint.model : state, Fit::exact, source);
        };
        load(detector_, "network/");
        if (average_) {
            load(*average_, "average/");
            if (!saved_.contains(
                    "generator"))  // an older checkpoint: the average remembers as long as before
                at_.ema_updates = -1;
        }
        resumed_ = true;
        at_.kept_best = at_.kept_best && std::filesystem::exists(o_.folder / "weights/best.pt");
    }

    /// Epochs from where the run stands. throws std::runtime_error where steps stay not finite, or the data are others
    /// than those of the run that is resumed.
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
        begin(train);
        for (int epoch = at_.epoch; epoch < o_.epochs; ++epoch) {
            EpochReport report;
            report.epoch = epoch, report.epochs = o_.epochs;
            detail::Stopwatch lap(detector_.device());
            bool const last = epoch + 1 == o_.epochs;
            if (at_.batch < train.batches() && !train_epoch(train, rates, epoch))
                return interrupted("in epoch " + std::to_string(epoch), epoch);
            report.loss = mean_loss(), report.skipped = at_.skipped;
            report.rates = at_.rates, report.grids = at_.grids;
            if (last && !std::exchange(at_.reestimated, true)) reestimate(train);
            if (validation && (o_.validate || last)) {
                ValidationOptions options;
                options.loss = &loss_, options.stop = stop_;
                report.validation = validate(kept(), *validation, options);
                if (report.validation.stopped)
                    return interrupted("while epoch " + std::to_string(epoch) + " is validated", epoch);
                report.validated = true;
                class_maps_.fill_(report.validation.evaluation.map);  // where no label says better
                for (auto const& c : report.validation.evaluation.per_class) class_maps_[c.cls] = c.map;
                double const fitness = report.validation.evaluation.fitness();
                report.best = fitness >= manifest_.best_fitness;  // also while it is still 0, as YOLOv5
                if (report.best)
                    manifest_.best_fitness = std::max(fitness, manifest_.best_fitness),
                    at_.best_epoch = epoch;
            }
            report.seconds = lap() / 1000;
            append_results(o_.folder / "results.csv", report);
            if (events_.epoch) events_.epoch(report);
            manifest_.epoch = epoch, at_.epoch = epoch + 1, at_.batch = 0, at_.reestimated = false;
            bool const patience_ends =
                o_.patience > 0 && report.validated && epoch - at_.best_epoch >= o_.patience && !last;
            bool const stops = (stop_ && *stop_) || epoch == o_.stop_after_epoch;
            // best.pt first: a run that ends between the two is resumed from the epoch before and writes both again.
            bool const keeps = o_.save || last || patience_ends || stops;
            if (keeps && (report.best || (last && !validation))) save("best.pt");
            if (o_.save && o_.save_period > 0 && epoch % o_.save_period == 0)
                save(("epoch" + std::to_string(epoch) + ".pt").c_str(), /*resumable=*/true);
            if (keeps) save("last.pt", /*resumable=*/true);
            if (patience_ends) {
                say("no better epoch than " + std::to_string(at_.best_epoch) + " for " +
                    std::to_string(o_.patience) + " epochs: stopping early");
                return Outcome::stopped_early;
            }
            if (stops && !last) {
                say("stopped after epoch " + std::to_string(epoch) + "; " + last_file() + " can be resumed");
                return stop_ && *stop_ ? Outcome::interrupted : Outcome::paused;
            }
        }
        return Outcome::finished;
    }

private:
    void say(std::string const& text) const {
        if (events_.message) events_.message(text);
    }

    std::string last_file() const { return (o_.folder / "weights/last.pt").string(); }
    RunParts parts() {
        return {
            detector_, *optimizer_, parameters_, ema_ ? &*ema_ : nullptr, stability_ ? &*stability_ : nullptr,
            loss_sums_};
    }

    // Before the epoch is finished.
    Outcome interrupted(std::string const& where, int epoch) {
        manifest_.epoch = epoch - 1;
        save("last.pt", /*resumable=*/true);
        say("interrupted " + where + "; " + last_file() + " keeps what was learnt");
        return Outcome::interrupted;
    }

    // What comes before the first step, or instead of it what was before the one that follows.
    void begin(Loader& train) {
        int const batches = train.batches();
        if (resumed_ && at_.batches > 0 && at_.batches != batches)
            throw std::runtime_error("the run had " + std::to_string(at_.batches) +
                                     " batches an epoch and now there are " + std::to_string(batches) +
                                     "; resume with the data set and the batch size of the run, or start "
                                     "another from its weights");
        at_.batches = batches;
        if (!resumed_) std::filesystem::remove(o_.folder / "results.csv");  // of a run that was here before
        remove_unfinished(o_.folder), remove_unfinished(o_.folder / "weights");
        detector_.module().train();
        bool const quantizes = experiment_.schedule.quantize.step(batches) == 0;
        if (experiment_.quantized && quantizes && !resumed_) observe_first_batch(train);
        // A step's switches are turned before it, and an epoch's at its end.
        bool const within = at_.batch > 0 && at_.batch < batches;
        auto const turned = std::int64_t{at_.epoch} * batches + at_.batch - within;
        switches_.emplace(detector_, average_.get(), ema_ ? &*ema_ : nullptr, experiment_,
                          SwitchesStart{.steps_per_epoch = batches,
                                        .epochs = o_.epochs,
                                        .turned = resumed_ ? turned : -1,
                                        .bits = manifest_.bits});
        if (resumed_) turn_switches(turned);  // before what the run remembers is restored
        if (experiment_.quantized) stability_.emplace(detector_, experiment_.stability);
        loss_sums_ = torch::zeros(3);
        class_maps_ = torch::zeros({detector_.options().classes}, torch::kDouble);
        optimizer_->zero_grad();
        if (!resumed_) return;
        truncate_results(o_.folder / "results.csv", at_.epoch);
        qat::nn::refresh_scales(detector_.module());
        restore_run(parts(), saved_);
        if (auto const maps = saved_.find("class_maps"); maps != saved_.end())
            class_maps_.copy_(maps->second);
        saved_.clear();
        loss_scale_.set(at_.loss_scale, at_.steps_at_scale);
        if (ema_)
            ema_->set_updates(at_.ema_updates >= 0
                                  ? at_.ema_updates
                                  : std::int64_t{at_.epoch} * batches / full_accumulation(o_.batch_size));
    }

    /// Grids that several producers share need a range before the first step.
    void observe_first_batch(Loader& train) {
        Batch batch;
        train.start_epoch(0);
        if (!train.next(batch)) return;
        qat::nn::observe_once(detector_.module(), [&] { detector_(batch.images); });
    }

    /// False if it was interrupted.
    bool train_epoch(Loader& train, StepSchedule const& rates, int epoch) {
        auto& model = detector_.module();
        auto const began = std::chrono::steady_clock::now();
        auto const steps = static_cast<double>(train.batches()) * o_.epochs;
        model.train();
        if (at_.batch == 0) {
            optimizer_->zero_grad();  // what an epoch did not use up is dropped, as in YOLOv5
            loss_sums_.zero_(), at_.counted = 0;
        }
        if (o_.image_weights) weigh_images(train);
        train.start_epoch(epoch, at_.batch);
        Batch batch, latest;
        for (; train.next(batch); latest = std::move(batch)) {
            auto const step = static_cast<std::int64_t>(epoch) * train.batches() + at_.batch;
            turn_switches(step);
            auto const rate = rates(epoch, at_.batch);
            at_.rates = {rate.bias_lr, rate.weight_lr, rate.norm_lr};
            qat::nn::refresh_scales(model);
            if (events_.batch) events_.batch(batch, step);

            auto const images = o_.multi_scale ? resized(batch.images, train, epoch) : batch.images;
            Logits logits;
            {
                Autocast const half(o_.precision);
                logits = detector_(images);
            }
            auto const loss = loss_(logits, batch.targets);
            (loss_scale_.on() ? loss.total * loss_scale_.value() : loss.total).backward();
            ++at_.since_update, at_.images_since_update += batch.images.size(0);
            auto const items = loss.items.to(torch::kCPU);
            if (!items.isfinite().all().item<bool>())
                skip_step(step, &logits, items);
            else
                loss_sums_ += items, ++at_.counted;
            if (at_.since_update >= rate.accumulate) update(step, static_cast<double>(step) / steps);

            if (events_.step) {
                auto const seconds =
                    std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
                events_.step(
                    {epoch, at_.batch, train.batches(), mean_loss(), batch.targets.size(0), seconds});
            }
            if (++at_.batch < train.batches() && stop_ && *stop_) {
                qat::nn::refresh_scales(model);
                return false;
            }
        }
        // What happens at the end of the last batch belongs to this epoch's checkpoint.
        turn_switches(static_cast<std::int64_t>(epoch + 1) * train.batches());
        qat::nn::refresh_scales(model);
        if (stability_ && latest.images.defined())
            at_.grids = stability_->end_of_epoch(latest.images, [this](auto const& text) { say(text); });
        return true;
    }

    // float [N, 3, H', W'] in [0, 1]
    torch::Tensor resized(torch::Tensor const& images, Loader const& train, int epoch) {
        auto random = multi_scale_stream(train.options().seed, epoch, at_.batch);
        return multi_scale(images.to(detector_.device()).to(torch::kFloat).div_(255), o_.image_size,
                           train.options().stride, random);
    }

    void weigh_images(Loader& train) {
        auto const classes = static_cast<int>(detector_.options().classes);
        auto const* maps = class_maps_.data_ptr<double>();
        train.set_image_weights(labels_to_image_weights(
            train.dataset(), weights_of_classes(labels_to_class_weights(train.dataset(), classes),
                                                {maps, static_cast<std::size_t>(classes)})));
    }

    std::array<double, 3> mean_loss() const {
        std::array<double, 3> mean{};
        for (std::size_t k = 0; k < 3; ++k)
            mean[k] = loss_sums_[static_cast<std::int64_t>(k)].item<double>() / std::max(at_.counted, 1);
        return mean;
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

    void turn_switches(std::int64_t step) {
        switches_->turn(step, [this](std::string const& text) { say(text); });
        manifest_.bits = switches_->bits();
    }

    // progress: of the training, 0 to 1.
    void update(std::int64_t step, double progress) {
        if (loss_scale_.on()) {
            torch::NoGradGuard no_grad;
            for (auto const& [_, parameter] : parameters_)
                if (auto gradient = parameter.grad(); gradient.defined())
                    gradient.mul_(1 / loss_scale_.value());
        }
        if (stability_) stability_->before_update(progress, at_.images_since_update);
        if (!std::isfinite(clip_gradients(*optimizer_))) return skip_step(step, nullptr, {});
        optimizer_->step();
        drop_gradients();
        at_.skipped_in_a_row = 0;
        loss_scale_.follow(/*overflowed=*/false);
        if (stability_) stability_->after_update();
        if (ema_) ema_->update(detector_.module());
    }

    void drop_gradients() {
        optimizer_->zero_grad();
        at_.since_update = 0, at_.images_since_update = 0;
    }

    // Something is not finite: the optimizer leaves this step out.
    void skip_step(std::int64_t step, Logits const* logits, torch::Tensor const& items) {
        // A loss scale that is too large is found this way: nothing is wrong.
        bool const overflow = loss_scale_.on() && loss_scale_.value() > 1 && !items.defined();
        loss_scale_.follow(/*overflowed=*/true);
        ++at_.skipped;
        auto const culprit = overflow ? std::string() : first_not_finite(detector_, logits, items);
        drop_gradients();
        if (overflow) return;
        auto const what = culprit.empty() ? std::string("the norm of the gradients") : culprit;
        say("step " + std::to_string(step) + " is skipped: " + what + " is not finite");
        bool const broken = what.starts_with("model.");  // no step can mend it
        if (!broken && ++at_.skipped_in_a_row <= o_.most_skipped) return;
        bool const has_last = std::filesystem::exists(last_file());
        throw Diverged((broken ? what + " is not finite any more"
                               : std::to_string(at_.skipped_in_a_row) +
                                     " steps in a row were not finite (the last because of " + what + ")") +
                       (has_last ? "; " + last_file() + " is the last good checkpoint, try a smaller lr0"
                                 : "; no checkpoint was saved yet, try a smaller lr0"));
    }

    // resumable: with what the run remembers, three times as large.
    void save(char const* name, bool resumable = false) {
        Checkpoint checkpoint;
        checkpoint.model = state_of(kept()), checkpoint.manifest = manifest_;
        if (o_.half)
            for (auto& [_, tensor] : checkpoint.model)
                if (tensor.is_floating_point()) tensor = tensor.to(torch::kHalf);
        if (resumable) {
            at_.ema_updates = ema_ ? ema_->updates() : 0;
            at_.loss_scale = loss_scale_.value(), at_.steps_at_scale = loss_scale_.steps();
            checkpoint.manifest.extra[progress_key] = to_json(at_);
            checkpoint.more = run_state(parts(), at_.batch > 0 && at_.since_update > 0, average_ || o_.half);
            if (average_ && o_.half)
                for (auto& [key, tensor] : state_of(*average_))
                    checkpoint.more.emplace_back("average/" + key, tensor);
            checkpoint.more.emplace_back("class_maps", class_maps_);
        }
        std::filesystem::create_directories(o_.folder / "weights");
        save_checkpoint(o_.folder / "weights" / name, checkpoint);
        at_.kept_best = at_.kept_best || std::string_view(name) == "best.pt";
    }

    Detector& detector_;
    ExperimentInfo const& experiment_;
    Manifest manifest_;
    TrainerOptions o_;
    TrainingEvents events_;
    std::atomic<bool> const* stop_;
    DetectionLoss loss_;
    StateDict parameters_;  // that are trained, by key
    std::unique_ptr<Detector> average_;
    std::optional<Ema> ema_;
    std::unique_ptr<torch::optim::Optimizer> optimizer_;
    std::optional<StabilityTools> stability_;  // of quantized runs
    Progress at_;
    torch::Tensor loss_sums_;  // [3], over the epoch's micro-batches that were finite
    torch::Tensor
        class_maps_;  // [classes] float64: mAP50-95 of the last validation, by which images are weighed
    LossScale loss_scale_{o_.precision};
    bool resumed_ = false;
    TensorsByName saved_;  // of a resumed run, until it begins
    std::optional<ScheduleSwitches> switches_;
};

}  // namespace yolo
