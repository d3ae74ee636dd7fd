#pragma once
// Event files that TensorBoard reads: records (TFRecord) of protocol buffer messages (tensorflow.Event), of which the
// few fields that scalars and pictures need are written here.

#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace yolo {

/// The checksum of TFRecord (Castagnoli's polynomial 0x82F63B78, reflected).
inline std::uint32_t crc32c(std::string_view bytes) {
    static constexpr auto table = [] {
        std::array<std::uint32_t, 256> values{};
        for (std::uint32_t byte = 0; byte < 256; ++byte) {
            values[byte] = byte;
            for (int bit = 0; bit < 8; ++bit)
                values[byte] = values[byte] >> 1 ^ (values[byte] & 1u ? 0x82F63B78u : 0u);
        }
        return values;
    }();
    std::uint32_t crc = ~0u;
    for (char const c : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<unsigned char>(c)) & 0xFFu];
    return ~crc;
}

namespace detail {

template <class Number> std::string little_endian(Number value) {
    std::string bytes;
    for (std::size_t i = 0; i < sizeof value; ++i) bytes += static_cast<char>(value >> 8 * i & 0xFF);
    return bytes;
}

/// length, its checksum, data, its checksum; checksums are turned and moved, lest one is taken over its like.
inline std::string tf_record(std::string_view data) {
    auto const checksum = [](std::string_view bytes) {
        return little_endian(std::rotr(crc32c(bytes), 15) + 0xA282EAD8u);
    };
    auto const length = little_endian(std::uint64_t{data.size()});
    return length + checksum(length) + std::string(data) + checksum(data);
}

/// A protocol buffer message, field by field.
class ProtoMessage {
public:
    ProtoMessage& integer(unsigned field, std::int64_t value) {
        return key(field, 0).variable(static_cast<std::uint64_t>(value));
    }
    ProtoMessage& real64(unsigned field, double value) {
        key(field, 1).bytes_ += little_endian(std::bit_cast<std::uint64_t>(value));
        return *this;
    }
    ProtoMessage& real32(unsigned field, float value) {
        key(field, 5).bytes_ += little_endian(std::bit_cast<std::uint32_t>(value));
        return *this;
    }
    ProtoMessage& text(unsigned field, std::string_view value) {  // or bytes, or a message
        key(field, 2).variable(value.size()).bytes_ += value;
        return *this;
    }
    std::string const& bytes() const { return bytes_; }

private:
    ProtoMessage& key(unsigned field, unsigned type) { return variable(field << 3 | type); }
    ProtoMessage& variable(std::uint64_t value) {
        for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
        bytes_ += static_cast<char>(value);
        return *this;
    }

    std::string bytes_;
};

}  // namespace detail

/// Writes a file of its own into `folder`, events.out.tfevents.SECONDS.HOST.PID.NUMBER. TensorBoard reads all files of
/// a folder in turn, so a resumed run goes on in a new one. What is written is on its way to the disk when a function
/// returns. throws std::runtime_error naming the file when it cannot be written.
class TensorBoardWriter {
public:
    using Scalar = std::pair<std::string, double>;  // tag ("train/box_loss"), value

    explicit TensorBoardWriter(std::filesystem::path const& folder) {
        static std::atomic<int> counter{0};
        std::array<char, 256> host{};
        if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
        std::array<char, 32> seconds{};
        std::snprintf(seconds.data(), seconds.size(), "%010lld", static_cast<long long>(now()));
        path_ = folder / ("events.out.tfevents." + std::string(seconds.data()) + "." +
                          (host[0] ? host.data() : "localhost") + "." + std::to_string(::getpid()) + "." +
                          std::to_string(counter++));
        std::error_code ignored;
        std::filesystem::create_directories(folder, ignored);
        file_ = std::fopen(path_.c_str(), "wbxe");
        if (!file_) fail("may you write in its folder?");
        write(event(0).text(3, "brain.Event:2"));
    }
    TensorBoardWriter(TensorBoardWriter const&) = delete;
    TensorBoardWriter& operator=(TensorBoardWriter const&) = delete;
    ~TensorBoardWriter() {
        if (file_) std::fclose(file_);
    }

    /// The values of one step, which is the epoch in YOLOv5.
    void scalars(std::int64_t step, std::span<Scalar const> values) {
        detail::ProtoMessage summary;
        for (auto const& [tag, value] : values)
            summary.text(1, detail::ProtoMessage().text(1, tag).real32(2, static_cast<float>(value)).bytes());
        write(event(step).text(5, summary.bytes()));
    }

    /// A picture. throws std::runtime_error if it is no PNG file's content.
    void image(std::string_view tag, std::int64_t step, std::string_view png) {
        if (png.size() < 29 || !png.starts_with("\x89PNG\r\n\x1a\n"))
            throw std::runtime_error("TensorBoard: the picture " + std::string(tag) + " is no PNG");
        auto const side = [&](std::size_t at) {
            std::int64_t value = 0;
            for (auto i = at; i < at + 4; ++i) value = value << 8 | static_cast<unsigned char>(png[i]);
            return value;
        };
        auto const type = png[25];  // of PNG: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha
        auto const channels = type == 0 ? 1 : type == 4 ? 2 : type == 6 ? 4 : 3;
        auto const picture = detail::ProtoMessage()
                                 .integer(1, side(20))
                                 .integer(2, side(16))
                                 .integer(3, channels)
                                 .text(4, png);
        auto const value = detail::ProtoMessage().text(1, tag).text(4, picture.bytes());
        write(event(step).text(5, detail::ProtoMessage().text(1, value.bytes()).bytes()));
    }

    std::filesystem::path const& path() const { return path_; }

private:
    static double now() {
        return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    }
    static detail::ProtoMessage event(std::int64_t step) {
        return detail::ProtoMessage().real64(1, now()).integer(2, step);
    }

    void write(detail::ProtoMessage const& message) {
        auto const record = detail::tf_record(message.bytes());
        if (std::fwrite(record.data(), 1, record.size(), file_) != record.size() || std::fflush(file_) != 0)
            fail("is the disk full?");
    }

    [[noreturn]] void fail(std::string const& remedy) {
        if (file_) std::fclose(std::exchange(file_, nullptr));
        throw std::runtime_error(path_.string() + " cannot be written; " + remedy);
    }

    std::filesystem::path path_;
    std::FILE* file_ = nullptr;
};

}  // namespace yolo
