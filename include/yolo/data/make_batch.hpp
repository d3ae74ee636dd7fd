#pragma once
// From a plan to the tensors of one batch. Random numbers come first, pixels last: where the parts of a mosaic lie and what of
// them will be seen is known before a picture is decoded, and what nobody sees is not decoded.

#include <yolo/data/augment.hpp>
#include <yolo/data/epoch_plan.hpp>

namespace yolo {

/// Makes batches; by several threads at once.
class BatchMaker {
public:
    BatchMaker(Dataset const& dataset, LoaderOptions const& options)
        : dataset_(dataset), options_(options),
          cache_(dataset, options.image_size, options.augment ? Shrink::linear : Shrink::by_area,
                 options.cache_limit_bytes, options.caching) {}

    ImageCache const& cache() const { return cache_; }

    Batch operator()(EpochPlan const& plan, std::size_t position) {
        BatchPlan const& to = plan.batches[position];
        auto const count = static_cast<std::int64_t>(to.count);
        Batch batch;
        batch.images = torch::empty({count, 3, to.height, to.width}, torch::kUInt8);
        auto* planes = batch.images.data_ptr<std::uint8_t>();
        std::vector<float> rows;
        for (std::size_t i = 0; i < to.count; ++i) {
            std::size_t const index = plan.order[to.first + i];
            // A drawn picture may come twice; it shall not look the same.
            Random random(options_.seed, static_cast<std::uint64_t>(plan.epoch),
                          plan.weighted ? dataset_.size() + to.first + i : index);
            ImageInfo info;
            auto const boxes = options_.augment ? write_augmented(plan, index, to, random, planes, info)
                                                : write_plain(index, to, planes, info);
            for (PixelBox const& pixels : boxes) {
                Box const box = to_fraction(pixels, to.width, to.height);
                rows.insert(rows.end(), {static_cast<float>(i), box.cls, box.cx, box.cy, box.w, box.h});
            }
            info.label_count = static_cast<int>(boxes.size());
            batch.infos.push_back(std::move(info));
            planes += 3 * static_cast<std::ptrdiff_t>(to.height) * to.width;
        }
        batch.targets = torch::empty({static_cast<std::int64_t>(rows.size() / 6), 6}, torch::kFloat);
        std::copy(rows.begin(), rows.end(), batch.targets.data_ptr<float>());
        return batch;
    }

private:
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

    std::vector<PixelBox> write_augmented(EpochPlan const& plan, std::size_t index, BatchPlan const& to,
                                          Random& random, std::uint8_t* planes, ImageInfo& info) {
        Hyperparameters const& hyp = options_.hyp;
        thread_local cv::Mat first, second;  // kept between pictures: fresh pages cost as much as the view
        Sample sample;
        if (!options_.rect && random.bernoulli(hyp.mosaic)) {
            sample = mosaic_view(plan, index, random, first);
            if (random.bernoulli(hyp.mixup)) {
                auto const other = static_cast<std::size_t>(random.integer(dataset_.size()));
                sample = mixup(sample, mosaic_view(plan, other, random, second), random);
            }
            ImageSize const size = dataset_[index].size;
            info = {dataset_[index].image, index, size.height, size.width, 1, 1, 0, 0, 0};
        } else {
            LoadedImage const loaded = cache_.get(index);
            Letterbox const box = place(loaded, index, to, info);
            cv::Size const size(to.width, to.height);
            Sample const whole{letterbox(loaded.image, box), boxes_in(box, loaded, index)};
            sample = warp(whole, random_view(hyp, size, size, random), size);
        }
        write_with_colours_and_flips(sample, hyp, random, planes);
        return std::move(sample.boxes);
    }

    // The picture and three or eight random ones on a canvas, seen through a random window. Pixels go to `image`.
    Sample mosaic_view(EpochPlan const& plan, std::size_t index, Random& random, cv::Mat& image) {
        std::vector<std::size_t> indices{index};
        while (indices.size() < static_cast<std::size_t>(options_.mosaic_tiles)) {
            auto const other = static_cast<std::size_t>(random.integer(dataset_.size()));
            indices.push_back(plan.weighted ? plan.order[other] : other);
        }
        random.shuffle(std::span(indices));
        std::vector<MosaicPart> parts;
        std::vector<cv::Size> sizes;
        for (std::size_t const i : indices) {
            parts.push_back({{}, &dataset_[i].boxes, &dataset_[i].segments});
            sizes.push_back(loaded_size(dataset_[i].size, options_.image_size));
        }
        MosaicLayout const layout = mosaic_layout(sizes, options_.image_size, random);
        Sample whole = mosaic_labels(parts, layout);
        auto const pastes =
            choose_pastes(whole, static_cast<float>(layout.side), options_.hyp.copy_paste, random);
        cv::Size const from(layout.side, layout.side), to(options_.image_size, options_.image_size);
        View const view = random_view(options_.hyp, from, to, random);

        cv::Rect const seen = pastes.empty() ? seen_through(view, from, to) : cv::Rect({}, from);
        thread_local cv::Mat canvas;
        clear_canvas(canvas, layout, seen);
        for (std::size_t i = 0; i < parts.size();
             ++i)  // one after the other: the next takes the memory of the last
            if ((layout.places[i] & seen).area() > 0)
                draw_part(canvas, cache_.get(indices[i]).image, layout.places[i], seen);
        paste_mirrored(canvas, pastes);
        Sample result{{}, warp_boxes(whole, view, to)};
        warp_image(canvas, view, to, image);
        result.image = image;
        return result;
    }

    Dataset const& dataset_;
    LoaderOptions const& options_;
    ImageCache cache_;
};

}  // namespace yolo
