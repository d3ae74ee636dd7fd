#pragma once
// doctest for files that also see LibTorch. LibTorch first: its logging defines CHECK, and a later CHECK of doctest's
// would be replaced silently (the run is green with 0 assertions).

#include <qat/torch.hpp>

#undef CHECK
#undef CHECK_EQ
#undef CHECK_NE
#undef CHECK_LT
#undef CHECK_LE
#undef CHECK_GT
#undef CHECK_GE

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <string>

namespace support {

/// The folder with reference data beside the checkout (QAT_SHARED overrides), or its sub-path.
inline std::filesystem::path shared(std::string const& relative) {
    char const* root = std::getenv("QAT_SHARED");
    return std::filesystem::path(root ? root : QAT_SHARED_DEFAULT) / relative;
}

/// False and one line "skipped: ..." where the path is missing; a failure where CI is set.
inline bool have_shared(std::string const& relative) {
    auto const path = shared(relative);
    if (std::filesystem::exists(path)) return true;
    std::cout << "skipped: wants " << path << " (set QAT_SHARED)\n";
    if (std::getenv("CI")) FAIL("CI needs " << path);
    return false;
}

/// A flat dictionary of tensors, as Python's torch.save writes it.
inline std::map<std::string, torch::Tensor> read_tensors(std::filesystem::path const& file) {
    std::ifstream in(file, std::ios::binary);
    std::vector<char> bytes((std::istreambuf_iterator<char>(in)), {});
    std::map<std::string, torch::Tensor> tensors;
    for (auto const& item : torch::pickle_load(bytes).toGenericDict())
        tensors.emplace(item.key().toStringRef(), item.value().toTensor());
    return tensors;
}
inline std::map<std::string, torch::Tensor> golden(std::string const& file) {
    return read_tensors(shared("golden/" + file));
}

/// max |a - b| / max(max |b|, floor)
inline double relative_error(torch::Tensor const& a, torch::Tensor const& b, double floor = 1e-12) {
    auto const x = a.to(torch::kDouble), y = b.to(torch::kDouble).reshape_as(x);
    if (x.numel() == 0) return 0;
    return (x - y).abs().max().item<double>() / std::max(y.abs().max().item<double>(), floor);
}

/// A fresh folder below the system's temporary one, removed at the end of the scope.
class TemporaryFolder {
public:
    TemporaryFolder() {
        auto const base = (std::filesystem::temp_directory_path() / "qat-test-XXXXXX").string();
        std::vector<char> name(base.begin(), base.end());
        name.push_back('\0');
        if (!mkdtemp(name.data())) throw std::runtime_error("cannot make a folder like " + base);
        path_ = name.data();
    }
    TemporaryFolder(TemporaryFolder const&) = delete;
    TemporaryFolder& operator=(TemporaryFolder const&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    std::filesystem::path const& path() const { return path_; }
    std::filesystem::path operator/(std::string const& name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

}  // namespace support

/// In a test case of the suite "shared": leave it (reported as skipped) where the data is missing.
#define NEEDS_SHARED(relative)                                                                               \
    if (!support::have_shared(relative)) return
