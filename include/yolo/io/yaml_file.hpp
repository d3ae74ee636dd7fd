#pragma once
// YAML settings files, parsed only after a look at their size and nesting (yaml-cpp recurses).

#include <yolo/io/run_file.hpp>

#include <yaml-cpp/yaml.h>

namespace yolo::detail {

/// The first line (from 1) that is nested deeper than 64 brackets or 200 columns, or 0. Brackets in texts
/// and comments count, too; what is hidden with their help meets yaml-cpp's own limit.
inline std::size_t too_deep(std::string_view text) {
    std::size_t line = 1, column = 0;
    int brackets = 0;
    bool leading = true;  // only indentation and "- ? :" so far in this line
    for (char const c : text) {
        if (c == '\n') {
            ++line, column = 0, leading = true;
            continue;
        }
        if (c == '[' || c == '{') ++brackets;
        if ((c == ']' || c == '}') && brackets > 0) --brackets;
        leading = leading && (c == ' ' || c == '\t' || c == '-' || c == '?' || c == ':');
        if (leading) ++column;
        if (brackets > 64 || column > 200) return line;
    }
    return 0;
}

/// The root of the file, a map. throws std::runtime_error: file, line, what is wrong.
inline YAML::Node load_yaml(std::filesystem::path const& path) {
    auto const text = read_settings(path);
    if (auto const line = too_deep(text))
        throw std::runtime_error(path.string() + ":" + std::to_string(line) +
                                 ": nested too deeply; simplify the file");
    YAML::Node root;
    try {
        root = YAML::Load(text);
    } catch (YAML::Exception const& error) {
        throw std::runtime_error(path.string() + ":" + std::to_string(error.mark.line + 1) +
                                 ": this is not YAML (" + error.msg + "); correct it there");
    }
    if (!root.IsMap())
        throw std::runtime_error(path.string() +
                                 ": found no keys; want a YAML file with lines like \"key: value\"");
    return root;
}

/// "FILE:LINE" of a node, for messages.
inline std::string place(std::filesystem::path const& path, YAML::Node const& node) {
    return path.string() + ":" + std::to_string(node.Mark().line + 1);
}

}  // namespace yolo::detail
