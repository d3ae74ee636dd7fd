#pragma once
// What a zip archive says it holds. The directory is checked as a whole before anything is believed: entries are stored
// (not compressed), lie inside the file without touching one another, and have plain relative names. So no record can be
// larger than the file.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace yolo {
namespace detail {

/// An unsigned little-endian number of sizeof(T) bytes at `offset`. requires offset + sizeof(T) <=
/// bytes.size()
template <class T> T little_endian(std::span<std::byte const> bytes, std::size_t offset) {
    std::uint64_t value = 0;
    for (std::size_t i = sizeof(T); i-- > 0;)
        value = value << 8 | std::to_integer<std::uint64_t>(bytes[offset + i]);
    return static_cast<T>(value);
}

inline std::string_view as_text(std::span<std::byte const> bytes) {
    return {reinterpret_cast<char const*>(bytes.data()), bytes.size()};
}

/// What a file that is no zip archive seems to be, and what to do about it.
inline std::string not_an_archive(std::span<std::byte const> head) {
    constexpr std::string_view legacy("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14);
    auto const text = as_text(head);
    if (text.empty()) return "the file is empty; fetch or save it again";
    if (text.starts_with(legacy) || (text.size() >= 262 && text.substr(257, 5) == "ustar"))
        return "the file has the format of PyTorch before 1.6; load it there or in a newer Python torch and "
               "save it "
               "again with torch >= 1.6";
    if (text.starts_with("version https://git-lfs"))
        return "the file is only a Git LFS pointer; run `git lfs pull` to get its content";
    if (text.starts_with("<!DOCTYPE") || text.starts_with("<!doctype") || text.starts_with("<html"))
        return "the file is a web page, not a checkpoint; download it again";
    if (text.starts_with("PK\x03\x04"))
        return "the zip archive has no directory at its end, it is cut short or damaged; fetch or save it "
               "again";
    return "the file is not a zip archive as torch.save writes; give a .pt file saved with torch >= 1.6";
}

/// The bytes of an archive, wherever they are.
struct ArchiveBytes {
    /// Fills the whole span from a position of the archive; throws when it cannot.
    std::function<void(std::uint64_t offset, std::span<std::byte> destination)> read_at;
    std::uint64_t size = 0;

    [[noreturn]] static void fail(std::string const& what) {
        throw std::runtime_error(what + "; fetch or save the file again");
    }
    void get(std::uint64_t offset, std::span<std::byte> destination) const {
        if (offset > size || destination.size() > size - offset) fail("the zip archive is cut short");
        read_at(offset, destination);
    }
    std::vector<std::byte> get(std::uint64_t offset, std::uint64_t count) const {
        if (offset > size || count > size - offset) fail("the zip archive is cut short");
        std::vector<std::byte> bytes(count);
        read_at(offset, bytes);
        return bytes;
    }
};

}  // namespace detail

/// Where the records of an archive are, by name.
class ZipDirectory {
public:
    static constexpr std::uint64_t max_entries = 1'000'000;
    static constexpr std::uint64_t local_header_size = 30;

    struct Entry {
        std::uint64_t header;  // position of the local header
        std::uint64_t size;    // bytes
        std::uint64_t end;     // the record ends at or before this position
        std::uint32_t crc;
    };

    using Entries = std::unordered_map<std::string, Entry>;

    /// throws std::runtime_error when the directory is missing, damaged or not acceptable.
    static Entries read(detail::ArchiveBytes const& archive) { return ZipDirectory(archive).entries(); }

private:
    static constexpr std::uint64_t central_header_size = 46, end_size = 22;

    explicit ZipDirectory(detail::ArchiveBytes const& archive) : archive_(archive) {}

    [[noreturn]] static void fail(std::string const& what) { detail::ArchiveBytes::fail(what); }

    struct Place {
        std::uint64_t offset, size, count;
    };

    // The last record of the file says where the directory is; a zip64 record before it when the numbers are
    // large.
    Place find() const {
        auto const tail_size = std::min<std::uint64_t>(archive_.size, end_size + 65535);
        auto const tail = archive_.get(archive_.size - tail_size, tail_size);
        auto const is_end = [&](std::size_t i) {
            return detail::little_endian<std::uint32_t>(tail, i) == 0x06054b50u &&
                   i + end_size + detail::little_endian<std::uint16_t>(tail, i + 20) == tail.size();
        };
        std::size_t at = tail.size() >= end_size ? tail.size() - end_size + 1 : 0;
        while (at > 0 && !is_end(at - 1)) --at;
        if (at-- == 0) {
            auto const head = archive_.get(0, std::min<std::uint64_t>(archive_.size, 512));
            throw std::runtime_error(detail::not_an_archive(head));
        }
        auto const end = archive_.size - tail_size + at;
        if (end >= 20) {
            auto const locator = archive_.get(end - 20, 20);
            if (detail::little_endian<std::uint32_t>(locator, 0) == 0x07064b50u) {
                auto const record_at = detail::little_endian<std::uint64_t>(locator, 8);
                auto const record = archive_.get(record_at, 56);
                if (detail::little_endian<std::uint32_t>(record, 0) != 0x06064b50u)
                    fail("the zip64 record is damaged");
                return limited({detail::little_endian<std::uint64_t>(record, 48),
                                detail::little_endian<std::uint64_t>(record, 40),
                                detail::little_endian<std::uint64_t>(record, 32)},
                               record_at);
            }
        }
        std::span<std::byte const> const record = std::span(tail).subspan(at);
        return limited({detail::little_endian<std::uint32_t>(record, 16),
                        detail::little_endian<std::uint32_t>(record, 12),
                        detail::little_endian<std::uint16_t>(record, 10)},
                       end);
    }
    static Place limited(Place found, std::uint64_t end) {
        if (found.offset > end || found.size > end - found.offset)
            fail("the zip directory lies outside the file");
        if (found.count > max_entries || found.count > found.size / central_header_size)
            fail("the zip directory names " + std::to_string(found.count) +
                 " records, more than it has room for");
        return found;
    }

