#pragma once
// Writing the zip archive that a .pt file is: stored records whose content starts at multiples of 64 bytes,
// as torch does, so that Python may map the file into memory. Unlike LibTorch's own writer it gives the same
// bytes in every version, and a full disk is an exception instead of an end in a destructor. Up to 4 GiB (no
// zip64).

#include <yolo/io/crc32.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace yolo {

class ArchiveWriter {
public:
    using Sink = std::function<void(std::span<std::byte const>)>;

    explicit ArchiveWriter(Sink sink) : sink_(std::move(sink)) {}

    /// throws std::runtime_error when the archive would grow beyond 4 GiB or 65,534 records.
    void write(std::string_view name, std::span<std::byte const> content) {
        if (content.size() + position_ > 0xFFFF0000u || count_ == 65534)
            throw std::runtime_error("the checkpoint is larger than 4 GiB; save fewer tensors in one file");
        auto const size = static_cast<std::uint32_t>(content.size());
        auto const crc = crc32(content);
        auto const padding = (alignment - (position_ + 30 + name.size() + 4) % alignment) % alignment;

        Bytes header;
        header.put32(0x04034b50u).put16(20);  // local header, zip 2.0
        put_common(header, crc, size, name.size());
        header.put16(static_cast<std::uint16_t>(padding + 4)).text(name);
        header.put16(0x4246).put16(
            static_cast<std::uint16_t>(padding));  // extra field "FB" as torch pads with
        header.bytes.insert(header.bytes.end(), padding, std::byte{'Z'});

        directory_.put32(0x02014b50u).put16(20).put16(20);  // central header
        put_common(directory_, crc, size, name.size());
        directory_.put16(0).put16(0).put16(0).put16(0).put32(0);  // no extra, comment, disk, attributes
        directory_.put32(static_cast<std::uint32_t>(position_)).text(name);

        put(header.bytes);
        put(content);
        ++count_;
    }

    /// The directory; nothing may be written after it.
    void finish() {
        auto const offset = static_cast<std::uint32_t>(position_);
        auto const size = static_cast<std::uint32_t>(directory_.bytes.size());
        auto const count = static_cast<std::uint16_t>(count_);
        directory_.put32(0x06054b50u)
            .put16(0)
            .put16(0)
            .put16(count)
            .put16(count)
            .put32(size)
            .put32(offset)
            .put16(0);
        put(directory_.bytes);
    }

private:
    static constexpr std::uint64_t alignment = 64;

    struct Bytes {  // little-endian
        std::vector<std::byte> bytes;
        Bytes& put16(std::uint16_t value) {
            for (int shift = 0; shift < 16; shift += 8) bytes.push_back(std::byte(value >> shift & 0xFF));
            return *this;
        }
        Bytes& put32(std::uint32_t value) {
            for (int shift = 0; shift < 32; shift += 8) bytes.push_back(std::byte(value >> shift & 0xFF));
            return *this;
        }
        Bytes& text(std::string_view value) {
            for (char c : value) bytes.push_back(std::byte(static_cast<unsigned char>(c)));
            return *this;
        }
    };

    // Flags (names are UTF-8), stored, 1980-01-01 00:00 (so that equal content gives equal files), sizes.
    static void put_common(Bytes& to, std::uint32_t crc, std::uint32_t size, std::size_t name_size) {
        to.put16(0x0800).put16(0).put16(0).put16(0x0021).put32(crc).put32(size).put32(size);
        to.put16(static_cast<std::uint16_t>(name_size));
    }
    void put(std::span<std::byte const> bytes) {
        sink_(bytes);
        position_ += bytes.size();
    }

    Sink sink_;
    Bytes directory_;
    std::uint64_t position_ = 0, count_ = 0;
};

}  // namespace yolo
