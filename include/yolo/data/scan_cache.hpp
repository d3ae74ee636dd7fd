#pragma once
// What a scan found, kept in a file so that the next scan looks only at what has changed. Without OpenCV.
// The file: "qat scan", version, count, entries, CRC-32 of all before. Numbers are little endian.

#include <yolo/data/image_structure.hpp>
#include <yolo/data/labels.hpp>
#include <yolo/io/atomic_file.hpp>

#include <sys/stat.h>

#include <bit>
#include <concepts>

namespace yolo {

/// How a file can be seen to have changed without reading it. bytes -1: there is no such file.
struct FileStamp {
    std::int64_t bytes = -1, time_ns = 0;
    bool operator==(FileStamp const&) const = default;
};

inline FileStamp stamp(std::filesystem::path const& path) {
    struct stat found {};
    if (::stat(path.c_str(), &found) != 0 || !S_ISREG(found.st_mode)) return {};
    return {found.st_size, std::int64_t{found.st_mtim.tv_sec} * 1'000'000'000 + found.st_mtim.tv_nsec};
}

/// What verifying one picture and its label file gave.
struct ScanEntry {
    enum class Kind : std::uint8_t { broken_image, broken_label, labelled, unlabelled };

    std::string image;  // absolute path
    FileStamp image_stamp, label_stamp;
    Kind kind = Kind::broken_image;
    ImageSize size;       // pixels
    Labels labels;        // all classes as they are in the file
    std::string problem;  // why the file that is broken is
    bool operator==(ScanEntry const&) const = default;
};

namespace detail {

inline constexpr std::string_view scan_magic = "qat scan";
inline constexpr std::uint32_t scan_version = 1;  // also one higher where the rules of verifying change

class ScanWriter {
public:
    template <std::integral T> void number(T value) {
        for (std::size_t i = 0; i < sizeof(T); ++i)
            bytes.push_back(static_cast<char>(static_cast<std::make_unsigned_t<T>>(value) >> 8 * i & 0xff));
    }
    void number(float value) { number(std::bit_cast<std::uint32_t>(value)); }
    void text(std::string const& value) { number(std::uint64_t{value.size()}), bytes += value; }
    void entry(ScanEntry const& e) {
        text(e.image);
        for (FileStamp const& s : {e.image_stamp, e.label_stamp}) number(s.bytes), number(s.time_ns);
        number(static_cast<std::uint8_t>(e.kind));
        for (int const value :
             {e.size.height, e.size.width, e.labels.duplicates, e.labels.out_of_range, e.labels.malformed})
            number(std::int32_t{value});
        text(e.problem), text(e.labels.first_problem);
        number(std::uint64_t{e.labels.boxes.size()});
        for (Box const& b : e.labels.boxes)
            for (float const value : {b.cls, b.cx, b.cy, b.w, b.h}) number(value);
        number(std::uint64_t{e.labels.segments.size()});
        for (Segment const& segment : e.labels.segments) {
            number(std::uint64_t{segment.size()});
            for (Point const& point : segment) number(point.x), number(point.y);
        }
    }
    std::string bytes;
};

class ScanReader {
public:
    explicit ScanReader(std::string_view bytes) : left_(bytes) {}

    template <std::integral T> T number() {
        std::make_unsigned_t<T> value = 0;
        std::string_view const from = take(sizeof(T));
        for (std::size_t i = sizeof(T); i-- > 0;)
            value = static_cast<std::make_unsigned_t<T>>((std::uint64_t{value} << 8) |
                                                         static_cast<unsigned char>(from[i]));
        return static_cast<T>(value);
    }
    float real() { return std::bit_cast<float>(number<std::uint32_t>()); }
    /// A number of things of at least that many bytes each: no more than are left can be meant.
    std::size_t count(std::size_t least_bytes) {
        auto const value = number<std::uint64_t>();
        want(value <= left_.size() / least_bytes);
        return static_cast<std::size_t>(value);
    }
    std::string text() { return std::string(take(count(1))); }
    ScanEntry entry() {
        ScanEntry e;
        e.image = text();
        for (FileStamp* const s : {&e.image_stamp, &e.label_stamp})
            s->bytes = number<std::int64_t>(), s->time_ns = number<std::int64_t>();
        auto const kind = number<std::uint8_t>();
        want(kind <= static_cast<std::uint8_t>(ScanEntry::Kind::unlabelled));
        e.kind = static_cast<ScanEntry::Kind>(kind);
        for (int* const value : {&e.size.height, &e.size.width, &e.labels.duplicates, &e.labels.out_of_range,
                                 &e.labels.malformed})
            want((*value = number<std::int32_t>()) >= 0);
        if (e.kind != ScanEntry::Kind::broken_image) require_usable(e.size);
        e.problem = text(), e.labels.first_problem = text();
        e.labels.boxes.resize(count(20));
        for (Box& b : e.labels.boxes) {
            for (float* const value : {&b.cls, &b.cx, &b.cy, &b.w, &b.h}) *value = real();
            want(!class_problem(b) && !range_problem(b));
        }
        e.labels.segments.resize(count(8));
        want(e.labels.segments.empty() || e.labels.segments.size() == e.labels.boxes.size());
        for (Segment& segment : e.labels.segments) {
            segment.resize(count(8));
            want(segment.size() >= 3);
            for (Point& point : segment) {
                point.x = real(), point.y = real();
                want(std::isfinite(point.x) && std::isfinite(point.y));
            }
        }
        return e;
    }
    bool empty() const { return left_.empty(); }

private:
    static void want(bool good) {
        if (!good) throw std::runtime_error("it contradicts itself");
    }
    std::string_view take(std::size_t bytes) {
        if (bytes > left_.size()) throw std::runtime_error("it ends early");
        std::string_view const taken = left_.substr(0, bytes);
        left_.remove_prefix(bytes);
        return taken;
    }
    std::string_view left_;
};

inline std::uint32_t scan_checksum(std::string_view bytes) {
    return crc32(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

}  // namespace detail

/// The entries as the content of a cache file.
inline std::string pack_scan(std::vector<ScanEntry> const& entries) {
    detail::ScanWriter out;
    out.bytes = detail::scan_magic;
    out.number(detail::scan_version);
    out.number(std::uint64_t{entries.size()});
    for (ScanEntry const& entry : entries) out.entry(entry);
    out.number(detail::scan_checksum(out.bytes));
    return std::move(out.bytes);
}

/// The inverse. throws std::runtime_error with what is wrong (without the file's name).
inline std::vector<ScanEntry> unpack_scan(std::string_view bytes) {
    if (!bytes.starts_with(detail::scan_magic)) throw std::runtime_error("it is no scan");
    detail::ScanReader in(bytes.substr(detail::scan_magic.size()));
    if (auto const version = in.number<std::uint32_t>(); version != detail::scan_version)
        throw std::runtime_error("it has version " + std::to_string(version) + ", not " +
                                 std::to_string(detail::scan_version));
    std::string_view const body = bytes.substr(0, bytes.size() - std::min<std::size_t>(bytes.size(), 4));
    if (detail::ScanReader(bytes.substr(body.size())).number<std::uint32_t>() != detail::scan_checksum(body))
        throw std::runtime_error("its checksum is wrong");
    std::vector<ScanEntry> entries;
    for (std::size_t left = in.count(80); left > 0; --left) entries.push_back(in.entry());
    if (in.number<std::uint32_t>(); !in.empty()) throw std::runtime_error("something follows its last entry");
    return entries;
}

/// Entries of a cache file; none where there is no file. throws std::runtime_error: file and what is wrong.
inline std::vector<ScanEntry> read_scan_cache(std::filesystem::path const& file) {
    FileStamp const found = stamp(file);
    if (found.bytes < 0) return {};
    try {
        std::ifstream in(file, std::ios::binary);
        std::string bytes(static_cast<std::size_t>(found.bytes), '\0');
        if (!in.read(bytes.data(), found.bytes)) throw std::runtime_error("it cannot be read");
        return unpack_scan(bytes);
    } catch (std::exception const& error) {
        throw std::runtime_error(file.string() + " cannot be used: " + error.what());
    }
}

/// Where the scan of a data set is kept, following YOLOv5's labels.cache: beside a list, "train.cache.qat";
/// else beside the folder with the labels of the first picture, "labels/train.cache.qat".
inline std::filesystem::path scan_cache_path(std::filesystem::path const& first_path,
                                             std::filesystem::path const& first_image) {
    bool const list = first_path.extension() == ".txt" && std::filesystem::is_regular_file(first_path);
    auto path = list ? first_path : std::filesystem::absolute(label_path(first_image)).parent_path();
    return list ? path.replace_extension(".cache.qat") : path += ".cache.qat";
}

}  // namespace yolo
