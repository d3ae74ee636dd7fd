#pragma once
// Decoded pictures at the loader's size, kept in memory up to a limit: decoding a JPEG costs more than all
// that training does to it afterwards, and mosaics show each picture four times an epoch.

#include <yolo/data/dataset.hpp>

#include <mutex>

namespace yolo {

/// A picture with its longer side at the loader's size, and what it was on disk. The pixels are shared: do
/// not write.
struct LoadedImage {
    cv::Mat image;                // BGR [H, W, 3]
    int height0 = 0, width0 = 0;  // pixels on disk
};

/// Pictures of a data set by index. May be used by several threads; what is kept never changes.
class ImageCache {
public:
    /// limit_bytes 0: nothing is kept.
    ImageCache(Dataset const& dataset, int size, Shrink shrink, std::int64_t limit_bytes)
        : dataset_(dataset), size_(size), shrink_(shrink), limit_(limit_bytes), kept_(dataset.size()) {}

    /// throws as read_image
    LoadedImage get(std::size_t index) {
        {
            std::lock_guard const lock(mutex_);
            if (!kept_[index].image.empty()) return kept_[index];
        }
        cv::Mat const original = read_image(dataset_[index].image);
        LoadedImage loaded{resize_long_side(original, size_, shrink_), original.rows, original.cols};
        auto const bytes = static_cast<std::int64_t>(loaded.image.total() * loaded.image.elemSize());
        std::lock_guard const lock(mutex_);
        if (kept_[index].image.empty() && used_ + bytes <= limit_) {
            kept_[index] = loaded;
            used_ += bytes;
        }
        return loaded;
    }

    std::int64_t bytes() const {
        std::lock_guard const lock(mutex_);
        return used_;
    }

private:
    Dataset const& dataset_;
    int size_;
    Shrink shrink_;
    std::int64_t limit_, used_ = 0;
    std::vector<LoadedImage> kept_;
    mutable std::mutex mutex_;
};

}  // namespace yolo
