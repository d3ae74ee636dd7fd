#pragma once
// What yolo-detect looks at: pictures and videos that a file, folder, pattern or list names, one frame after the other.

#include <yolo/data/find_images.hpp>
#include <yolo/data/video.hpp>

#include <fnmatch.h>
#include <memory>
#include <optional>

namespace yolo::apps {
namespace detail {

/// Paths that match a pattern with *, ? and [...] in any of its parts; ** is any number of folders. Names that begin with
/// a dot are found only by a pattern that does.
inline void match_below(std::filesystem::path const& folder, std::filesystem::path::const_iterator part,
                        std::filesystem::path::const_iterator end,
                        std::vector<std::filesystem::path>& found) {
    namespace fs = std::filesystem;
    std::error_code ignored;
    if (part == end) {
        found.push_back(folder);
        return;
    }
    auto const next = std::next(part);
    auto const pattern = part->string();
    bool const any_depth = pattern == "**";
    if (any_depth && next != end) match_below(folder, next, end, found);
    if (pattern.find_first_of("*?[") == pattern.npos) {
        if (fs::exists(folder / *part, ignored)) match_below(folder / *part, next, end, found);
        return;
    }
    for (fs::directory_iterator entry(folder.empty() ? "." : folder, ignored), last;
         !ignored && entry != last; entry.increment(ignored)) {
        auto const name = entry->path().filename();
        if (fnmatch(pattern.c_str(), name.c_str(), FNM_PERIOD) != 0) continue;
        std::error_code no_type;
        if (any_depth && entry->is_directory(no_type) && !entry->is_symlink(no_type))
            match_below(folder / name, part, end, found);
        if (!any_depth || next == end) match_below(folder / name, next, end, found);
    }
}

inline std::vector<std::filesystem::path> sorted(std::vector<std::filesystem::path> paths) {
    std::sort(paths.begin(), paths.end());
    paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
    return paths;
}
}  // namespace detail

/// The files that a pattern matches, sorted.
inline std::vector<std::filesystem::path> glob(std::filesystem::path const& pattern) {
    std::vector<std::filesystem::path> found;
    auto const relative = pattern.relative_path();
    detail::match_below(pattern.root_path(), relative.begin(), relative.end(), found);
    return detail::sorted(std::move(found));
}

/// Pictures first, then videos, each sorted within the entry that names them, as in YOLOv5. source: a picture, a video, a
/// folder (not those below it), a pattern, or a .txt file with one of these a line.
/// throws std::runtime_error where something does not exist or nothing is found.
inline std::vector<std::filesystem::path> find_sources(std::filesystem::path const& source) {
    namespace fs = std::filesystem;
    std::vector<fs::path> entries{source}, images, videos;
    bool const list = source.extension() == ".txt";
    if (list) {
        entries.clear();
        std::ifstream in(source);
        if (!in)
            throw std::runtime_error(source.string() +
                                     ": no such list; give a .txt file with one path a line");
        bool first = true;
        for (std::string line; std::getline(in, line); first = false) {
            if (first && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
            line.erase(0, line.find_first_not_of(" \t"));
            while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back()))) line.pop_back();
            if (line.empty()) continue;
            std::error_code ignored;
            fs::path const beside = source.parent_path() / line;
            entries.push_back(!fs::exists(line, ignored) && fs::exists(beside, ignored) ? beside
                                                                                        : fs::path(line));
        }
    }
    for (auto const& entry : entries) {
        std::vector<fs::path> files;
        std::error_code ignored;
        if (fs::is_directory(entry, ignored)) {
            for (auto const& inside : fs::directory_iterator(entry)) files.push_back(inside.path());
            files = detail::sorted(std::move(files));
        } else if (fs::is_regular_file(entry, ignored)) {
            files.push_back(entry);
        } else if (entry.string().find_first_of("*?[") != std::string::npos) {
            files = glob(entry);
        } else {
            throw std::runtime_error(
                entry.string() + (list ? " (in " + source.string() + ")" : "") +
                ": no such picture, video, folder or list; cameras and streams are not read");
        }
        for (auto const& file : files) {
            if (!fs::is_regular_file(file, ignored)) continue;
            if (is_image_name(file)) images.push_back(file);
            if (is_video_name(file)) videos.push_back(file);
        }
    }
    if (images.empty() && videos.empty())
        throw std::runtime_error(source.string() +
                                 ": no picture or video in it; want .jpg, .png, .bmp, .tif, "
                                 ".webp, .mp4, .avi, .mov, .mkv, ...");
    images.insert(images.end(), videos.begin(), videos.end());
    return images;
}

/// A picture, or one of a video's.
struct Frame {
    cv::Mat image;  // BGR [H, W, 3]
    std::filesystem::path path;
    std::size_t source = 0;  // place among the sources
    int number = 0;          // of a video's frame, from 1; 0: a picture
    int count = 0;           // of the video's frames, 0 where it does not say
    double frames_per_second = 0;

    bool of_video() const { return number > 0; }
    /// The file's name without its ending, with the number of a video's frame.
    std::string stem() const {
        return path.stem().string() + (of_video() ? "_" + std::to_string(number) : "");
    }
};

/// Frame by frame through all sources. What cannot be read is passed over and said in `problems`.
class FrameReader {
public:
    /// stride: every so many-th frame of a video
    FrameReader(std::vector<std::filesystem::path> sources, int stride)
        : sources_(std::move(sources)), stride_(stride) {}

    std::size_t sources() const { return sources_.size(); }

    /// The next problem that was met and not yet fetched.
    std::optional<std::string> problem() { return std::exchange(problem_, std::nullopt); }

    /// False at the end, and where there is a problem() to fetch before going on.
    bool next(Frame& frame) {
        while (!problem_ && place_ < sources_.size()) {
            auto const& path = sources_[place_];
            try {
                if (!is_video_name(path)) {
                    frame = Frame{{}, path, place_++};
                    frame.image = read_image(path);
                    return true;
                }
                if (!video_) video_ = std::make_unique<VideoReader>(path, stride_), number_ = 0;
                frame = Frame{{}, path, place_, ++number_, video_->frames(), video_->frames_per_second()};
                if (video_->next(frame.image)) return true;
                video_.reset(), ++place_;
                if (number_ == 1) problem_ = path.string() + ": the video has no frame";
            } catch (std::exception const& error) {
                problem_ = error.what();
                if (is_video_name(path)) video_.reset(), ++place_;
            }
        }
        return false;
    }

private:
    std::vector<std::filesystem::path> sources_;
    std::unique_ptr<VideoReader> video_;
    std::optional<std::string> problem_;
    std::size_t place_ = 0;
    int stride_, number_ = 0;
};

}  // namespace yolo::apps
