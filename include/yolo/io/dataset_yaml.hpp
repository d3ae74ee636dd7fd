#pragma once
// YOLOv5's data set files as they are: where the images are and what the classes are called.
// Each of train, val, test is a folder of images, a text file that lists images, or a list of those; where
// they begin:
//   path: /absolute          there
//   path: some/folder        from the working directory, or else from the YAML file's folder
//   path: .  (or no path)    from the YAML file's folder, or else from the working directory
// The first of these where train and val exist is taken.

#include <yolo/io/yaml_file.hpp>

#include <cstdint>
#include <map>

namespace yolo {

struct DatasetOptions {
    std::filesystem::path root;                           // absolute
    std::vector<std::filesystem::path> train, val, test;  // absolute; folders or lists of images
    std::vector<std::string> names;                       // one for each class
    std::int64_t classes = 0;
};

/// The same pictures with one class, as --single-cls trains them (the classes of labels become 0, too, see
/// ScanOptions). A single name is kept.
inline DatasetOptions single_class(DatasetOptions data) {
    if (data.names.size() != 1) data.names = {"item"};
    data.classes = 1;
    return data;
}

enum class Split { train, val, test };

inline std::vector<std::filesystem::path> const& images_of(DatasetOptions const& data, Split split) {
    return split == Split::train ? data.train : split == Split::val ? data.val : data.test;
}

/// throws std::runtime_error when the split has no entry or one of its entries does not exist.
inline void require_images(DatasetOptions const& data, Split split, std::filesystem::path const& file) {
    std::string const name = split == Split::train ? "train" : split == Split::val ? "val" : "test";
    auto const& entries = images_of(data, split);
    if (entries.empty())
        throw std::runtime_error(file.string() + ": it has no \"" + name +
                                 ":\"; add the folder with its images");
    for (auto const& entry : entries)
        if (!std::filesystem::exists(entry))
            throw std::runtime_error(entry.string() +
                                     " does not exist; fetch the data set or correct \"path\" and \"" + name +
                                     "\" in " + file.string());
}

namespace detail {

/// A text or a list of texts; nothing when the key is missing or empty.
inline std::vector<std::string> texts(YAML::Node const& root, char const* key,
                                      std::filesystem::path const& file) {
    auto const node = root[key];
    if (!node || node.IsNull()) return {};
    if (node.IsScalar()) return {node.Scalar()};
    std::vector<std::string> result;
    if (node.IsSequence())
        for (auto const& item : node)
            if (item.IsScalar()) result.push_back(item.Scalar());
    if (!node.IsSequence() || result.size() != node.size())
        throw std::runtime_error(place(file, node) + ": \"" + key +
                                 "\" is neither a path nor a list of paths; correct it");
    return result;
}

/// A list, or a map whose keys are 0 to n-1 in any order.
inline std::vector<std::string> read_names(YAML::Node const& node, std::filesystem::path const& file) {
    std::vector<std::string> names;
    if (node.IsSequence()) {
        for (auto const& item : node) {
            if (!item.IsScalar())
                throw std::runtime_error(place(file, node) + ": class " + std::to_string(names.size()) +
                                         " has no name; write one word or a text in quotes for each class");
            names.push_back(item.Scalar());
        }
        return names;
    }
    if (!node.IsMap())
        throw std::runtime_error(place(file, node) +
                                 ": \"names\" is neither a list nor a map; write \"0: cat\" lines");
    std::map<std::int64_t, std::string> by_index;
    for (auto const& item : node) {
        std::int64_t index = -1;
        if (!YAML::convert<std::int64_t>::decode(item.first, index) || index < 0 || !item.second.IsScalar())
            throw std::runtime_error(place(file, item.first) +
                                     ": a class is not written as \"number: name\"; correct it");
        if (!by_index.emplace(index, item.second.Scalar()).second)
            throw std::runtime_error(place(file, item.first) + ": class " + std::to_string(index) +
                                     " has two names; keep one");
    }
    for (auto const& [index, name] : by_index) {
        if (index != std::int64_t(names.size()))
            throw std::runtime_error(place(file, node) + ": class " + std::to_string(names.size()) +
                                     " has no name; the numbers of \"names\" must go from 0 without a gap");
        names.push_back(name);
    }
    return names;
}

/// Below `root`; "../images" also as "images", as many exported data sets need it.
inline std::filesystem::path locate(std::filesystem::path const& root, std::string const& entry) {
    auto const direct = (root / entry).lexically_normal();
    if (std::filesystem::exists(direct) || !entry.starts_with("../")) return direct;
    auto const below = (root / entry.substr(3)).lexically_normal();
    return std::filesystem::exists(below) ? below : direct;
}

}  // namespace detail

/// Reads and checks the file; the images of `needed` must be there. `download` and other keys are ignored.
/// throws std::runtime_error: what is wrong, the file, the remedy.
inline DatasetOptions load_dataset_yaml(std::filesystem::path const& file,
                                        std::initializer_list<Split> needed = {Split::train, Split::val}) {
    namespace fs = std::filesystem;
    auto const yaml = detail::load_yaml(file);
    DatasetOptions data;

    if (auto const names = yaml["names"]; names && !names.IsNull())
        data.names = detail::read_names(names, file);
    data.classes = std::int64_t(data.names.size());
    if (auto const nc = yaml["nc"]; nc && !nc.IsNull()) {
        std::int64_t count = 0;
        if (!YAML::convert<std::int64_t>::decode(nc, count) || count < 1 || count > 100'000)
            throw std::runtime_error(detail::place(file, nc) +
                                     ": \"nc\" is not a number of classes; correct it");
        for (std::int64_t i = 0; data.classes == 0 && i < count; ++i)
            data.names.push_back("class" + std::to_string(i));
        if (count != std::int64_t(data.names.size()))
            throw std::runtime_error(detail::place(file, nc) + ": \"nc\" is " + std::to_string(count) +
                                     " but there are " + std::to_string(data.classes) +
                                     " names; correct one of them");
        data.classes = count;
    }
    if (data.classes == 0)
        throw std::runtime_error(file.string() + ": it has no \"names:\"; add the names of the classes");

    auto const given = detail::texts(yaml, "path", file);
    fs::path const path = given.empty() ? "" : given.front();
    auto const here = fs::current_path(), folder = fs::absolute(file).parent_path();
    auto const beside = path.empty() || path.lexically_normal() == "." || path.lexically_normal() == "./";
    std::vector<fs::path> const roots = path.is_absolute() ? std::vector{path}
                                        : beside           ? std::vector{folder, here}
                                                           : std::vector{here / path, folder / path};

    auto const take = [&](fs::path const& root) {
        data.root = root.lexically_normal();
        auto const locate_all = [&](char const* key) {
            std::vector<fs::path> found;
            for (auto const& entry : detail::texts(yaml, key, file))
                found.push_back(detail::locate(data.root, entry));
            return found;
        };
        data.train = locate_all("train"), data.val = locate_all("val"), data.test = locate_all("test");
    };
    auto const complete = [&] {
        return std::all_of(needed.begin(), needed.end(), [&](Split split) {
            auto const& entries = images_of(data, split);
            return std::all_of(entries.begin(), entries.end(),
                               [](fs::path const& entry) { return fs::exists(entry); });
        });
    };
    for (auto const& root : roots)
        if (take(root); complete()) break;
    if (!complete())  // name the most likely place in the message
        take(roots.size() == 2 && fs::exists(roots.front()) && !fs::exists(roots.back()) ? roots.front()
             : beside                                                                    ? folder
                                                                                         : roots.back());
    for (auto const split : needed) require_images(data, split, file);
    return data;
}

}  // namespace yolo