    static void check_name(std::string const& name) {
        auto const bad_byte = [](char c) { return c == '\\' || c == ':' || (c >= 0 && c < ' '); };
        if (name.empty() || name.front() == '/' || std::any_of(name.begin(), name.end(), bad_byte) ||
            ("/" + name + "/").find("/../") != std::string::npos)
            throw std::runtime_error(
                "the archive has a record that points outside of it; do not trust this file");
    }

    Entries entries() const {
        auto const directory = find();
        Entries found;
        auto const bytes = archive_.get(directory.offset, directory.size);
        std::vector<std::pair<std::string const*, Entry*>> order;
        std::size_t at = 0;
        found.reserve(directory.count);
        for (std::uint64_t i = 0; i < directory.count; ++i) {
            if (bytes.size() - at < central_header_size) fail("the zip directory is cut short");
            auto const head = std::span<std::byte const>(bytes).subspan(at);
            if (detail::little_endian<std::uint32_t>(head, 0) != 0x02014b50u)
                fail("the zip directory is damaged");
            auto const flags = detail::little_endian<std::uint16_t>(head, 8);
            auto const method = detail::little_endian<std::uint16_t>(head, 10);
            std::size_t const name_size = detail::little_endian<std::uint16_t>(head, 28);
            std::size_t const extra_size = detail::little_endian<std::uint16_t>(head, 30);
            std::size_t const comment_size = detail::little_endian<std::uint16_t>(head, 32);
            if (head.size() - central_header_size < name_size + extra_size + comment_size)
                fail("the zip directory is cut short");
            std::string const name(detail::as_text(head.subspan(central_header_size, name_size)));
            check_name(name);
            Entry entry{detail::little_endian<std::uint32_t>(head, 42),
                        detail::little_endian<std::uint32_t>(head, 24), 0,
                        detail::little_endian<std::uint32_t>(head, 16)};
            std::uint64_t stored = detail::little_endian<std::uint32_t>(head, 20);
            read_zip64(head.subspan(central_header_size + name_size, extra_size), entry, stored);
            if (flags & 0x2041u)
                throw std::runtime_error("the archive is encrypted; save it again with torch.save");
            if (method != 0 || stored != entry.size)
                throw std::runtime_error("record " + name +
                                         " is compressed; save the file again with torch.save");
            if (entry.header > directory.offset || entry.size > directory.offset - entry.header)
                fail("record " + name + " lies outside the file");
            auto const [position, is_new] = found.emplace(name, entry);
            if (!is_new) fail("record " + name + " is there twice");
            order.emplace_back(&position->first, &position->second);
            at += central_header_size + name_size + extra_size + comment_size;
        }
        std::sort(order.begin(), order.end(),
                  [](auto const& a, auto const& b) { return a.second->header < b.second->header; });
        for (std::size_t i = 0; i < order.size(); ++i) {
            auto& [name, entry] = order[i];
            entry->end = i + 1 < order.size() ? order[i + 1].second->header : directory.offset;
            auto const needed = local_header_size + name->size() + entry->size;
            if (entry->end - entry->header < needed) fail("record " + *name + " overlaps another one");
        }
        return found;
    }

    // Sizes and positions of 32 one-bits stand in a zip64 field, in this order and only those.
    static void read_zip64(std::span<std::byte const> extra, Entry& entry, std::uint64_t& stored) {
        while (extra.size() >= 4) {
            auto const id = detail::little_endian<std::uint16_t>(extra, 0);
            std::size_t const size = detail::little_endian<std::uint16_t>(extra, 2);
            if (size > extra.size() - 4) return;
            if (id == 1) {
                auto field = extra.subspan(4, size);
                for (auto* value : {&entry.size, &stored, &entry.header})
                    if (*value == 0xFFFFFFFFu) {
                        if (field.size() < 8) fail("a zip64 field is cut short");
                        *value = detail::little_endian<std::uint64_t>(field, 0);
                        field = field.subspan(8);
                    }
            }
            extra = extra.subspan(4 + size);
        }
    }

    detail::ArchiveBytes const& archive_;
};

}  // namespace yolo
