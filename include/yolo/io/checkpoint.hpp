#pragma once
// Checkpoints: a network's tensors and what must be known to build it. Three kinds are read: our own,
// official YOLOv5 files (pickled modules, read as data, see official.hpp) and bare state dictionaries. One
// kind is written: our own, a dictionary {"model": tensors, "manifest": JSON text, "more": tensors} that
// Python's torch.load opens as well.

#include <yolo/io/manifest.hpp>
#include <yolo/io/official.hpp>
#include <yolo/io/state_dict.hpp>

namespace yolo {

struct Checkpoint {
    StateDict model;  // YOLOv5's keys, as stored (official files: float16)
    Manifest manifest;
    bool official = false;  // from a pickled models.yolo.Model
    StateDict more{};       // other tensors with keys of their own: optimizer, ...
};

namespace detail {

// {"model": ..., "manifest": ..., "more": ...}
inline Checkpoint own_checkpoint(TensorFile& file, pickle::Dict const& root, pickle::Text const& manifest) {
    Checkpoint result;
    auto const* model = pickle::find(&root, "model");
    if (!model || !pickle::as<pickle::Dict>(*model))
        throw std::runtime_error("it has a manifest but no dictionary \"model\"; save it again");
    result.manifest = manifest_from_json(manifest.value);
    result.model = file.tensors(pickle::state_entries(*pickle::as<pickle::Dict>(*model)));
    if (auto const* more = pickle::find(&root, "more"); more && pickle::as<pickle::Dict>(*more))
        result.more = file.tensors(pickle::state_entries(*pickle::as<pickle::Dict>(*more)));
    return result;
}

// `outer`: the dictionary around the model, or null.
inline Checkpoint official_checkpoint(TensorFile& file, pickle::Dict const* outer,
                                      pickle::Object const& model) {
    Checkpoint result;
    result.official = true;
    result.model = file.tensors(pickle::state_entries(model));
    result.manifest = official_manifest(file, outer, model, result.model);
    return result;
}

inline Checkpoint bare_checkpoint(StateDict tensors) {
    Checkpoint result;
    result.manifest = bare_manifest(tensors);
    result.model = std::move(tensors);
    return result;
}

inline Checkpoint load(TensorFile& file) {
    std::string const advice = "; give a YOLOv5 checkpoint or a saved state_dict()";
    auto const& root = file.root();
    if (auto const* module = pickle::as<pickle::Object>(root); pickle::is_module(module))
        return official_checkpoint(file, nullptr, *module);
    auto const* dictionary = pickle::as<pickle::Dict>(root);
    if (!dictionary) throw std::runtime_error("it holds " + pickle::describe(root) + advice);
    if (auto const* manifest = pickle::find(dictionary, "manifest"))
        if (auto const* text = pickle::as<pickle::Text>(*manifest))
            return own_checkpoint(file, *dictionary, *text);
    for (auto const* key : {"ema", "model", "state_dict"}) {
        auto const* value = pickle::find(dictionary, key);
        if (!value || pickle::is_none(*value)) continue;
        if (auto const* module = pickle::as<pickle::Object>(*value); pickle::is_module(module))
            return official_checkpoint(file, dictionary, *module);
        if (auto const* tensors = pickle::as<pickle::Dict>(*value))
            return bare_checkpoint(file.tensors(pickle::state_entries(*tensors)));
        if (key != std::string("ema"))
            throw std::runtime_error(std::string("its \"") + key + "\" is " + pickle::describe(*value) +
                                     advice);
    }
    if (dictionary->items.empty()) throw std::runtime_error("it holds an empty dictionary" + advice);
    return bare_checkpoint(file.tensors(pickle::state_entries(*dictionary)));
}

}  // namespace detail

/// Reads any of the three kinds; nothing in the file is run.
/// throws std::runtime_error: file, what is wrong, remedy.
inline Checkpoint load_checkpoint(std::filesystem::path const& path) {
    try {
        TensorFile file(Archive::open(path));
        auto result = detail::load(file);
        if (auto const wrong = contradiction(result.manifest); !wrong.empty())
            throw std::runtime_error(wrong + "; give another checkpoint");
        return result;
    } catch (std::exception const& error) { throw std::runtime_error(path.string() + ": " + error.what()); }
}

/// Writes our own kind, atomically. throws std::runtime_error; a file that was there before then still is.
inline void save_checkpoint(std::filesystem::path const& path, Checkpoint const& checkpoint) {
    TensorFileWriter file(path);
    auto& pickle = file.pickle();
    pickle.begin_dictionary();
    pickle.text("model").begin_ordered_dictionary();
    file.tensors(checkpoint.model);
    pickle.end_dictionary();
    pickle.text("manifest").text(to_json(checkpoint.manifest));
    if (!checkpoint.more.empty()) {
        pickle.text("more").begin_dictionary();
        file.tensors(checkpoint.more);
        pickle.end_dictionary();
    }
    pickle.end_dictionary();
    file.commit();
}

}  // namespace yolo
