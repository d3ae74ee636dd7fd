#pragma once
// Decoded pictures, so that no JPEG is decoded twice: in memory at the loader's size, up to a limit, or as files on disk.
// Decoding costs more than all that training does to a picture afterwards, and mosaics show each one four times an epoch.

#include <yolo/data/dataset.hpp>
#include <yolo/data/npy.hpp>

#include <map>
#include <mutex>

namespace yolo {

enum class ImageCaching {
    none,
    ram,  // at the loader's size, as many as the limit allows
    disk  // YOLOv5's NAME.npy beside NAME.jpg, the whole decoded picture
};

/// A picture with its longer side at the loader's size, and what it was on disk. The pixels are shared: do
/// not write.
struct LoadedImage {
    cv::Mat image;                // BGR [H, W, 3]
    int height0 = 0, width0 = 0;  // pixels on disk
};

/// The size that resize_long_side gives, without a picture.
inline cv::Size loaded_size(ImageSize original, int size) {
    double const ratio = static_cast<double>(size) / std::max(original.height, original.width);
    if (ratio == 1.0) return {original.width, original.height};
    auto const side = [&](int pixels) { return std::max(1, static_cast<int>(pixels * ratio)); };
    return {side(original.width), side(original.height)};
}

/// Memory that programs may still take, bytes; -1 where the system does not tell.
inline std::int64_t available_memory() {
    std::ifstream in("/proc/meminfo");
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("MemAvailable:")) return std::stoll(line.substr(13)) * 1024;
    return -1;
}

/// Pictures of a data set by index. May be used by several threads; what is kept never changes.
class ImageCache {
public:
    /// limit_bytes: of memory, for ImageCaching::ram; nine tenths of what the machine has left bound it, too.
    ImageCache(Dataset const& dataset, int size, Shrink shrink, std::int64_t limit_bytes,
               ImageCaching caching = ImageCaching::ram)
        : dataset_(dataset), size_(size), shrink_(shrink),
          limit_(caching == ImageCaching::ram ? limit_bytes : 0), kept_(dataset.size()) {
        if (auto const left = available_memory(); left >= 0) limit_ = std::min(limit_, left / 10 * 9);
        disk_ = caching == ImageCaching::disk;
        if (disk_) find_npy_names();
    }

    /// throws std::runtime_error naming the file where it cannot be read any more or has changed
    LoadedImage get(std::size_t index) {
        if (limit_ > 0) {
            std::lock_guard const lock(mutex_);
            if (!kept_[index].image.empty()) return kept_[index];
        }
        cv::Mat const original = load(index);
        LoadedImage loaded{resize_long_side(original, size_, shrink_), original.rows, original.cols};
        auto const bytes = static_cast<std::int64_t>(loaded.image.total() * loaded.image.elemSize());
        std::lock_guard const lock(mutex_);
        if (kept_[index].image.empty() && used_ + bytes <= limit_) {
            kept_[index] = loaded;
            used_ += bytes, ++count_;
        }
        return loaded;
    }

    std::int64_t bytes() const {
        std::lock_guard const lock(mutex_);
        return used_;
    }

    /// One line for people: how much is kept and where, and what stands in the way.
    std::string summary() const {
        std::lock_guard const lock(mutex_);
        if (!problem_.empty()) return problem_;
        auto const all = std::to_string(dataset_.size());
        if (disk_)
            return "images cached on disk: " + std::to_string(count_) + " of " + all +
                   " files written or read";
        if (limit_ <= 0) return "images are not cached";
        std::int64_t needed = 0;
        for (DatasetItem const& item : dataset_.items())
            needed += 3 * std::int64_t{loaded_size(item.size, size_).area()};
        auto const megabytes = [](std::int64_t n) { return std::to_string((n + 999999) / 1000000) + " MB"; };
        return "images cached in memory: " + std::to_string(count_) + " of " + all + " so far, " +
               megabytes(used_) + "; all need " + megabytes(needed) + ", the limit is " + megabytes(limit_);
    }

private:
    // From the disk cache or the picture's own file.
    cv::Mat load(std::size_t index) {
        DatasetItem const& item = dataset_[index];
        if (!disk_ || npy_names_[index].empty()) return decode(item);
        std::filesystem::path const& npy = npy_names_[index];
        std::error_code none;
        auto const made = std::filesystem::last_write_time(npy, none);
        if (!none) {
            auto const changed = std::filesystem::last_write_time(item.image, none);
            if (!none && made >= changed)
                if (auto image = read_npy(npy, item.size.height, item.size.width)) {
                    note_file(index);
                    return *image;
                }
        }
        cv::Mat const image = decode(item);
        if (std::unique_lock lock(mutex_); problem_.empty()) {
            lock.unlock();
            if (write_npy(npy, image))
                note_file(index);
            else
                refuse(npy);
        }
        return image;
    }

    static cv::Mat decode(DatasetItem const& item) {
        cv::Mat const image = read_image(item.image);
        if (image.rows == item.size.height && image.cols == item.size.width) return image;
        auto const sides = [](int width, int height) {
            return std::to_string(width) + " x " + std::to_string(height);
        };
        throw std::runtime_error(item.image.string() + ": the image has " + sides(image.cols, image.rows) +
                                 " pixels, but had " + sides(item.size.width, item.size.height) +
                                 " when the data set was read; start again");
    }

    // NAME.npy belongs to NAME.jpg only where no other picture of that folder is called NAME.
    void find_npy_names() {
        std::map<std::filesystem::path, int> folders, pictures;
        for (DatasetItem const& item : dataset_.items()) folders[item.image.parent_path()] = 0;
        for (auto const& [folder, unused] : folders) {
            std::error_code failed;
            auto entry = std::filesystem::directory_iterator(folder.empty() ? "." : folder, failed);
            for (; !failed && entry != std::filesystem::end(entry); entry.increment(failed))
                if (is_image_name(entry->path())) ++pictures[folder / entry->path().stem()];
        }
        for (DatasetItem const& item : dataset_.items()) {
            auto const stem = item.image.parent_path() / item.image.stem();
            bool const alone = pictures[stem] <= 1;
            npy_names_.push_back(alone ? std::filesystem::path(stem) += ".npy" : std::filesystem::path());
        }
        noted_.resize(dataset_.size());
    }

    void note_file(std::size_t index) {
        std::lock_guard const lock(mutex_);
        count_ += !noted_[index];
        noted_[index] = true;
    }
    void refuse(std::filesystem::path const& npy) {
        std::lock_guard const lock(mutex_);
        problem_ = npy.string() +
                   ": cannot be written, so images are decoded anew each time; free space or make " +
                   "the folder writable for --cache disk";
    }

    Dataset const& dataset_;
    int size_;
    Shrink shrink_;
    std::int64_t limit_, used_ = 0;
    std::vector<LoadedImage> kept_;
    bool disk_ = false;
    std::vector<std::filesystem::path> npy_names_;  // empty: that picture has none
    std::vector<bool> noted_;
    std::size_t count_ = 0;  // pictures kept, or files written or read
    std::string problem_;
    mutable std::mutex mutex_;
};

}  // namespace yolo
