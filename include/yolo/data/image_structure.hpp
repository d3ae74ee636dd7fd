#pragma once
// What the structure of a JPEG or PNG says without decoding: is the file whole, and how large is its picture?
// Without OpenCV.

#include <yolo/io/crc32.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace yolo {

struct ImageSize {
    int height = 0, width = 0;  // pixels, after EXIF orientation
    bool operator==(ImageSize const&) const = default;
};

/// What OpenCV decodes, unless its environment variables say otherwise.
inline constexpr std::int64_t largest_side = 1 << 20, largest_area = 1 << 30;  // pixels

/// throws std::runtime_error where a side is below 10 pixels or OpenCV would not decode so many.
inline void require_usable(ImageSize size) {
    std::string const found =
        "the image is " + std::to_string(size.width) + " x " + std::to_string(size.height) + " pixels, want ";
    if (size.height < 10 || size.width < 10) throw std::runtime_error(found + "10 or more on each side");
    if (size.height > largest_side || size.width > largest_side ||
        std::int64_t{size.height} * size.width > largest_area)
        throw std::runtime_error(found + "at most 2^30 of them and 2^20 on a side, OpenCV's limits");
}

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

/// What the structure tells. Not certain: the picture is whole as far as can be seen, but only decoding tells
/// its size.
struct Structure {
    ImageSize size;
    bool certain = true;
};

/// requires: the two bytes of the start marker are read.
inline Structure jpeg_structure(BigEndianReader& in) {
    int orientation = 1;
    Structure result;
    for (;;) {
        if (in.number(1) != 0xff) throw std::runtime_error("a JPEG segment is expected where there is none");
        std::uint32_t marker = in.number(1);
        while (marker == 0xff) marker = in.number(1);
        if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7)) continue;
        if (marker == 0xd9 || marker == 0xda) throw std::runtime_error("the JPEG has no frame header");
        std::uint32_t const length = in.number(2);
        if (length < 2) throw std::runtime_error("a JPEG segment has no length");
        if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) {
            std::uint32_t const bits = in.number(1);
            result.size.height = static_cast<int>(in.number(2));
            result.size.width = static_cast<int>(in.number(2));
            // baseline, extended, progressive: of anything else only the decoder knows whether it can
            result.certain = marker <= 0xc2 && bits == 8 && result.size.height > 0;
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
    if (orientation >= 5 && orientation <= 8) std::swap(result.size.height, result.size.width);
    return result;
}

/// requires: the eight bytes of the signature are read.
inline Structure png_structure(BigEndianReader& in) {
    Structure result;
    std::uint64_t row_bytes = 0, data_bytes = 0;
    for (bool first = true;; first = false) {
        std::uint32_t const length = in.number(4);
        std::string const chunk = in.text(4 + static_cast<std::size_t>(length));  // type and data
        if (in.number(4) != crc32(std::as_bytes(std::span(chunk))))
            throw std::runtime_error("a PNG chunk has a wrong checksum");
        std::string_view const type = std::string_view(chunk).substr(0, 4);
        if (first != (type == "IHDR") || (first && length != 13))
            throw std::runtime_error("the PNG has no header");
        auto const byte = [&](std::size_t at) {
            return std::uint32_t{static_cast<unsigned char>(chunk[at])};
        };
        if (first) {
            auto const number = [&](std::size_t at) {
                std::uint32_t value = 0;
                for (std::size_t i = 0; i < 4; ++i) value = value << 8 | byte(at + i);
                return value;
            };
            std::uint32_t const width = number(4), height = number(8), most = 0x7fffffff;
            if (width > most || height > most) throw std::runtime_error("the PNG's header is broken");
            result.size = {static_cast<int>(height), static_cast<int>(width)};
            std::uint32_t const colour = byte(13);
            std::uint64_t const channels = colour == 2 ? 3 : colour == 4 ? 2 : colour == 6 ? 4 : 1;
            row_bytes = 1 + (std::uint64_t{width} * channels * byte(12) + 7) / 8;
        }
        if (type == "IDAT") data_bytes += length;
        if (type == "eXIf") result.certain = false;
        if (type == "IEND") break;
    }
    // Deflate makes one byte of at most 1032.
    if (data_bytes * 1032 < row_bytes * static_cast<std::uint64_t>(result.size.height))
        throw std::runtime_error("the PNG's header claims " + std::to_string(result.size.width) + " x " +
                                 std::to_string(result.size.height) + " pixels, its data hold less");
    return result;
}

}  // namespace detail
}  // namespace yolo
