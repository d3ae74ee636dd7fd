#pragma once
// Pictures drawn by the program gnuplot: no shell, a limit of time, and no exception when it is missing or
// fails: a plot is never worth a training run. No LibTorch.

#include <yolo/io/atomic_file.hpp>

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

namespace yolo::plot {
namespace detail {

/// What gnuplot said first that is not a quotation of the script.
inline std::string first_message(std::string const& said) {
    std::istringstream lines(said);
    for (std::string line; std::getline(lines, line);)
        if (auto const at = line.find_first_not_of(" \t^\f");
            at != line.npos && !line.starts_with("gnuplot> "))
            return line.substr(at, 200);
    return "no message";
}

}  // namespace detail

/// Runs gnuplot on a script, in `folder` if one is given; nobody's start-up file is read.
/// Returns why it failed, as the end of a sentence, or "".
inline std::string run_gnuplot(std::filesystem::path const& script, std::filesystem::path const& folder = {},
                               std::chrono::milliseconds limit = std::chrono::seconds(60)) {
    std::array<int, 2> message{};
    if (::pipe2(message.data(), O_CLOEXEC) != 0) return "because no pipe could be made; close some files";
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (!folder.empty()) posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, message[1], 2);
    std::string program = "gnuplot", defaults = "-d", file = script.string();
    std::array<char*, 4> const arguments{program.data(), defaults.data(), file.data(), nullptr};
    pid_t child = 0;
    int const failed = ::posix_spawnp(&child, "gnuplot", &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(message[1]);

    std::string said;
    int status = 0;
    bool late = false;
    auto const deadline = std::chrono::steady_clock::now() + limit;
    for (pollfd from{message[0], POLLIN, 0}; failed == 0;) {
        if (::poll(&from, 1, 20) > 0) {
            std::array<char, 4096> part;
            auto const count = ::read(message[0], part.data(), part.size());
            if (count > 0 && said.size() < 65536) said.append(part.data(), static_cast<std::size_t>(count));
            if (count == 0) from.fd = -1;  // closed: it is ending
        }
        if (auto const ended = ::waitpid(child, &status, WNOHANG); ended != 0) {
            if (ended < 0) status = 0;  // somebody else has collected it; the picture decides
            break;
        }
        if (!late && std::chrono::steady_clock::now() > deadline) late = true, ::kill(child, SIGKILL);
    }
    ::close(message[0]);
    if (failed == ENOENT) return "because gnuplot is not there; install gnuplot-nox";
    if (failed != 0)
        return "because gnuplot cannot be started (" + std::generic_category().message(failed) + ")";
    if (late)
        return "because gnuplot took longer than " + std::to_string(limit.count() / 1000) +
               " s and was stopped; look at the machine's load and the fonts (fc-cache)";
    if (WIFSIGNALED(status)) return "because gnuplot was ended by signal " + std::to_string(WTERMSIG(status));
    if (WEXITSTATUS(status) != 0) return "gnuplot reported an error: " + detail::first_message(said);
    return {};
}

/// Text of at most so many letters, a longer one cut with "...". Every other letter than those of Latin, Greek and
/// Cyrillic becomes '?': gnuplot fills the picture with one that its font lacks.
inline std::string printable(std::string_view text, std::size_t most) {
    std::vector<std::string> letters;
    for (std::size_t i = 0; i < text.size();) {
        auto const byte = [&](std::size_t k) {
            return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u;
        };
        auto const continues = [&](std::size_t k) { return (byte(k) & 0xC0) == 0x80; };
        auto const code =
            (byte(0) & 0xE0) == 0xC0 && continues(1) ? (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F) : 0u;
        bool const ascii = byte(0) >= ' ' && byte(0) < 0x7F;
        bool const known =
            (code >= 0xA0 && code <= 0x24F) ||
            (code >= 0x384 && code <= 0x525 && code != 0x38B && code != 0x38D && code != 0x3A2);
        letters.push_back(ascii || known ? std::string(text.substr(i, ascii ? 1 : 2)) : "?");
        for (++i; i < text.size() && continues(0);) ++i;
    }
    bool const cut = letters.size() > most;
    if (cut) letters.resize(most - 3);
    std::string result;
    for (auto const& letter : letters) result += letter;
    return cut ? result + "..." : result;
}

/// A class's name in at most 24 letters; its number where there is none that can be drawn.
inline std::string class_label(std::vector<std::string> const& names, std::size_t cls) {
    auto const name = cls < names.size() ? printable(names[cls], 24) : "";
    return name.find_first_not_of("? .") == name.npos ? std::to_string(cls) : name;
}

/// Text as gnuplot's literal, in which nothing has a meaning.
inline std::string literal(std::string_view text, std::size_t most = 80) {
    std::string result = "'";
    for (char const c : printable(text, most)) result += c == '\'' ? "''" : std::string(1, c);
    return result + "'";
}

/// The same for the label of a tic, in which gnuplot reads % as a format.
inline std::string tic_label(std::string_view text) {
    std::string result;
    for (char const c : literal(text)) result += c == '%' ? "%%" : std::string(1, c);
    return result;
}

/// A picture in the making: a script, and tables that it names '0', '1', ... in the order in which they were added.
class Figure {
public:
    /// Sides in pixels; every text and line grows with `scale`.
    Figure(int width, int height, double scale) {
        script << "set encoding utf8\nset terminal pngcairo noenhanced size " << width << ',' << height
               << " font 'DejaVu Sans,10' fontscale " << scale << " linewidth " << scale << " pointscale "
               << scale << " background rgb '#ffffff'\nset output 'plot.png'\n"
               << "set border lw 0.5 lc rgb '#444444'\nset tics nomirror scale 0.5\n";
    }

