#pragma once
// A file that appears whole or not at all: written beside its final place, brought to the disk, then renamed.
// Until commit() a file of that name stays as it was, and whatever goes wrong, no temporary file is left; only a process that
// is killed leaves one, for remove_unfinished().

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace yolo {

class AtomicFile {
public:
    /// A link is followed: its target is replaced. throws std::runtime_error when the folder is missing or
    /// closed.
    explicit AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
        static std::atomic<unsigned> counter{0};
        std::error_code ignored;
        if (std::filesystem::is_symlink(path_, ignored))
            if (auto target = std::filesystem::weakly_canonical(path_, ignored); !ignored) path_ = target;
        if (std::filesystem::is_directory(path_, ignored))
            throw std::runtime_error(path_.string() + " is a folder; give the name of a file");
        temporary_ = path_;
        temporary_ += "." + std::to_string(::getpid()) + "-" + std::to_string(counter++) + ".tmp";
        file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file_ < 0) fail("cannot be written", "does its folder exist, and may you write there?");
    }
    AtomicFile(AtomicFile const&) = delete;
    AtomicFile& operator=(AtomicFile const&) = delete;
    ~AtomicFile() {
        if (file_ >= 0) ::close(file_);
        if (!committed_) ::unlink(temporary_.c_str());
    }

    void write(std::span<std::byte const> bytes) {
        while (!bytes.empty()) {
            auto const written = ::write(file_, bytes.data(), bytes.size());
            if (written < 0 && errno == EINTR) continue;
            if (written <= 0)
                fail("cannot be written", "is the disk full? A file that was there before is unchanged");
            bytes = bytes.subspan(static_cast<std::size_t>(written));
        }
    }
    void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

    /// Everything is on the disk and has its name when this returns.
    void commit() {
        if (::fsync(file_) != 0)
            fail("cannot be brought to the disk", "a file that was there before is unchanged");
        auto const closed = ::close(file_);
        file_ = -1;
        if (closed != 0) fail("cannot be closed", "a file that was there before is unchanged");
        if (::rename(temporary_.c_str(), path_.c_str()) != 0)
            fail("cannot be replaced", "may you write there?");
        committed_ = true;
        auto const folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
        if (int const handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); handle >= 0) {
            ::fsync(handle);  // the name, too; not every file system can
            ::close(handle);
        }
    }

private:
    [[noreturn]] void fail(std::string const& what, std::string const& remedy) const {
        auto const reason = std::generic_category().message(errno);
        throw std::runtime_error(path_.string() + " " + what + " (" + reason + "); " + remedy);
    }

    std::filesystem::path path_, temporary_;
    int file_ = -1;
    bool committed_ = false;
};

/// The whole text as the file's new content, or an exception and the old content.
inline void write_atomically(std::filesystem::path const& path, std::string_view text) {
    AtomicFile file(path);
    file.write(text);
    file.commit();
}

/// Deletes the AtomicFiles that killed processes have left in a folder that no other process writes to.
inline void remove_unfinished(std::filesystem::path const& folder) {
    std::error_code ignored;
    for (auto const& entry : std::filesystem::directory_iterator(folder, ignored)) {
        auto const who = entry.path().stem().extension().string();  // ".PID-N"
        bool const ours = entry.path().extension() == ".tmp" && who.find('-') != who.npos &&
                          who.find_first_not_of("0123456789-", 1) == who.npos;
        if (ours) std::filesystem::remove(entry.path(), ignored);
    }
}

}  // namespace yolo
