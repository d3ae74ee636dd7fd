#pragma once
// Which classes and functions a checkpoint may name. None of them is ever called: allowed means "becomes a
// record". The list is short so that a file which names something harmful elsewhere is refused here already,
// loudly.

#include <algorithm>
#include <array>
#include <string_view>

namespace yolo::pickle {

/// YOLOv5's and PyTorch's own packages, numpy, and harmless parts of the standard library.
inline bool may_be_named(std::string_view module, std::string_view name) {
    constexpr std::array<std::string_view, 5> packages{"models", "utils", "ultralytics", "torch", "numpy"};
    constexpr std::array<std::string_view, 3> modules{"collections", "argparse", "datetime"};
    constexpr std::array<std::string_view, 13> types{"set",   "frozenset", "dict",    "list",      "tuple",
                                                     "slice", "object",    "complex", "bytearray", "int",
                                                     "float", "bool",      "str"};
    constexpr std::array<std::string_view, 6> paths{"PosixPath", "WindowsPath",   "Path",
                                                    "PurePath",  "PurePosixPath", "PureWindowsPath"};
    auto const is_one_of = [](auto const& list, std::string_view text) {
        return std::find(list.begin(), list.end(), text) != list.end();
    };
    if (module == "builtins" || module == "__builtin__") return is_one_of(types, name);
    if (module == "_codecs") return name == "encode";
    if (module.starts_with("pathlib") && (module.size() == 7 || module[7] == '.'))
        return is_one_of(paths, name);
    return is_one_of(modules, module) || is_one_of(packages, module.substr(0, module.find('.')));
}

}  // namespace yolo::pickle
