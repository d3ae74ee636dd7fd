#pragma once
// A data set's scan as the command lines show it.

#include <yolo/apps/cli.hpp>
#include <yolo/data/dataset.hpp>

namespace yolo::apps {

/// Verifies the files behind a progress line, tells what was found, and warns of each file with a problem.
inline Dataset scan_data_set(std::vector<std::filesystem::path> const& paths, int classes,
                             bool single_class = false) {
    ProgressLine progress;
    ScanOptions options{.classes = classes, .single_class = single_class};
    options.progress = [&](std::size_t done, std::size_t total) {
        if (done % 64 == 0 || done == total)
            progress("scanning " + std::to_string(done) + "/" + std::to_string(total));
    };
    Dataset images(paths, options);
    progress.end();
    auto const& found = images.summary();
    for (auto const& note : found.notes) spdlog::debug(note);
    for (auto const& message : found.messages) spdlog::warn(message);
    spdlog::info("{}: {} images: {}{}", paths.empty() ? "" : paths.front().string(),
                 found.found + found.missing, to_string(found),
                 found.from_cache > 0 ? ", " + std::to_string(found.from_cache) + " known from the last scan"
                                      : "");
    return images;
}

}  // namespace yolo::apps
