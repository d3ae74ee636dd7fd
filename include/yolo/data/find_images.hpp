#pragma once
// Which pictures a data set consists of: folders, lists and single files become one sorted list of paths.

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace yolo {

/// Does the name end like a picture's? (YOLOv5's endings and jfif, in any case)
inline bool is_image_name(std::filesystem::path const& path) {
    static constexpr std::array<std::string_view, 11> known{".bmp", ".dng", ".jfif", ".jpeg", ".jpg", ".mpo",
                                                            ".pfm", ".png", ".tif",  ".tiff", ".webp"};
    std::string extension = path.extension().string();
    for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return std::find(known.begin(), known.end(), extension) != known.end();
}

namespace detail {

/// The pictures below a folder, at any depth. Links to folders are followed, but each folder is entered once,
/// by its own name where it has one below `root`: circles of links end. What begins with a dot is passed over.
inline void find_below(std::filesystem::path const& root, std::vector<std::filesystem::path>& images) {
    namespace fs = std::filesystem;
    std::vector<fs::path> folders{root};
    std::set<fs::path> linked, entered;  // links wait until there are no folders left
    while (!folders.empty() || !linked.empty()) {
        bool const real = !folders.empty();
        fs::path const folder = real ? folders.back() : *linked.begin();
        real ? folders.pop_back() : void(linked.erase(linked.begin()));
        std::error_code failed;
        if (!entered.insert(fs::canonical(folder, failed)).second) continue;
        for (auto entry = fs::directory_iterator(folder, failed); !failed && entry != fs::end(entry);
             entry.increment(failed)) {
            std::error_code ignored;  // a link that leads nowhere is no folder
            if (entry->path().filename().string().starts_with('.')) continue;
            if (!entry->is_directory(ignored)) {
                if (is_image_name(entry->path())) images.push_back(entry->path());
            } else if (entry->is_symlink(ignored)) {
                linked.insert(entry->path());
            } else {
                folders.push_back(entry->path());
            }
        }
        if (failed)
            throw std::runtime_error(folder.string() + ": cannot be listed (" + failed.message() +
                                     "); make it readable or take it out of the data set");
    }
}

/// The pictures that a text file lists, one path a line. "./x" is below the list's folder; any other relative
/// path begins at the working directory, as in YOLOv5, or else, if it is not there, at the list's folder.
inline void find_listed(std::filesystem::path const& list, std::vector<std::filesystem::path>& images) {
    namespace fs = std::filesystem;
    std::ifstream in(list, std::ios::binary);
    if (!in) throw std::runtime_error(list.string() + ": cannot be opened; check its permissions");
    bool first = true;
    for (std::string line; std::getline(in, line); first = false) {
        if (first && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
        while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back()))) line.pop_back();
        fs::path image = line;
        if (!is_image_name(image)) continue;
        std::error_code ignored;
        if (line.starts_with("./"))
            image = list.parent_path() / line.substr(2);
        else if (image.is_relative() && !fs::exists(image, ignored) &&
                 fs::exists(list.parent_path() / image, ignored))
            image = list.parent_path() / image;
        images.push_back(std::move(image));
    }
}

}  // namespace detail

/// The pictures that folders (searched to any depth), single pictures and lists, which are any other files, name: sorted;
/// what is named twice is there twice, as in YOLOv5.
/// throws std::runtime_error naming a path that does not exist or cannot be read.
inline std::vector<std::filesystem::path> find_images(std::vector<std::filesystem::path> const& paths) {
    namespace fs = std::filesystem;
    std::vector<fs::path> images;
    for (fs::path const& path : paths) {
        std::error_code ignored;
        if (fs::is_directory(path, ignored))
            detail::find_below(path, images);
        else if (!fs::is_regular_file(path, ignored))
            throw std::runtime_error(path.string() +
                                     ": no such folder, list or image; check the data set's paths");
        else if (is_image_name(path))
            images.push_back(path);
        else
            detail::find_listed(path, images);
    }
    std::sort(images.begin(), images.end());
    return images;
}

}  // namespace yolo
