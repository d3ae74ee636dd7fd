#pragma once
// Batches from a data set, made by threads ahead of time. What a batch holds depends on the options, the
// epoch and its place in the epoch only: not on the number of threads nor on their luck.
// Longer than a header should be: options, batch, plan of an epoch and the queue belong together.

#include <qat/torch.hpp>
#include <yolo/data/augment.hpp>
#include <yolo/data/cache.hpp>
#include <yolo/data/reference_order.hpp>

#include <condition_variable>
#include <map>
#include <memory>
#include <numeric>

namespace yolo {

struct LoaderOptions {
    int image_size = 640;    // pixels of the longer side, and of square batches; a multiple of the stride
    int batch_size = 16;     // pictures
    int workers = 2;         // threads; 0: next() does the work itself
    bool augment = false;    // mosaic, views, colours, flips as `hyp` says
    bool shuffle = false;    // a new order each epoch (of whole batches where rect)
    bool drop_last = false;  // leave out an incomplete last batch
    bool rect = false;       // batches of similar aspect ratio, each as small as it can be; no mosaic
    double pad = 0.0;        // strides added to both sides of rect batches (YOLOv5 validates with 0.5)
    int stride = 32;         // sides of rect batches are multiples of it, pixels
    std::uint64_t seed = 0;
    bool cache_images = true;  // keep decoded pictures in memory
    std::int64_t cache_limit_bytes = std::int64_t{1} << 30;
    Hyperparameters hyp{};  // augmentation only
};

/// Where a picture of a batch comes from. x_batch = x_original * ratio_w + pad_w; so for y.
struct ImageInfo {
    std::filesystem::path path;       // of a mosaic: its first picture
    std::size_t index = 0;            // in the data set
    int height0 = 0, width0 = 0;      // original pixels
    double ratio_h = 1, ratio_w = 1;  // meaningless after a mosaic or a random view, as are the pads
    double pad_h = 0, pad_w = 0;      // pixels
    int label_count = 0;              // rows of the targets
};

struct Batch {
    torch::Tensor images;          // uint8 [N, 3, H, W], RGB
    torch::Tensor targets;         // float [n, 6]: image in the batch, class, cx, cy, w, h (fractions)
    std::vector<ImageInfo> infos;  // N
};

class Loader {
public:
    /// The data set must outlive the loader. OpenCV's own threads are switched off for the whole process:
    /// they would fight with these and with LibTorch's.
    Loader(Dataset const& dataset, LoaderOptions const& options)
        : dataset_(dataset), options_(checked(options)),
          cache_(dataset, options.image_size, options.augment ? Shrink::linear : Shrink::by_area,
                 options.cache_images ? options.cache_limit_bytes : 0) {
        cv::setNumThreads(0);
        make_batches();
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

    int batches() const { return static_cast<int>(batches_.size()); }  // of an epoch
    LoaderOptions const& options() const { return options_; }
    Dataset const& dataset() const { return dataset_; }

    /// Starts an epoch at its first batch; what was left of another one is dropped.
    void start_epoch(int epoch, int first_batch = 0) {
        auto plan = std::make_shared<Plan const>(make_plan(epoch));
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
        if (returned_ >= batches_.size()) return false;
        if (threads_.empty()) {
            batch = make_batch(*plan_, returned_++);
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
    struct BatchPlan {
        std::size_t first = 0, count = 0;  // in Plan::order
        int height = 0, width = 0;         // pixels
    };
    struct Plan {
        int epoch = 0;
        std::vector<std::size_t> order;  // indices of the data set
        std::vector<BatchPlan> batches;
    };
    struct Result {
        Batch batch;
        std::exception_ptr error;
    };

    static LoaderOptions const& checked(LoaderOptions const& options) {
        auto const want = [](bool good, std::string const& what) {
            if (!good) throw std::runtime_error("loader: " + what);
        };
        want(options.batch_size > 0,
             "batch size " + std::to_string(options.batch_size) + ", want at least 1");
        want(options.workers >= 0, std::to_string(options.workers) + " workers, want 0 or more");
        want(options.stride > 0, "stride " + std::to_string(options.stride) + ", want at least 1");
        want(options.image_size > 0 && options.image_size % options.stride == 0,
             "image size " + std::to_string(options.image_size) + ", want a multiple of the stride " +
                 std::to_string(options.stride));
        return options;
    }

    // Order and shapes that all epochs share.
    void make_batches() {
        order_.resize(dataset_.size());
        std::iota(order_.begin(), order_.end(), std::size_t{0});
        auto const aspect = [&](std::size_t i) {
            return static_cast<double>(dataset_[i].size.height) / dataset_[i].size.width;
        };
        if (options_.rect) {
            std::vector<double> aspects(dataset_.size());
            for (std::size_t i = 0; i < aspects.size(); ++i) aspects[i] = aspect(i);
            order_ = reference_order(aspects);
        }
        auto const size = static_cast<std::size_t>(options_.batch_size);
        for (std::size_t first = 0; first < order_.size(); first += size) {
            BatchPlan batch{first, std::min(size, order_.size() - first), options_.image_size,
                            options_.image_size};
            if (batch.count < size && options_.drop_last) break;
            if (options_.rect) {
                double const lowest = aspect(order_[first]),
                             highest = aspect(order_[first + batch.count - 1]);
                batch.height = rect_side(highest < 1 ? highest : 1);
                batch.width = rect_side(lowest > 1 ? 1 / lowest : 1);
            }
            batches_.push_back(batch);
        }
    }
    int rect_side(double fraction) const {
        return static_cast<int>(std::ceil(fraction * options_.image_size / options_.stride + options_.pad)) *
               options_.stride;
    }

    Plan make_plan(int epoch) const {
        Plan plan{epoch, order_, batches_};
        Random random(options_.seed, static_cast<std::uint64_t>(epoch), ~std::uint64_t{0});
        if (options_.shuffle && options_.rect)
            random.shuffle(std::span(plan.batches));
        else if (options_.shuffle)
            random.shuffle(std::span(plan.order));
        return plan;
    }

    Batch make_batch(Plan const& plan, std::size_t position) {
        BatchPlan const& place = plan.batches[position];
        auto const count = static_cast<std::int64_t>(place.count);
        Batch batch;
        batch.images = torch::empty({count, 3, place.height, place.width}, torch::kUInt8);
        auto* planes = batch.images.data_ptr<std::uint8_t>();
        std::vector<float> rows;
        for (std::size_t i = 0; i < place.count; ++i) {
            std::size_t const index = plan.order[place.first + i];
            Random random(options_.seed, static_cast<std::uint64_t>(plan.epoch), index);
            ImageInfo info;
            auto const boxes = options_.augment ? write_augmented(index, place, random, planes, info)
                                                : write_plain(index, place, planes, info);
            for (PixelBox const& pixels : boxes) {
                Box const box = to_fraction(pixels, place.width, place.height);
                rows.insert(rows.end(), {static_cast<float>(i), box.cls, box.cx, box.cy, box.w, box.h});
            }
            info.label_count = static_cast<int>(boxes.size());
            batch.infos.push_back(std::move(info));
            planes += 3 * static_cast<std::ptrdiff_t>(place.height) * place.width;
        }
        batch.targets = torch::empty({static_cast<std::int64_t>(rows.size() / 6), 6}, torch::kFloat);
        std::copy(rows.begin(), rows.end(), batch.targets.data_ptr<float>());
        return batch;
    }

    // The picture in its letterbox; fills in `info`.
    Letterbox place(LoadedImage const& loaded, std::size_t index, BatchPlan const& to,
                    ImageInfo& info) const {
        int const height = loaded.image.rows, width = loaded.image.cols;
        auto const result = place_letterbox(height, width, to.height, to.width,
                                            options_.augment ? ScaleUp::yes : ScaleUp::no);
        info = {dataset_[index].image,
                index,
                loaded.height0,
                loaded.width0,
                result.ratio * height / loaded.height0,
                result.ratio * width / loaded.width0,
                result.pad_h,
                result.pad_w,
                0};
        return result;
    }
    std::vector<PixelBox> boxes_in(Letterbox const& place, LoadedImage const& loaded,
                                   std::size_t index) const {
        return to_pixels(dataset_[index].boxes, place.ratio * loaded.image.cols,
                         place.ratio * loaded.image.rows, place.pad_w, place.pad_h);
    }

    std::vector<PixelBox> write_plain(std::size_t index, BatchPlan const& to, std::uint8_t* planes,
                                      ImageInfo& info) {
        LoadedImage const loaded = cache_.get(index);
        Letterbox const box = place(loaded, index, to, info);
        write_letterbox(loaded.image, box, planes);
        return boxes_in(box, loaded, index);
    }

    std::vector<PixelBox> write_augmented(std::size_t index, BatchPlan const& to, Random& random,
                                          std::uint8_t* planes, ImageInfo& info) {
        Hyperparameters const& hyp = options_.hyp;
        Sample sample;
        if (!options_.rect && random.bernoulli(hyp.mosaic)) {
            sample = mosaic_view(index, random);
            if (random.bernoulli(hyp.mixup))
                sample = yolo::mixup(sample, mosaic_view(random.integer(dataset_.size()), random), random);
            info = {dataset_[index].image,
                    index,
                    dataset_[index].size.height,
                    dataset_[index].size.width,
                    1,
                    1,
                    0,
                    0,
                    0};
        } else {
            LoadedImage const loaded = cache_.get(index);
            Letterbox const box = place(loaded, index, to, info);
            cv::Size const size(to.width, to.height);
            Sample const whole{letterbox(loaded.image, box), boxes_in(box, loaded, index)};
            sample = warp(whole, random_view(hyp, size, size, random), size);
        }
        augment_colours_and_flips(sample, hyp, random);
        write_planes(sample.image, planes, to.height, to.width);
        return std::move(sample.boxes);
    }

    // The picture and three random ones, seen through a random window.
    Sample mosaic_view(std::size_t index, Random& random) {
        std::array<std::size_t, 4> indices{index};
        for (std::size_t i = 1; i < 4; ++i)
            indices[i] = static_cast<std::size_t>(random.integer(dataset_.size()));
        random.shuffle(std::span(indices.data(), indices.size()));
        std::array<MosaicPart, 4> parts;
        for (std::size_t i = 0; i < 4; ++i)
            parts[i] = {cache_.get(indices[i]).image, &dataset_[indices[i]].boxes};
        thread_local cv::Mat canvas;  // 5 MB at 640 pixels: not worth fresh pages for each picture
        Sample const whole = mosaic(parts, options_.image_size, random, canvas);
        canvas = whole.image;
        cv::Size const to(options_.image_size, options_.image_size);
        return warp(whole, random_view(options_.hyp, whole.image.size(), to, random), to);
    }

    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            wanted_.wait(lock, [&] {
                return stopping_ ||
                       (plan_ && claimed_ < batches_.size() && claimed_ < returned_ + 2 * threads_wanted());
            });
            if (stopping_) return;
            auto const plan = plan_;
            std::size_t const position = claimed_++;
            lock.unlock();
            Result result;
            try {
                result.batch = make_batch(*plan, position);
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
    ImageCache cache_;
    std::vector<std::size_t> order_;
    std::vector<BatchPlan> batches_;

    std::mutex mutex_;  // guards what follows
    std::condition_variable wanted_, made_;
    std::shared_ptr<Plan const> plan_;
    std::map<std::size_t, Result> ready_;
    std::size_t claimed_ = 0, returned_ = 0;
    bool stopping_ = false;
    std::vector<std::thread> threads_;  // last: they use all the rest
};

}  // namespace yolo
