// Fuzzing what looks at JPEG and PNG files without decoding them. No LibTorch, no OpenCV. Built and run as
// labels.cpp.

#include <yolo/data/image_structure.hpp>

#include <unistd.h>

#include <cstddef>
#include <cstdlib>

namespace {

namespace fs = std::filesystem;

struct File {  // in memory, where the system has that
    fs::path path = fs::path(fs::exists("/dev/shm") ? "/dev/shm" : fs::temp_directory_path()) /
                    ("fuzz-image-" + std::to_string(::getpid()));
    ~File() { fs::remove(path); }
};

template <class Read> void attempt(fs::path const& path, std::size_t signature, Read const& read) {
    try {
        yolo::detail::BigEndianReader in(path);
        in.skip(signature);
        yolo::detail::Structure const found = read(in);
        if (!found.certain) return;
        yolo::require_usable(found.size);
        if (std::int64_t{found.size.height} * found.size.width > yolo::largest_area) std::abort();
    } catch (std::runtime_error const&) {}
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    static File const file;
    std::ofstream(file.path, std::ios::binary)
        .write(reinterpret_cast<char const*>(data), static_cast<std::streamsize>(size));
    attempt(file.path, 2, yolo::detail::jpeg_structure);
    attempt(file.path, 8, yolo::detail::png_structure);
    (void)yolo::detail::exif_orientation({reinterpret_cast<char const*>(data), size});
    return 0;
}
