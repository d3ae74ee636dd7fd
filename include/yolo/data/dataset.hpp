#pragma once
// A data set on disk: pictures, their label files, and what is wrong with them. Nothing is decoded here that
// need not be; see loader.hpp for batches.

#include <yolo/data/find_images.hpp>
#include <yolo/data/scan.hpp>

namespace yolo {

/// One usable picture.
struct DatasetItem {
    std::filesystem::path image;
    ImageSize size;                 // pixels
    std::vector<Box> boxes;         // empty: background
    std::vector<Segment> segments;  // none, or one a box in the same order
};

struct ScanOptions {
    int classes = 0;            // a label's class must be below it; 0: any
    bool single_class = false;  // every class becomes 0, and `classes` is not looked at
    bool cache = true;          // keep what the scan found in a file, see scan_cache_path
    ScanProgress progress{};    // called as files are verified
};

/// What a scan met. found + missing = pictures that can be used.
struct DatasetSummary {
    int found = 0;                      // pictures with a label file
    int missing = 0;                    // pictures without one: background
    int empty = 0;                      // of those found, files without a box: background
    int corrupt = 0;                    // pictures left out because they or all their labels are broken
    int duplicates = 0;                 // rows of labels left out: repeated,
    int out_of_range = 0;               // outside the picture,
    int malformed = 0;                  // or no labels
    int from_cache = 0;                 // pictures that were not looked at again
    std::vector<std::string> messages;  // one line a problem, the file's name first, in the pictures' order
    std::vector<std::string> notes;     // on the cache file; they change nothing
};

/// "126 found, 2 missing, 0 empty, 0 corrupt", and rows that were left out if there are any.
inline std::string to_string(DatasetSummary const& summary) {
    auto text = std::to_string(summary.found) + " found, " + std::to_string(summary.missing) + " missing, " +
                std::to_string(summary.empty) + " empty, " + std::to_string(summary.corrupt) + " corrupt";
    auto const rows = [&](int count, char const* what) {
        if (count > 0) text += ", " + std::to_string(count) + " rows " + what;
    };
    rows(summary.duplicates, "twice"), rows(summary.out_of_range, "out of range");
    rows(summary.malformed, "malformed");
    return text;
}

/// Pictures with labels, verified. Immutable, so it may be read from any thread.
class Dataset {
public:
    /// paths: as find_images. Files are verified on all cores.
    /// throws std::runtime_error where no picture can be used or a label's class is not below the classes.
    Dataset(std::vector<std::filesystem::path> const& paths, ScanOptions const& options) {
        auto const images = find_images(paths);
        auto const cache = options.cache && !images.empty() ? scan_cache_path(paths.front(), images.front())
                                                            : std::filesystem::path();
        ScanResult found = scan(images, cache, options.progress);
        summary_.from_cache = static_cast<int>(found.from_cache);
        summary_.notes = std::move(found.notes);
        for (std::size_t i = 0; i < images.size(); ++i) add(images[i], std::move(found.entries[i]), options);
        if (items_.empty()) throw std::runtime_error(nothing(paths));
    }
    /// The same without a cache file.
    Dataset(std::vector<std::filesystem::path> const& paths, int classes)
        : Dataset(paths, ScanOptions{.classes = classes, .cache = false}) {}

    std::size_t size() const { return items_.size(); }
    DatasetItem const& operator[](std::size_t index) const { return items_[index]; }
    std::vector<DatasetItem> const& items() const { return items_; }
    DatasetSummary const& summary() const { return summary_; }
    std::size_t boxes() const {
        std::size_t count = 0;
        for (DatasetItem const& item : items_) count += item.boxes.size();
        return count;
    }

private:
    void add(std::filesystem::path const& image, ScanEntry&& entry, ScanOptions const& options) {
        using Kind = ScanEntry::Kind;
        auto const label = label_path(image);
        auto const say = [&](std::filesystem::path const& file, std::string const& what) {
            summary_.messages.push_back(file.string() + ": " + what);
        };
        Labels& labels = entry.labels;
        summary_.duplicates += labels.duplicates, summary_.out_of_range += labels.out_of_range;
        summary_.malformed += labels.malformed;
        if (entry.kind == Kind::broken_image || entry.kind == Kind::broken_label) {
            ++summary_.corrupt;
            say(entry.kind == Kind::broken_image ? image : label, entry.problem + "; the image is left out");
            return;
        }
        if (labels.duplicates > 0) say(label, std::to_string(labels.duplicates) + " duplicate rows left out");
        if (!labels.first_problem.empty())
            say(label, labels.first_problem + "; left out: " + std::to_string(labels.out_of_range) +
                           " rows out of range, " + std::to_string(labels.malformed) + " malformed");
        summary_.found += entry.kind == Kind::labelled;
        summary_.missing += entry.kind == Kind::unlabelled;
        summary_.empty += entry.kind == Kind::labelled && labels.boxes.empty();
        for (Box& box : labels.boxes)
            if (options.single_class)
                box.cls = 0;
            else if (options.classes > 0 && box.cls >= static_cast<float>(options.classes))
                throw std::runtime_error(
                    label.string() + ": class " + std::to_string(static_cast<int>(box.cls)) +
                    ", but the data set has " + std::to_string(options.classes) + " classes (0 to " +
                    std::to_string(options.classes - 1) + "); correct the label or the data set's nc");
        items_.push_back({image, entry.size, std::move(labels.boxes), std::move(labels.segments)});
    }

    std::string nothing(std::vector<std::filesystem::path> const& paths) const {
        std::string text = "no usable image in";
        for (auto const& path : paths) text += " " + path.string();
        if (paths.empty()) text += " an empty list of paths";
        if (summary_.corrupt == 0) return text + "; want .jpg, .png, .bmp, .tif or .webp files";
        return text + "; all " + std::to_string(summary_.corrupt) +
               " are broken, the first: " + summary_.messages[0];
    }

    std::vector<DatasetItem> items_;
    DatasetSummary summary_;
};

}  // namespace yolo
