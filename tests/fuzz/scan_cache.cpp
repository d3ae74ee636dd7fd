// Fuzzing the scan's cache file: as it is, and as the body of a file whose head and checksum are right. No
// LibTorch, no OpenCV. Built and run as labels.cpp.

#include <yolo/data/scan_cache.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace {

void check(std::string const& file) {
    try {
        auto const entries = yolo::unpack_scan(file);
        for (yolo::ScanEntry const& entry : entries) {
            if (entry.kind == yolo::ScanEntry::Kind::labelled && entry.size.height < 10) std::abort();
            if (!entry.labels.segments.empty() && entry.labels.segments.size() != entry.labels.boxes.size())
                std::abort();
        }
        if (yolo::pack_scan(entries) != file) std::abort();
    } catch (std::runtime_error const&) {}
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::string const bytes(reinterpret_cast<char const*>(data), size);
    check(bytes);
    yolo::detail::ScanWriter sealed;
    sealed.bytes = yolo::detail::scan_magic;
    sealed.number(yolo::detail::scan_version);
    sealed.bytes += bytes;
    sealed.number(yolo::detail::scan_checksum(sealed.bytes));
    check(sealed.bytes);
    return 0;
}
