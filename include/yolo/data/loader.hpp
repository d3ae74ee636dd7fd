#pragma once
// Batches from a data set, made by threads ahead of time. What a batch holds depends on the options, the
// epoch and its place in the epoch only: not on the number of threads nor on their luck.

#include <yolo/data/make_batch.hpp>

#include <condition_variable>
#include <map>
#include <memory>

namespace yolo {

class Loader {
public:
    /// The data set must outlive the loader. OpenCV's own threads are switched off for the whole process:
    /// they would fight with these and with LibTorch's.
    Loader(Dataset const& dataset, LoaderOptions const& options)
        : dataset_(dataset), options_(checked(options)), shared_plan_(first_plan(dataset, options)),
          make_batch_(dataset, options_) {
        cv::setNumThreads(0);
        if (batches() == 0)
            throw std::runtime_error("loader: " + std::to_string(dataset.size()) +
                                     " images give no batch of " + std::to_string(options.batch_size) +
                                     "; use a smaller one or keep the last");
        try {
            for (int i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { work(); });
        } catch (...) {
            stop();
            throw;
        }
    }
    Loader(Dataset const&&, LoaderOptions const&) = delete;
    Loader(Loader const&) = delete;
    Loader& operator=(Loader const&) = delete;
    ~Loader() { stop(); }

    int batches() const { return static_cast<int>(shared_plan_.batches.size()); }  // of an epoch
    LoaderOptions const& options() const { return options_; }
    Dataset const& dataset() const { return dataset_; }
    /// How much is cached, for people.
    std::string cache_summary() const { return make_batch_.cache().summary(); }

    /// From the next start_epoch on, its pictures are drawn with these weights, as are the partners in mosaics; empty: each
    /// picture once, as at first. See image_weights.hpp. Part of what an epoch depends on: a resumed run sets them again.
    void set_image_weights(std::vector<double> weights) {
        auto const want = [](bool good, std::string const& what) {
            if (!good) throw std::runtime_error("loader: " + what);
        };
        want(weights.empty() || weights.size() == dataset_.size(),
             std::to_string(weights.size()) + " image weights, want one for each of the " +
                 std::to_string(dataset_.size()) + " images");
        want(weights.empty() || !options_.rect,
             "image weights and rectangular batches exclude each other; leave one out");
        for (double const weight : weights)
            want(std::isfinite(weight) && weight >= 0,
                 "an image weight is " + std::to_string(weight) + ", want 0 or more");
        weights_ = std::move(weights);
    }

    /// Starts an epoch at its first batch, or where an interrupted one goes on; what was left of another one is dropped.
    void start_epoch(int epoch, int first_batch = 0) {
        auto plan = std::make_shared<EpochPlan const>(epoch_plan(shared_plan_, options_, epoch, weights_));
        {
            std::lock_guard const lock(mutex_);
            plan_ = std::move(plan);
            ready_.clear();
            claimed_ = returned_ = static_cast<std::size_t>(std::max(first_batch, 0));
        }
        wanted_.notify_all();
    }

    /// The next batch of the epoch (epoch 0 where none was started); false after the last one.
    /// throws what a worker met while it made this batch; the call after that returns the batch behind it.
    bool next(Batch& batch) {
        if (!plan_) start_epoch(0);
        if (returned_ >= plan_->batches.size()) return false;
        if (threads_.empty()) {
            batch = make_batch_(*plan_, returned_++);
            return true;
        }
        std::unique_lock lock(mutex_);
        made_.wait(lock, [&] { return ready_.contains(returned_); });
        Result result = std::move(ready_.extract(returned_).mapped());
        ++returned_;
        lock.unlock();
        wanted_.notify_all();
        if (result.error) std::rethrow_exception(result.error);
        batch = std::move(result.batch);
        return true;
    }

private:
    struct Result {
        Batch batch;
        std::exception_ptr error;
    };

    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            wanted_.wait(lock, [&] {
                return stopping_ || (plan_ && claimed_ < plan_->batches.size() &&
                                     claimed_ < returned_ + 2 * threads_wanted());
            });
            if (stopping_) return;
            auto const plan = plan_;
            std::size_t const position = claimed_++;
            lock.unlock();
            Result result;
            try {
                result.batch = make_batch_(*plan, position);
            } catch (...) { result.error = std::current_exception(); }
            lock.lock();
            if (plan != plan_) continue;  // another epoch has begun: nobody wants it
            ready_[position] = std::move(result);
            made_.notify_all();
        }
    }
    std::size_t threads_wanted() const { return static_cast<std::size_t>(options_.workers); }

    void stop() {
        {
            std::lock_guard const lock(mutex_);
            stopping_ = true;
        }
        wanted_.notify_all();
        for (std::thread& thread : threads_) thread.join();
        threads_.clear();
    }

    Dataset const& dataset_;
    LoaderOptions options_;
    EpochPlan shared_plan_;
    BatchMaker make_batch_;
    std::vector<double> weights_;

    std::mutex mutex_;  // guards what follows
    std::condition_variable wanted_, made_;
    std::shared_ptr<EpochPlan const> plan_;
    std::map<std::size_t, Result> ready_;
    std::size_t claimed_ = 0, returned_ = 0;
    bool stopping_ = false;
    std::vector<std::thread> threads_;  // last: they use all the rest
};

}  // namespace yolo
