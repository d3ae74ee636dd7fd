#pragma once
// Reading the records of the zip archive that a .pt file is, from a file or from memory. zip_directory.hpp says which
// archives are believed; nothing is ever unpacked to disk. Records go straight from the file into the caller's memory,
// and their checksums are verified.

#include <yolo/io/crc32.hpp>
#include <yolo/io/zip_directory.hpp>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

namespace yolo {

class Archive {
public:
    using ReadAt = decltype(detail::ArchiveBytes::read_at);
    using Entry = ZipDirectory::Entry;
    enum class Checksums { verify, ignore };  // ignore: for fuzzing, where every change would fail

    /// throws std::runtime_error when the directory is missing, damaged or not acceptable.
    Archive(ReadAt read_at, std::uint64_t size, Checksums checksums = Checksums::verify)
        : bytes_{std::move(read_at), size}, checksums_(checksums), entries_(ZipDirectory::read(bytes_)) {}

    static Archive open(std::filesystem::path const& path) {
        std::error_code error;
        if (!std::filesystem::exists(path, error))
            throw std::runtime_error("the file does not exist; check the path");
        if (!std::filesystem::is_regular_file(path, error))
            throw std::runtime_error("this is a folder or device, not a file; give the .pt file itself");
        auto file = std::make_shared<std::ifstream>(path, std::ios::binary);
        if (!*file) throw std::runtime_error("the file cannot be opened; check its permissions");
        auto const read_at = [file](std::uint64_t offset, std::span<std::byte> destination) {
            file->clear();
            file->seekg(static_cast<std::streamoff>(offset));
            file->read(reinterpret_cast<char*>(destination.data()),
                       static_cast<std::streamsize>(destination.size()));
            if (!*file)
                throw std::runtime_error("the file cannot be read to its end; did it change meanwhile?");
        };
        return Archive(read_at, std::filesystem::file_size(path));
    }

    /// requires: `bytes` outlives the archive.
    static Archive of(std::span<std::byte const> bytes, Checksums checksums = Checksums::verify) {
        auto const read_at = [bytes](std::uint64_t offset, std::span<std::byte> destination) {
            if (!destination.empty())
                std::memcpy(destination.data(), bytes.data() + offset, destination.size());
        };
        return Archive(read_at, bytes.size(), checksums);
    }

    std::unordered_map<std::string, Entry> const& entries() const { return entries_; }
    bool contains(std::string const& name) const { return entries_.contains(name); }
    std::uint64_t size_of(std::string const& name) const { return entry(name).size; }

    /// The content of a record into memory of exactly its size; throws std::runtime_error when it is damaged.
    void read(std::string const& name, std::span<std::byte> destination) const {
        auto const& found = entry(name);
        if (destination.size() != found.size) bytes_.fail("record " + name + " has an unexpected size");
        std::array<std::byte, ZipDirectory::local_header_size> header;
        bytes_.get(found.header, header);
        if (detail::little_endian<std::uint32_t>(header, 0) != 0x04034b50u)
            bytes_.fail("the header of record " + name + " is damaged");
        auto const name_size = detail::little_endian<std::uint16_t>(header, 26);
        auto const extra_size = detail::little_endian<std::uint16_t>(header, 28);
        auto const data = found.header + ZipDirectory::local_header_size + name_size + extra_size;
        if (name_size != name.size() || data > found.end || found.size > found.end - data)
            bytes_.fail("record " + name + " does not lie where the directory says");
        bytes_.get(data, destination);
        if (checksums_ == Checksums::verify && crc32(destination) != found.crc)
            bytes_.fail("the checksum of record " + name + " is wrong");
    }
    std::vector<std::byte> read(std::string const& name) const {
        std::vector<std::byte> bytes(size_of(name));  // at most the file's size: the directory was checked
        read(name, bytes);
        return bytes;
    }

private:
    Entry const& entry(std::string const& name) const {
        auto const found = entries_.find(name);
        if (found == entries_.end()) bytes_.fail("record " + name + " is missing");
        return found->second;
    }

    detail::ArchiveBytes bytes_;
    Checksums checksums_;
    ZipDirectory::Entries entries_;
};

}  // namespace yolo
