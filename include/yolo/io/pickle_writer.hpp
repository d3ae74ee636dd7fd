#pragma once
// Writing the pickle of a dictionary of tensors, as Python's torch.save would (protocol 2): everything
// torch.load needs and accepts with weights_only=True. No LibTorch.

#include <yolo/io/pickle_values.hpp>

#include <cstddef>
#include <span>
#include <stdexcept>

namespace yolo::pickle {

class Writer {
public:
    Writer() { bytes_ = "\x80\x02"; }

    Writer& begin_dictionary() { return put("}("); }  // then keys and values in turn
    Writer& begin_ordered_dictionary() { return put("ccollections\nOrderedDict\n)R("); }
    Writer& end_dictionary() { return put("u"); }

    Writer& text(std::string_view value) {  // UTF-8
        if (value.size() > 0x7FFFFFFF) throw std::runtime_error("a text is too long to be saved");
        put("X").put32(static_cast<std::uint32_t>(value.size()));
        return put(value);
    }
    Writer& integer(std::int64_t value) {
        if (value >= 0 && value < 256) return put("K").byte(static_cast<unsigned>(value));
        put("\x8a").byte(8);
        for (int shift = 0; shift < 64; shift += 8) byte(static_cast<unsigned>(value >> shift & 0xFF));
        return *this;
    }
    Writer& integers(std::vector<std::int64_t> const& values) {  // as a tuple
        put("(");
        for (auto const value : values) integer(value);
        return put("t");
    }
    /// torch._utils._rebuild_tensor_v2(storage, offset, sizes, strides, requires_grad, hooks)
    Writer& tensor(Tensor const& view) {
        put("ctorch._utils\n_rebuild_tensor_v2\n((").text("storage").put("ctorch\n");
        for (auto const& known : storage_names)
            if (known.type == view.storage->type) put(known.name);
        put("\n").text(view.storage->key).text("cpu").integer(view.storage->count).put("tQ");
        integer(view.offset).integers(view.sizes).integers(view.strides);
        return put("\x89"
                   "ccollections\nOrderedDict\n)RtR");
    }

    /// The pickle; nothing may be written after it.
    std::span<std::byte const> finish() {
        put(".");
        return std::as_bytes(std::span(bytes_.data(), bytes_.size()));
    }

private:
    Writer& put(std::string_view bytes) {
        bytes_ += bytes;
        return *this;
    }
    Writer& byte(unsigned value) {
        bytes_.push_back(static_cast<char>(value));
        return *this;
    }
    Writer& put32(std::uint32_t value) {
        for (int shift = 0; shift < 32; shift += 8) byte(value >> shift & 0xFF);
        return *this;
    }

    std::string bytes_;
};

}  // namespace yolo::pickle
