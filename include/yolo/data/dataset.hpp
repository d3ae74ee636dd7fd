#pragma once
// A data set on disk: pictures, their label files, and what is wrong with them. Nothing is decoded here that
// need not be; see loader.hpp for batches.

#include <yolo/data/image_file.hpp>
#include <yolo/data/labels.hpp>
#include <yolo/data/parallel.hpp>

#include <range/v3/action/sort.hpp>
#include <range/v3/action/transform.hpp>
#include <range/v3/action/unique.hpp>

#include <cctype>

namespace yolo {

/// Does the name end like a picture's? (bmp, jpeg, jpg, png, tif, tiff, webp, in any case)
inline bool is_image_name(std::filesystem::path const& path) {
    auto const lower = [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); };
    auto const extension = path.extension().string() | ranges::actions::transform(lower);
    static constexpr std::array<std::string_view, 8> known{".bmp", ".jpeg", ".jpg",  ".png",
                                                           ".tif", ".tiff", ".webp", ".jfif"};
    return std::find(known.begin(), known.end(), extension) != known.end();
}

/// The pictures that folders (searched to any depth), lists (.txt, one path a line; "./" is the list's
/// folder) and single files name: sorted, each once.
/// throws std::runtime_error naming a path that does not exist.
inline std::vector<std::filesystem::path> find_images(std::vector<std::filesystem::path> const& paths) {
    namespace fs = std::filesystem;
    std::vector<fs::path> images;
    for (fs::path const& path : paths) {
        if (fs::is_directory(path)) {
            auto const options = fs::directory_options::follow_directory_symlink;
            for (auto entry = fs::recursive_directory_iterator(path, options); entry != fs::end(entry);
                 ++entry) {
                bool const hidden = entry->path().filename().string().starts_with('.');
                if (hidden && entry->is_directory()) entry.disable_recursion_pending();
                if (!hidden && is_image_name(entry->path()) && !entry->is_directory())
                    images.push_back(entry->path());
            }
        } else if (!fs::is_regular_file(path)) {
            throw std::runtime_error(path.string() +
                                     ": no such folder, list or image; check the data set's paths");
        } else if (path.extension() == ".txt") {
            std::ifstream in(path);
            for (std::string line; std::getline(in, line);) {
                while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back())))
                    line.pop_back();
                fs::path const image =
                    line.starts_with("./") ? path.parent_path() / line.substr(2) : fs::path(line);
                if (is_image_name(image)) images.push_back(image);
            }
        } else if (is_image_name(path)) {
            images.push_back(path);
        }
    }
    return std::move(images) | ranges::actions::sort | ranges::actions::unique;
}

/// One usable picture.
struct DatasetItem {
    std::filesystem::path image;
    ImageSize size;          // pixels
    std::vector<Box> boxes;  // empty: background
};

/// What a scan met. found + missing = pictures that can be used.
struct DatasetSummary {
    int found = 0;    // pictures with a label file
    int missing = 0;  // pictures without one: background
    int empty = 0;    // of those found, files without a box: background
    int corrupt = 0;  // pictures left out because they or their labels are broken
    std::vector<std::string>
        messages;  // one line a problem, with the file's name, in the order of the pictures
};

/// Pictures with labels, verified. Immutable, so it may be read from any thread.
class Dataset {
public:
    /// paths: as find_images; classes: how many there are, 0 for any. Files are verified on all cores.
    /// throws std::runtime_error where no picture can be used or a label's class is not below `classes`.
    Dataset(std::vector<std::filesystem::path> const& paths, int classes) {
        auto const images = find_images(paths);
        std::vector<Found> found(images.size());
        parallel_for(images.size(), 64, [&](std::size_t i) { found[i] = verify(images[i]); });
        for (Found& entry : found) {
            if (!entry.message.empty()) summary_.messages.push_back(std::move(entry.message));
            if (entry.kind == Kind::corrupt) {
                ++summary_.corrupt;
                continue;
            }
            summary_.found += entry.kind == Kind::labelled;
            summary_.missing += entry.kind == Kind::unlabelled;
            summary_.empty += entry.kind == Kind::labelled && entry.item.boxes.empty();
            for (Box const& box : entry.item.boxes)
                if (classes > 0 && box.cls >= static_cast<float>(classes))
                    throw std::runtime_error(label_path(entry.item.image).string() + ": class " +
                                             std::to_string(static_cast<int>(box.cls)) +
                                             ", but the data set has " + std::to_string(classes) +
                                             " classes (0 to " + std::to_string(classes - 1) +
                                             "); correct the label or the data set's nc");
            items_.push_back(std::move(entry.item));
        }
        if (items_.empty()) throw std::runtime_error(nothing(paths));
    }

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
    enum class Kind { corrupt, labelled, unlabelled };
    struct Found {
        Kind kind = Kind::corrupt;
        DatasetItem item;
        std::string message;
    };

    static Found verify(std::filesystem::path const& image) {
        Found found;
        std::filesystem::path blamed = image;
        try {
            found.item = {image, probe_image(image), {}};
            blamed = label_path(image);
            if (std::filesystem::exists(blamed)) {
                Labels labels = read_labels(blamed);
                found.item.boxes = std::move(labels.boxes);
                if (labels.duplicates > 0)
                    found.message = blamed.string() + ": " + std::to_string(labels.duplicates) +
                                    " duplicate labels removed";
                found.kind = Kind::labelled;
            } else {
                found.kind = Kind::unlabelled;
            }
        } catch (std::exception const& error) {
            found.kind = Kind::corrupt;
            found.message = blamed.string() + ": " + error.what() + "; the image is left out";
        }
        return found;
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
