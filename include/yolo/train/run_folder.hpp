#pragma once
// runs/train/exp, exp2, exp3, ...: a folder of its own for every run.

#include <filesystem>
#include <string>

namespace yolo {

/// project/name if it does not exist yet or existing_ok, else the first free of name2, name3, ... The folder is made.
inline std::filesystem::path make_run_folder(std::filesystem::path const& project, std::string const& name,
                                             bool existing_ok) {
    auto folder = project / name;
    for (int n = 2; !existing_ok && std::filesystem::exists(folder); ++n)
        folder = project / (name + std::to_string(n));
    std::filesystem::create_directories(folder);
    return folder;
}

}  // namespace yolo
