#pragma once
// Small things that tests of files and of messages share.

#include <exception>
#include <filesystem>
#include <fstream>
#include <string>

namespace support {

/// Makes the folders above it, too.
inline void write_file(std::filesystem::path const& path, std::string const& bytes = "x") {
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string read_file(std::filesystem::path const& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// What an error said, or that there was none.
std::string message_of(auto const& action) {
    try {
        action();
    } catch (std::exception const& error) { return error.what(); }
    return "(no error)";
}

inline bool contains(std::string const& text, std::string const& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace support
