#pragma once
// State dictionaries: named tensors in order, and .pt files that hold one, as Python's
// torch.save(model.state_dict(), path) writes and torch.load(path, weights_only=True) reads them.

#include <qat/torch.hpp>
#include <yolo/io/archive.hpp>
#include <yolo/io/archive_writer.hpp>
#include <yolo/io/atomic_file.hpp>
#include <yolo/io/pickle.hpp>
#include <yolo/io/pickle_writer.hpp>
#include <yolo/io/pickled_module.hpp>

#include <map>

namespace yolo {

/// Tensors by key ("model.0.conv.weight"), in the order of the modules.
using StateDict = std::vector<std::pair<std::string, torch::Tensor>>;

/// The tensor of that key, or null. Linear: make a map first when many are wanted.
inline torch::Tensor const* find(StateDict const& tensors, std::string_view key) {
    for (auto const& [name, tensor] : tensors)
        if (name == key) return &tensor;
    return nullptr;
}

namespace detail {

inline constexpr std::pair<pickle::ScalarType, at::ScalarType> scalar_types[] = {
    {pickle::ScalarType::f16, at::kHalf},  {pickle::ScalarType::bf16, at::kBFloat16},
    {pickle::ScalarType::f32, at::kFloat}, {pickle::ScalarType::f64, at::kDouble},
    {pickle::ScalarType::i8, at::kChar},   {pickle::ScalarType::u8, at::kByte},
    {pickle::ScalarType::i16, at::kShort}, {pickle::ScalarType::i32, at::kInt},
    {pickle::ScalarType::i64, at::kLong},  {pickle::ScalarType::boolean, at::kBool}};

inline at::ScalarType torch_type(pickle::ScalarType type) {
    for (auto const& [ours, theirs] : scalar_types)
        if (ours == type) return theirs;
    throw std::logic_error("a scalar type without a counterpart in LibTorch");
}
inline pickle::ScalarType pickle_type(at::ScalarType type, std::string const& key) {
    for (auto const& [ours, theirs] : scalar_types)
        if (theirs == type) return ours;
    throw std::runtime_error("tensor " + key + " has type " + c10::toString(type) +
                             ", which is not saved; convert it to float32 first");
}

}  // namespace detail

/// An opened .pt file: its pickle as data, and tensors read when they are asked for.
class TensorFile {
public:
    /// throws std::runtime_error for what is not a file of torch.save.
    explicit TensorFile(Archive archive) : archive_(std::move(archive)) {
        for (auto const& [name, entry] : archive_.entries())
            if (name.ends_with("/data.pkl") && std::count(name.begin(), name.end(), '/') == 1)
                folder_ = name.substr(0, name.size() - 8);
        if (folder_.empty() || archive_.contains(folder_ + "constants.pkl"))
            throw std::runtime_error(
                folder_.empty() ? "the zip archive has no data.pkl; give a .pt file that torch.save wrote"
                                : "this is a TorchScript file; give the checkpoint it was made from");
        if (auto const name = folder_ + "byteorder"; archive_.contains(name) && archive_.size_of(name) == 3)
            throw std::runtime_error(
                "the file is from a big-endian machine; load and save it in Python first");
        auto const limit = pickle::Limits{}.bytes;
        if (archive_.size_of(folder_ + "data.pkl") > limit)
            throw std::runtime_error("data.pkl is larger than " + std::to_string(limit >> 20) +
                                     " MiB; is it a model?");
        document_ = pickle::read(archive_.read(folder_ + "data.pkl"));
    }

    pickle::Value const& root() const { return document_.root; }

