// Fuzzing what reads foreign files: the zip directory, the pickle, the module tree and the manifest. No
// LibTorch. clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tests/fuzz/checkpoint.cpp
// -o fuzz-checkpoint ./fuzz-checkpoint -max_len=65536 -max_total_time=60 NEW_FOLDER
// tests/fuzz/corpus/checkpoint

#include <yolo/io/archive.hpp>
#include <yolo/io/manifest.hpp>
#include <yolo/io/pickle.hpp>
#include <yolo/io/pickled_module.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace {

namespace pickle = yolo::pickle;

// What a reader promises about every tensor it describes.
void check(pickle::StateEntries const& entries) {
    for (auto const& [key, view] : entries) {
        std::int64_t last = view->offset;
        if (view->sizes.size() != view->strides.size() || view->offset < 0 || view->storage->count < 0)
            std::abort();
        for (std::size_t i = 0; i < view->sizes.size(); ++i) {
            if (view->sizes[i] < 0 || view->strides[i] < 0) std::abort();
            if (view->sizes[i] > 0) last += (view->sizes[i] - 1) * view->strides[i];
        }
        if (view->count() > 0 && last >= view->storage->count) std::abort();
    }
}

void read_value(pickle::Value const& value) {
    if (auto const* module = pickle::as<pickle::Object>(value); pickle::is_module(module))
        check(pickle::state_entries(*module));
    if (auto const* dictionary = pickle::as<pickle::Dict>(value)) check(pickle::state_entries(*dictionary));
}

void read_pickle(std::span<std::byte const> bytes) {
    auto const document = pickle::read(bytes);
    auto const* root = pickle::as<pickle::Dict>(document.root);
    if (auto const* manifest = pickle::find(root, "manifest"))
        if (auto const* text = pickle::as<pickle::Text>(*manifest))
            (void)contradiction(yolo::manifest_from_json(text->value));
    if (auto const* model = pickle::find(root, "model")) read_value(*model);
    read_value(document.root);
}

template <class Action>
void attempt(Action const& action) {  // an exception is a proper answer, a crash is not
    try {
        action();
    } catch (std::runtime_error const&) {}
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    auto const bytes = std::as_bytes(std::span(data, size));
    attempt([&] { read_pickle(bytes); });
    attempt([&] {
        auto const archive = yolo::Archive::of(bytes, yolo::Archive::Checksums::ignore);
        std::uint64_t total = 0;
        for (auto const& item : archive.entries()) {
            total += item.second.size;
            attempt([&] {
                auto const record = archive.read(item.first);
                if (item.first.ends_with("data.pkl")) read_pickle(record);
            });
        }
        if (total > size) std::abort();  // the directory may not promise more than there is
    });
    return 0;
}
