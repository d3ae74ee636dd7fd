#pragma once
// One JSON file that describes a run: reading it with errors that help, and refusing keys that nobody would
// look at.

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <numeric>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace yolo {
namespace detail {

/// The whole file as text; throws std::runtime_error naming the file when it is missing or larger than 1 MiB.
inline std::string read_settings(std::filesystem::path const& path) {
    constexpr std::uintmax_t limit = 1 << 20;  // bytes
    std::error_code error;
    if (!std::filesystem::exists(path, error))
        throw std::runtime_error(path.string() + " does not exist; check the path");
    if (!std::filesystem::is_regular_file(path, error))
        throw std::runtime_error(path.string() + " is a folder or device; give the file itself");
    auto const size = std::filesystem::file_size(path, error);
    if (error || size > limit)
        throw std::runtime_error(path.string() + " is larger than 1 MiB; is it a settings file?");
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error(path.string() + " cannot be opened; check its permissions");
    return {std::istreambuf_iterator<char>(in), {}};
}

/// Insertions, deletions and replacements that turn one text into the other.
inline std::size_t edit_distance(std::string_view from, std::string_view to) {
    std::vector<std::size_t> row(to.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < from.size(); ++i) {
        auto diagonal = std::exchange(row[0], i + 1);
        for (std::size_t j = 0; j < to.size(); ++j) {
            auto const replaced = diagonal + (from[i] != to[j]);
            diagonal = row[j + 1];
            row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
        }
    }
    return row.back();
}

/// throws std::runtime_error: unknown key, file, and the known key that looks most like it.
[[noreturn]] inline void unknown_key(std::string const& key, std::vector<std::string_view> const& known,
                                     std::string const& file) {
    auto const distance = [&](std::string_view name) { return edit_distance(key.substr(0, 64), name); };
    auto const best = std::min_element(known.begin(), known.end(),
                                       [&](auto a, auto b) { return distance(a) < distance(b); });
    auto const hint = best != known.end() && distance(*best) <= std::max<std::size_t>(1, best->size() / 3)
                          ? "did you mean \"" + std::string(*best) + "\"?"
                          : "remove it or correct its name";
    throw std::runtime_error(file + ": unknown key \"" + key.substr(0, 64) + "\"; " + hint);
}

}  // namespace detail

/// The JSON in a file. throws std::runtime_error: file, place, what is wrong.
inline nlohmann::json load_json(std::filesystem::path const& path) {
    auto const text = detail::read_settings(path);
    try {
        auto const refuse_depth = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
            if (depth > 100) throw std::runtime_error("it is nested more than 100 deep");
            return true;
        };
        return nlohmann::json::parse(text, refuse_depth);
    } catch (nlohmann::json::parse_error const& error) {
        auto const end = text.begin() + static_cast<std::ptrdiff_t>(std::min(error.byte, text.size()));
        auto const line = 1 + std::count(text.begin(), end, '\n');
        throw std::runtime_error(path.string() + ":" + std::to_string(line) + ": this is not JSON (" +
                                 error.what() + "); correct it there");
    } catch (std::exception const& error) {
        throw std::runtime_error(path.string() + ": " + error.what() + "; simplify the file");
    }
}

/// Every key of the object must be one of `allowed`. throws std::runtime_error: the key, the file, a
/// suggestion.
inline void require_known_keys(nlohmann::json const& json, std::vector<std::string_view> const& allowed,
                               std::filesystem::path const& file) {
    if (!json.is_object())
        throw std::runtime_error(file.string() + ": found " + json.type_name() +
                                 ", want an object { \"key\": value }");
    for (auto const& item : json.items())
        if (std::find(allowed.begin(), allowed.end(), item.key()) == allowed.end())
            detail::unknown_key(item.key(), allowed, file.string());
}

}  // namespace yolo
