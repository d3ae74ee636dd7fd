#pragma once
// Verifies the pictures and labels of a data set on all cores; what a cache file knows already is not read
// again.

#include <yolo/data/image_file.hpp>
#include <yolo/data/parallel.hpp>
#include <yolo/data/scan_cache.hpp>

#include <functional>
#include <unordered_map>

namespace yolo {

/// Called as files are verified, by one thread at a time; `done` grows from 1 to `total`.
using ScanProgress = std::function<void(std::size_t done, std::size_t total)>;

struct ScanResult {
    std::vector<ScanEntry> entries;  // one a picture, in their order
    std::size_t from_cache = 0;      // of those, how many the cache file knew
    std::vector<std::string> notes;  // about the cache file; nothing that changes the result
};

/// Reads all of a label file, of a picture what tells that it is whole.
/// A picture is given up where it is broken itself or where its label file has rows but not one that is good:
/// it would be taken for background. Otherwise only the bad rows are left out (YOLOv5: the whole picture).
inline ScanEntry verify(std::filesystem::path const& image) {
    using Kind = ScanEntry::Kind;
    auto const label = label_path(image);
    ScanEntry entry{std::filesystem::absolute(image).string(), stamp(image), stamp(label), {}, {}, {}, {}};
    try {
        entry.size = probe_image(image);
    } catch (std::exception const& error) {
        entry.kind = Kind::broken_image, entry.problem = error.what();
        return entry;
    }
    entry.kind = entry.label_stamp.bytes < 0 ? Kind::unlabelled : Kind::labelled;
    if (entry.kind == Kind::unlabelled) return entry;
    try {
        entry.labels = read_labels(label);
        if (!entry.labels.boxes.empty() || entry.labels.first_problem.empty()) return entry;
        entry.problem = entry.labels.first_problem + "; it has no good row";
    } catch (std::exception const& error) { entry.problem = error.what(); }
    entry.kind = Kind::broken_label;
    return entry;
}

/// Whether anybody has the right to write into the folder: root could write into those that are to be read only, too.
inline bool meant_to_be_written(std::filesystem::path const& folder) {
    using std::filesystem::perms;
    std::error_code error;
    auto const all = std::filesystem::status(folder.empty() ? "." : folder, error).permissions();
    return !error && (all & (perms::owner_write | perms::group_write | perms::others_write)) != perms::none;
}

/// Verifies the pictures. `cache` names the file that keeps the result, or is empty. A picture whose file and
/// label file have the size and time that the cache noted is not looked at again, unless it was broken. A cache
/// that is damaged or cannot be written is no error.
inline ScanResult scan(std::vector<std::filesystem::path> const& images, std::filesystem::path const& cache,
                       ScanProgress const& progress = {}) {
    ScanResult result;
    std::vector<ScanEntry> known;
    auto const attempt = [&](auto const& action, char const* consequence) {
        try {
            action();
        } catch (std::exception const& error) {
            result.notes.push_back(error.what() + (": " + std::string(consequence)));
        }
    };
    if (!cache.empty()) attempt([&] { known = read_scan_cache(cache); }, "the data set is scanned anew");
    std::unordered_map<std::string_view, ScanEntry const*> by_name;
    for (ScanEntry const& entry : known)
        if (entry.kind == ScanEntry::Kind::labelled || entry.kind == ScanEntry::Kind::unlabelled)
            by_name.emplace(entry.image, &entry);

    std::mutex mutex;  // guards what counts
    std::size_t done = 0;
    result.entries.resize(images.size());
    parallel_for(images.size(), 16, [&](std::size_t i) {
        auto const found =
            by_name.empty() ? by_name.end() : by_name.find(std::filesystem::absolute(images[i]).string());
        bool const same = found != by_name.end() && found->second->image_stamp == stamp(images[i]) &&
                          found->second->label_stamp == stamp(label_path(images[i]));
        result.entries[i] = same ? *found->second : verify(images[i]);
        std::lock_guard const lock(mutex);
        ++done, result.from_cache += same;
        if (progress) progress(done, images.size());
    });
    if (!cache.empty() && result.entries != known && meant_to_be_written(cache.parent_path()))
        attempt([&] { write_atomically(cache, pack_scan(result.entries)); },
                "the next run scans the data set again");
    return result;
}

}  // namespace yolo