    std::ostringstream script;

    /// A table as text, one row a line; returns its name, quoted.
    std::string add_table(std::string rows) {
        tables_.push_back(std::move(rows));
        return "'" + std::to_string(tables_.size() - 1) + "'";
    }

    /// Draws. Returns why there is no picture, in a sentence, or "". A file of that name is replaced or stays.
    std::string write(std::filesystem::path const& png,
                      std::chrono::milliseconds limit = std::chrono::seconds(60)) const {
        namespace fs = std::filesystem;
        auto const fail = [&](std::string const& why) { return png.string() + " was not drawn, " + why; };
        std::error_code ignored;
        auto name = (fs::temp_directory_path(ignored) / "yolo-plot-XXXXXX").string();
        if (ignored || !::mkdtemp(name.data()))
            return fail("because no folder can be made in the temporary one; set TMPDIR");
        fs::path const folder = name;
        std::string why;
        try {
            write_file(folder / "script", script.str());
            for (std::size_t i = 0; i < tables_.size(); ++i)
                write_file(folder / std::to_string(i), tables_[i]);
            why = run_gnuplot("script", folder, limit);
            if (why.empty()) {
                std::ifstream in(folder / "plot.png", std::ios::binary);
                std::string const bytes((std::istreambuf_iterator<char>(in)), {});
                if (bytes.empty())
                    why = "because gnuplot wrote nothing; is the disk full?";
                else
                    write_atomically(png, bytes);
            }
        } catch (std::exception const& error) { why = std::string("because ") + error.what(); }
        fs::remove_all(folder, ignored);
        return why.empty() ? why : fail(why);
    }

private:
    static void write_file(std::filesystem::path const& path, std::string const& text) {
        if (!(std::ofstream(path, std::ios::binary) << text).flush())
            throw std::runtime_error(path.string() + " cannot be written; is the disk full?");
    }

    std::vector<std::string> tables_;
};

/// The colour of a class or curve, "#rrggbb": ten that are told apart, then hues a golden section apart.
inline std::string colour(std::size_t index) {
    static constexpr std::array<char const*, 10> first{"#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd",
                                                       "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"};
    if (index < first.size()) return first[index];
    double const turns = 0.61803398875 * static_cast<double>(index),
                 hue = 6 * (turns - static_cast<int>(turns));
    double const strong = index % 2 ? 220 : 170, weak = index % 3 ? 40 : 90;
    auto const channel = [&](double centre) {
        double const away = hue > centre ? hue - centre : centre - hue, near = away < 3 ? away : 6 - away;
        return static_cast<int>(weak + (strong - weak) * (near < 1 ? 1 : near < 2 ? 2 - near : 0));
    };
    char text[8];
    std::snprintf(text, sizeof text, "#%02x%02x%02x", channel(0) & 255, channel(2) & 255, channel(4) & 255);
    return text;
}

/// White to dark blue, for shares and counts.
inline constexpr char const* blues = "set palette defined (0 '#ffffff', 0.15 '#deebf7', 0.4 '#9ecae1', "
                                     "0.65 '#4292c6', 0.85 '#2171b5', 1 '#08306b')\n";

}  // namespace yolo::plot