    /// The tensor on the CPU; tensors that share a storage in the file share it here.
    torch::Tensor tensor(pickle::Tensor const& view) {
        auto const type = detail::torch_type(view.storage->type);
        if (view.count() > view.storage->count)  // else expand() could turn a few bytes into terabytes
            throw std::runtime_error("it has more elements than its storage; save it contiguous");
        auto const bytes = storage(*view.storage);
        return torch::empty({0}, type).set_(bytes.storage(), view.offset, view.sizes, view.strides);
    }
    StateDict tensors(pickle::StateEntries const& entries) {
        StateDict result;
        result.reserve(entries.size());
        for (auto const& [key, view] : entries) {
            try {
                result.emplace_back(key, tensor(*view));
            } catch (std::exception const& error) {
                throw std::runtime_error("tensor " + key + ": " + error.what());
            }
        }
        return result;
    }

private:
    // One read from the file into the memory that the tensors will use.
    torch::Tensor const& storage(pickle::Storage const& wanted) {
        auto const name = folder_ + "data/" + wanted.key;
        auto const size = archive_.size_of(name);
        auto const expected = wanted.count * pickle::item_size(wanted.type);
        if (size != static_cast<std::uint64_t>(expected))
            throw std::runtime_error("its record has " + std::to_string(size) + " bytes, want " +
                                     std::to_string(expected) + "; fetch or save the file again");
        auto& bytes = storages_[wanted.key];
        if (!bytes.defined()) {
            auto fresh = torch::empty({expected}, torch::kByte);
            archive_.read(name,
                          {reinterpret_cast<std::byte*>(fresh.data_ptr()), static_cast<std::size_t>(size)});
            bytes = fresh;
        }
        return bytes;
    }

    Archive archive_;
    std::string folder_;  // "archive/"
    pickle::Document document_;
    std::map<std::string, torch::Tensor> storages_;
};

/// Tensors and texts put together as one .pt file. Every tensor gets a storage of its own.
class TensorFileWriter {
public:
    explicit TensorFileWriter(std::filesystem::path const& path) : file_(path) {}

    pickle::Writer& pickle() { return pickle_; }

    /// Keys and tensors; to be called between begin and end of a dictionary.
    void tensors(StateDict const& state) {
        for (auto const& [key, tensor] : state) {
            if (!tensor.defined() || tensor.layout() != torch::kStrided)
                throw std::runtime_error("tensor " + key + " is undefined or sparse and cannot be saved");
            auto const type = detail::pickle_type(tensor.scalar_type(), key);
            pickle::Storage const storage{std::to_string(contents_.size()), type, tensor.numel()};
            pickle::Tensor view{&storage, 0, tensor.sizes().vec(), {}};
            view.strides.resize(view.sizes.size());
            std::int64_t stride = 1;
            for (std::size_t i = view.sizes.size(); i-- > 0;
                 stride *= std::max<std::int64_t>(view.sizes[i], 1))
                view.strides[i] = stride;
            pickle_.text(key).tensor(view);
            contents_.push_back(tensor);
        }
    }
    /// Writes everything; the file has its name and content when this returns, or an exception leaves the old
    /// one.
    void commit() {
        ArchiveWriter archive([this](std::span<std::byte const> bytes) { file_.write(bytes); });
        archive.write("archive/data.pkl", pickle_.finish());
        archive.write("archive/byteorder", text("little"));
        for (std::size_t i = 0; i < contents_.size(); ++i) {
            auto const tensor = contents_[i].detach().to(torch::kCPU).contiguous();
            archive.write("archive/data/" + std::to_string(i),
                          {static_cast<std::byte const*>(tensor.data_ptr()), tensor.nbytes()});
        }
        archive.write("archive/version", text("3\n"));
        archive.finish();
        file_.commit();
    }

private:
    static std::span<std::byte const> text(std::string_view value) { return std::as_bytes(std::span(value)); }

    AtomicFile file_;
    pickle::Writer pickle_;
    std::vector<torch::Tensor> contents_;
};

/// A bare state dictionary from a .pt file; throws std::runtime_error with the file, what is wrong and the
/// remedy.
inline StateDict load_state_dict(std::filesystem::path const& path) {
    try {
        TensorFile file(Archive::open(path));
        auto const* dictionary = pickle::as<pickle::Dict>(file.root());
        if (!dictionary)
            throw std::runtime_error("it holds " + pickle::describe(file.root()) +
                                     ", want a state dictionary; save the model's state_dict()");
        return file.tensors(pickle::state_entries(*dictionary));
    } catch (std::exception const& error) { throw std::runtime_error(path.string() + ": " + error.what()); }
}

/// Writes a bare state dictionary that Python's torch.load opens, atomically.
inline void save_state_dict(std::filesystem::path const& path, StateDict const& tensors) {
    TensorFileWriter file(path);
    file.pickle().begin_ordered_dictionary();
    file.tensors(tensors);
    file.pickle().end_dictionary();
    file.commit();
}

}  // namespace yolo
