#pragma once
// What the command lines share: errors as one sentence, values that cannot work, devices, a run described by a JSON file.

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>
#include <yolo/io/checkpoint.hpp>
#include <yolo/io/run_file.hpp>
#include <yolo/io/transfer.hpp>
#include <yolo/model/typed_detector.hpp>

#include <atomic>
#include <csignal>
#include <fstream>
#include <iostream>
#include <limits>
#include <thread>
#include <unistd.h>

namespace yolo::apps {

/// A command line whose help says the defaults and whose errors are one line.
class CommandLine : public CLI::App {
public:
    CommandLine(std::string description, std::string name) : App(std::move(description), std::move(name)) {
        option_defaults()->always_capture_default();  // of the options that are declared from now on
        failure_message([](CLI::App const*, CLI::Error const& error) {
            return std::string("error: ") + error.what() + "\n";
        });
    }
};

/// Refuses smaller numbers, and larger ones. What is no number is left to the conversion to refuse.
inline CLI::Validator at_least(std::int64_t least,
                               std::int64_t most = std::numeric_limits<std::int64_t>::max()) {
    return {[=](std::string& text) {
        std::int64_t value = 0;
        if (!CLI::detail::lexical_cast(text, value)) return std::string();
        if (value < least) return text + " is too small; want " + std::to_string(least) + " or more";
        return value > most ? text + " is too large; want " + std::to_string(most) + " at most"
                            : std::string();
            },
            ""};
}
inline constexpr std::int64_t largest_batch = 65536;  // images
/// Refuses what is not in [0, 1].
inline CLI::Validator share() {
    return {[](std::string& text) {
        double value = 0;
        bool const outside =
            CLI::detail::lexical_cast(text, value) && !(value >= 0 && value <= 1);  // NaN too
        return outside ? text + " is outside of 0 to 1; want a share, as 0.25" : std::string();
            },
            ""};
}
/// For transform(): the coarsest cells of a network have 32 pixels, so a side that is no multiple of it is rounded up, and
/// said to be, as YOLOv5's check_img_size does.
inline CLI::Validator up_to_multiple_of_32() {
    return {[](std::string& text) {
        std::int64_t value = 0;
        if (!CLI::detail::lexical_cast(text, value)) return std::string();
        if (value < 32) return text + " is too small; want 32, 64, 96, ...";
        auto const side = std::to_string((value + 31) / 32 * 32);
        if (side != text) spdlog::warn("an image size of {} is no multiple of 32; {} is used", text, side);
        text = side;
        return std::string();
            },
            ""};
}

/// "": CUDA where there is one, else the CPU. "cpu", "0", "cuda:1". throws std::runtime_error if it is not there.
inline torch::Device device(std::string const& name) {
    if (name == "cpu") return torch::kCPU;
    bool const cuda = torch::cuda::is_available();
    if (name.empty()) return cuda ? torch::Device(torch::kCUDA, 0) : torch::Device(torch::kCPU);
    auto const number = name.starts_with("cuda:") ? name.substr(5) : name == "cuda" ? "0" : name;
    if (number.empty() || number.find_first_not_of("0123456789") != number.npos)
        throw std::runtime_error("--device " + name +
                                 " is no device; want cpu, 0 or cuda:0 (one device: training in "
                                 "parallel is not supported)");
    auto const index = number.size() > 3 ? 999 : std::stoi(number);
    if (!cuda || index >= static_cast<int>(torch::cuda::device_count()))
        throw std::runtime_error("--device " + name +
                                 ": there is no such CUDA device here; use --device cpu");
    return {torch::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

/// Arguments as if the JSON file's keys had been written before the command line's own: {"epochs": 12} is --epochs 12.
/// A key that is no option is an error. true is the flag, false its opposite if it has one ({"ema": false} is --no-ema);
/// other false, null, "" and [] are nothing; a list is several values.
inline std::vector<std::string> arguments_of(std::filesystem::path const& file, CLI::App const& app) {
    auto const json = load_json(file);
    std::vector<std::string> known;
    for (auto const* option : app.get_options())
        for (auto const& name : option->get_lnames())
            if (name != "help" && name != "run") known.push_back(name);
    require_known_keys(json, {known.begin(), known.end()}, file);
    std::vector<std::string> arguments;
    for (auto const& [key, value] : json.items()) {
        if (value == false && std::count(known.begin(), known.end(), "no-" + key) > 0)
            arguments.push_back("--no-" + key);
        bool const nothing =
            value.is_null() || value == false || value == "" || (value.is_array() && value.empty());
        if (nothing) continue;
        arguments.push_back("--" + key);
        if (value == true) continue;
        for (auto const& item : value.is_array() ? value : nlohmann::json::array({value}))
            arguments.push_back(item.is_string() ? item.get<std::string>() : item.dump());
    }
    return arguments;
}

/// Parses, runs body and turns exceptions into one line and an exit status: 2 for bad arguments, 1 for failures.
/// Adds --run FILE.json to the app.
template <class Body> int run(CLI::App& app, int argc, char const* const* argv, Body&& body) {
    std::filesystem::path run_file;
    app.add_option("--run", run_file, "JSON file with options by name; the command line has the last word");
    for (auto* option : app.get_options()) {
        option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
        if (option->get_default_str() == "[]") option->default_str("");  // an empty list says nothing
    }
    try {
        std::vector<std::string> arguments(argv + 1, argv + argc);
        for (std::size_t i = 0; i < arguments.size(); ++i) {
            bool const joined = arguments[i].starts_with("--run=");
            if (!joined && (arguments[i] != "--run" || i + 1 == arguments.size())) continue;
            auto merged = arguments_of(joined ? arguments[i].substr(6) : arguments[i + 1], app);
            merged.insert(merged.end(), arguments.begin(), arguments.end());
            arguments = std::move(merged);
            break;
        }
        std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
        app.parse(arguments);
        return body();
    } catch (CLI::ParseError const& error) {
        return app.exit(error) == 0 ? 0 : 2;
    } catch (c10::Error const& error) {
        std::cerr << "error: " << error.what_without_backtrace() << "\n";
    } catch (std::exception const& error) { std::cerr << "error: " << error.what() << "\n"; }
    return 1;
}

inline std::atomic<bool> stop_requested{false};
inline std::atomic<int> stop_signal{0};

/// SIGINT and SIGTERM ask for a stop after the step; a second one ends the process at once.
inline void stop_on_signals() {
    struct sigaction action {};
    action.sa_handler = [](int number) {
        if (stop_requested.exchange(true)) _exit(128 + number);
        stop_signal = number;
    };
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

inline YoloV5Options network_options(Manifest const& m) {
    return {.size = m.size, .classes = m.classes, .anchors = m.anchors};
}

/// A checkpoint's network as it was trained. experiment: "" takes the one the checkpoint names.
struct LoadedDetector {
    std::unique_ptr<Detector> detector;
    ExperimentInfo const* experiment;
    Manifest manifest;
};
inline LoadedDetector load_detector(Catalogue const& catalogue, std::filesystem::path const& weights,
                                    std::string const& experiment, torch::Device where) {
    auto checkpoint = load_checkpoint(weights);
    auto const& named = checkpoint.manifest.experiment;
    if (experiment.empty() && named.empty())
        throw std::runtime_error(weights.string() +
                                 " does not say which experiment it is of; add --experiment");
    auto const& info = catalogue.find(experiment.empty() ? named : experiment);
    LoadedDetector loaded{info.make(network_options(checkpoint.manifest)), &info, checkpoint.manifest};
    load_state(*loaded.detector, checkpoint.model, Fit::exact, weights.string());
    if (int const bits = checkpoint.manifest.bits; bits > 0)
        qat::nn::step_bits(loaded.detector->module(), bits, /*rescale=*/false);
    loaded.detector->module().to(where);
    loaded.detector->module().eval();
    return loaded;
}

/// "YOLOv5 exp2: 1872157 parameters, 80 classes"
inline std::string summary(Detector& detector, ExperimentInfo const& experiment) {
    std::int64_t parameters = 0;
    for (auto const& p : detector.module().parameters()) parameters += p.numel();
    return "YOLOv5 " + experiment.name + ": " + std::to_string(parameters) + " parameters, " +
           std::to_string(detector.options().classes) + " classes";
}

/// 0: OMP_NUM_THREADS where it is set, else every core; LibTorch's own default may be a single thread.
inline void set_threads(int threads) {
    if (threads == 0 && std::getenv("OMP_NUM_THREADS") != nullptr) return;
    torch::set_num_threads(threads > 0 ? threads
                                       : static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
}

/// A line that is written over while standard error is a terminal; nothing elsewhere.
class ProgressLine {
public:
    void operator()(std::string const& text) {
        if (!terminal_) return;
        std::cerr << '\r' << text << "\033[K" << std::flush;
        shown_ = true;
    }
    void end() {
        if (std::exchange(shown_, false)) std::cerr << "\r\033[K" << std::flush;
    }
    ~ProgressLine() { end(); }

private:
    bool terminal_ = isatty(STDERR_FILENO) == 1, shown_ = false;
};

}  // namespace yolo::apps
