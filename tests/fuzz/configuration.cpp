// Fuzzing the settings files: data set and hyper-parameters in YAML, runs and manifests in JSON. The answer
// is a value or an error that names the file. Built and run as labels.cpp, with -lyaml-cpp.

#include <yolo/io/dataset_yaml.hpp>
#include <yolo/io/hyperparameters.hpp>
#include <yolo/io/manifest.hpp>

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace {

namespace fs = std::filesystem;

struct Folder {  // in memory, where the system has that
    fs::path path = fs::path(fs::exists("/dev/shm") ? "/dev/shm" : fs::temp_directory_path()) /
                    ("fuzz-configuration-" + std::to_string(::getpid()));
    Folder() { fs::create_directories(path / "images"); }
    ~Folder() { fs::remove_all(path); }
};

template <class Action> void attempt(Action const& action, std::string const& name) {
    try {
        action();
    } catch (std::runtime_error const& error) {
        if (std::string_view(error.what()).find(name) == std::string_view::npos) std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    static Folder const folder;
    std::string const text(reinterpret_cast<char const*>(data), size);
    auto const file = folder.path / "settings.yaml";
    std::ofstream(file, std::ios::binary) << text;

    attempt(
        [&] {
        auto const set = yolo::load_dataset_yaml(file, {});
        if (set.classes < 1 || set.classes != std::int64_t(set.names.size())) std::abort();
        if (yolo::single_class(set).classes != 1) std::abort();
        },
        file.string());
    attempt([&] { (void)yolo::load_hyperparameters(file); }, file.string());
    attempt(
        [&] {
        yolo::Hyperparameters hyp;
        yolo::update(hyp, yolo::load_json(file), file);
        },
        file.string());
    attempt([&] { (void)contradiction(yolo::manifest_from_json(text)); }, "");
    return 0;
}
