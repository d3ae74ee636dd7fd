#pragma once
// Is this file a whole picture, and how large? JPEG and PNG are answered from their structure without
// decoding; anything else is decoded.

#include <yolo/data/image.hpp>
#include <yolo/io/crc32.hpp>

#include <fstream>
#include <iterator>
#include <string_view>
#include <vector>

namespace yolo {

struct ImageSize {
    int height = 0, width = 0;  // pixels, after EXIF orientation
};

namespace detail {

class BigEndianReader {
public:
    explicit BigEndianReader(std::filesystem::path const& path) : in_(path, std::ios::binary) {
        if (!in_) throw std::runtime_error("cannot be opened");
    }
    std::uint32_t number(int bytes) {  // big endian
        std::uint32_t value = 0;
        for (int i = 0; i < bytes; ++i) {
            int const next = in_.get();
            if (next == std::char_traits<char>::eof()) throw std::runtime_error("the file ends early");
            value = value << 8 | static_cast<std::uint32_t>(next);
        }
        return value;
    }
    std::string text(std::size_t bytes) {
        std::string result;
        while (result.size() < bytes) {  // in pieces: a length in a broken file may claim gigabytes
            std::size_t const old = result.size(), piece = std::min<std::size_t>(bytes - old, 1 << 16);
            result.resize(old + piece);
            in_.read(result.data() + old, static_cast<std::streamsize>(piece));
            if (static_cast<std::size_t>(in_.gcount()) != piece)
                throw std::runtime_error("the file ends early");
        }
        return result;
    }
    void skip(std::size_t bytes) { in_.seekg(static_cast<std::streamoff>(bytes), std::ios::cur); }
    std::string last(std::size_t bytes) {
        auto const here = in_.tellg();
        in_.seekg(-static_cast<std::streamoff>(bytes), std::ios::end);
        auto result = text(bytes);
        in_.seekg(here);
        return result;
    }
    std::string rest() { return std::string(std::istreambuf_iterator<char>(in_), {}); }

private:
    std::ifstream in_;
};

/// EXIF orientation 1..8 of a TIFF block; 1 where there is none.
inline int exif_orientation(std::string_view tiff) {
    if (tiff.size() < 8) return 1;
    bool const little = tiff[0] == 'I';
    auto const number = [&](std::size_t at, std::size_t bytes) -> std::size_t {
        if (at + bytes > tiff.size()) return 0;
        std::size_t value = 0;
        for (std::size_t i = 0; i < bytes; ++i)
            value = value << 8 | static_cast<unsigned char>(tiff[little ? at + bytes - 1 - i : at + i]);
        return value;
    };
    std::size_t const directory = number(4, 4), entries = number(directory, 2);
    for (std::size_t i = 0; i < entries; ++i) {
        std::size_t const entry = directory + 2 + 12 * i;
        if (entry + 12 > tiff.size()) break;
        if (number(entry, 2) == 0x0112) return static_cast<int>(number(entry + 8, 2));
    }
    return 1;
}

/// requires: the two bytes of the start marker are read. Height 0: the file must be decoded to know.
inline ImageSize probe_jpeg(BigEndianReader& in) {
    int orientation = 1;
    ImageSize size;
    for (;;) {
        if (in.number(1) != 0xff) throw std::runtime_error("a JPEG segment is expected where there is none");
        std::uint32_t marker = in.number(1);
        while (marker == 0xff) marker = in.number(1);
        if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7)) continue;
        if (marker == 0xd9 || marker == 0xda) throw std::runtime_error("the JPEG has no frame header");
        std::uint32_t const length = in.number(2);
        if (length < 2) throw std::runtime_error("a JPEG segment has no length");
        if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) {
            in.skip(1);
            size.height = static_cast<int>(in.number(2));
            size.width = static_cast<int>(in.number(2));
            break;
        }
        if (marker == 0xe1) {
            std::string const block = in.text(length - 2);
            if (block.starts_with(std::string_view("Exif\0\0", 6)))
                orientation = exif_orientation(std::string_view(block).substr(6));
        } else {
            in.skip(length - 2);
        }
    }
    if (in.last(2) != "\xff\xd9" && in.rest().find("\xff\xd9") == std::string::npos)
        throw std::runtime_error("the JPEG ends early (it has no end marker)");
    if (orientation >= 5 && orientation <= 8) std::swap(size.height, size.width);
    return size;
}

/// requires: the eight bytes of the signature are read. Height 0: the file must be decoded to know.
inline ImageSize probe_png(BigEndianReader& in) {
    ImageSize size;
    for (bool first = true, turned = false;; first = false) {
        std::uint32_t const length = in.number(4);
        std::string const chunk = in.text(4 + static_cast<std::size_t>(length));  // type and data
        if (in.number(4) != crc32(std::as_bytes(std::span(chunk))))
            throw std::runtime_error("a PNG chunk has a wrong checksum");
        std::string_view const type = std::string_view(chunk).substr(0, 4);
        if (first != (type == "IHDR") || (first && length != 13))
            throw std::runtime_error("the PNG has no header");
        if (first) {
            auto const number = [&](std::size_t at) {
                int value = 0;
                for (std::size_t i = 0; i < 4; ++i)
                    value = value << 8 | static_cast<unsigned char>(chunk[at + i]);
                return value;
            };
            size = {number(8), number(4)};
        }
        turned = turned || type == "eXIf";
        if (type == "IEND") return turned ? ImageSize{} : size;
    }
}

}  // namespace detail

/// Size of the picture in a file, EXIF orientation applied.
/// throws std::runtime_error with the reason (without the file's name) where the file is no whole picture or
/// one with a side below 10 pixels.
inline ImageSize probe_image(std::filesystem::path const& path) {
    std::error_code failed;
    auto const bytes = std::filesystem::file_size(path, failed);
    if (failed) throw std::runtime_error("no such file");
    if (bytes == 0) throw std::runtime_error("the file is empty");
    detail::BigEndianReader in(path);
    ImageSize size;
    std::string const start = in.text(std::min<std::size_t>(bytes, 2));
    if (start == "\xff\xd8")
        size = detail::probe_jpeg(in);
    else if (start == "\x89P" && bytes >= 8 && in.text(6) == "NG\r\n\x1a\n")
        size = detail::probe_png(in);
    if (size.height <= 0 || size.width <= 0) {
        cv::Mat image;
        try {
            image = cv::imread(path.string(), cv::IMREAD_COLOR);
        } catch (cv::Exception const&) {}  // an empty picture says the same
        if (image.empty()) throw std::runtime_error("it cannot be decoded as an image");
        size = {image.rows, image.cols};
    }
    if (size.height < 10 || size.width < 10)
        throw std::runtime_error("the image is " + std::to_string(size.width) + " x " +
                                 std::to_string(size.height) + " pixels, want 10 or more on each side");
    return size;
}

}  // namespace yolo
