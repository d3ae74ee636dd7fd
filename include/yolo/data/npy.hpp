#pragma once
// NumPy's .npy files of decoded pictures (uint8 [H, W, 3]), as YOLOv5's --cache disk writes them beside the pictures.

#include <yolo/data/image.hpp>

#include <unistd.h>

#include <atomic>
#include <fstream>
#include <optional>
#include <string_view>

namespace yolo {
namespace detail {

// "{'descr': '|u1', 'fortran_order': False, 'shape': (480, 640, 3), }", with blanks up to a multiple of 64 bytes.
inline std::string npy_header(int height, int width) {
    std::string text = "{'descr': '|u1', 'fortran_order': False, 'shape': (" + std::to_string(height) + ", " +
                       std::to_string(width) + ", 3), }";
    constexpr std::size_t before = 10;  // magic, version, length
    text.append(63 - (before + text.size()) % 64, ' ') += '\n';
    std::string header("\x93NUMPY\x01\x00", 8);
    header += static_cast<char>(text.size() & 255);
    header += static_cast<char>(text.size() >> 8);
    return header + text;
}

}  // namespace detail

/// Whole or not at all (but not forced to the disk: it can be made again). False where it cannot be written.
inline bool write_npy(std::filesystem::path const& path, cv::Mat const& image) {
    static std::atomic<unsigned> counter{0};
    auto temporary = path;
    temporary += "." + std::to_string(::getpid()) + "-" + std::to_string(counter++) + ".tmp";
    std::error_code failed;
    {
        std::ofstream out(temporary, std::ios::binary);
        std::string const header = detail::npy_header(image.rows, image.cols);
        out.write(header.data(), static_cast<std::streamsize>(header.size()));
        for (int y = 0; y < image.rows; ++y)
            out.write(image.ptr<char>(y), static_cast<std::streamsize>(image.cols) * 3);
        out.close();
        if (out) std::filesystem::rename(temporary, path, failed);
        if (out && !failed) return true;
    }
    std::filesystem::remove(temporary, failed);
    return false;
}

/// The picture, if the file holds one of just this size: its header must read like ours (YOLOv5's does) and its length must
/// fit.                                                                                                    BGR [H, W, 3]
inline std::optional<cv::Mat> read_npy(std::filesystem::path const& path, int height, int width) {
    std::ifstream in(path, std::ios::binary);
    std::string const wanted = detail::npy_header(height, width);
    std::string header(wanted.size(), '\0');
    if (!in.read(header.data(), static_cast<std::streamsize>(header.size())) || header != wanted) return {};
    cv::Mat image(height, width, CV_8UC3);
    auto const bytes = static_cast<std::streamsize>(image.total() * image.elemSize());
    if (!in.read(image.ptr<char>(), bytes) || in.peek() != std::ifstream::traits_type::eof()) return {};
    return image;
}

}  // namespace yolo
