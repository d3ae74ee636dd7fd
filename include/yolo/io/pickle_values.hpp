#pragma once
// What a pickle can hold, as plain data: no LibTorch, nothing that acts. Lists and the like live in a
// Document and refer to one another by pointer, so shared and self-referential values cost nothing and are
// freed without recursion.

#include <concepts>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace yolo::pickle {

struct Text;
struct Bytes;
struct Tuple;
struct List;
struct Set;
struct Dict;
struct Global;
struct Object;
struct Storage;
struct Tensor;
using None = std::monostate;

using Value = std::variant<None, bool, std::int64_t, double, Text const*, Bytes const*, Tuple*, List*, Set*,
                           Dict*, Global const*, Object*, Storage const*, Tensor const*>;

enum class ScalarType : std::uint8_t { f16, bf16, f32, f64, i8, u8, i16, i32, i64, boolean };

constexpr std::int64_t item_size(ScalarType type) {  // bytes
    switch (type) {
    case ScalarType::f64:
    case ScalarType::i64:
        return 8;
    case ScalarType::f32:
    case ScalarType::i32:
        return 4;
    case ScalarType::f16:
    case ScalarType::bf16:
    case ScalarType::i16:
        return 2;
    default:
        return 1;
    }
}

struct StorageName {
    std::string_view name;
    ScalarType type;
};
/// Python's classes of typed storages, module torch.
inline constexpr StorageName storage_names[] = {
    {"FloatStorage", ScalarType::f32},     {"HalfStorage", ScalarType::f16},
    {"BFloat16Storage", ScalarType::bf16}, {"DoubleStorage", ScalarType::f64},
    {"LongStorage", ScalarType::i64},      {"IntStorage", ScalarType::i32},
    {"ShortStorage", ScalarType::i16},     {"CharStorage", ScalarType::i8},
    {"ByteStorage", ScalarType::u8},       {"BoolStorage", ScalarType::boolean}};

// clang-format off
struct Text { std::string value; };                             // UTF-8 as it stands in the file
struct Bytes { std::string value; };
struct Tuple { std::vector<Value> items; };
struct List { std::vector<Value> items; };
struct Set { std::vector<Value> items; };
struct Dict { std::vector<std::pair<Value, Value>> items; };    // in the order of insertion
struct Global { std::string module, name; };                    // a class or function, never resolved
// clang-format on

/// An instance of a class that is only named: what it was made from and what was put into it.
struct Object {
    Global const* type = nullptr;
    Value arguments, state;                      // of the constructor; of __setstate__
    std::vector<std::pair<Value, Value>> items;  // when it is a dictionary
    std::vector<Value> elements;                 // when it is a list
};

/// The record data/KEY of the archive.
struct Storage {
    std::string key;
    ScalarType type;
    std::int64_t count;  // elements
};

/// A view of a storage; offset and strides in elements. It lies inside the storage: the reader has checked
/// that.
struct Tensor {
    Storage const* storage;
    std::int64_t offset;
    std::vector<std::int64_t> sizes, strides;

    std::int64_t count() const {  // elements
        std::int64_t product = 1;
        for (auto const size : sizes) product *= size;
        return product;
    }
};

using Node = std::variant<Text, Bytes, Tuple, List, Set, Dict, Global, Object, Storage, Tensor>;

/// A read pickle: values point into it. Can be moved, not copied.
class Document {
public:
    Document() = default;
    Document(Document&&) = default;
    Document& operator=(Document&&) = default;

    Value root;

    template <class T> T* make(T node) { return &std::get<T>(nodes_.emplace_back(std::move(node))); }
    std::size_t size() const { return nodes_.size(); }

private:
    std::deque<Node> nodes_;  // addresses stay
};

/// The value as a T (Dict, List, ...), or null when it is something else.
template <class T> T const* as(Value const& value) {
    constexpr bool is_constant = std::same_as<T, Text> || std::same_as<T, Bytes> || std::same_as<T, Global> ||
                                 std::same_as<T, Storage> || std::same_as<T, Tensor>;
    auto const* found = std::get_if<std::conditional_t<is_constant, T const*, T*>>(&value);
    return found ? *found : nullptr;
}

inline bool is_none(Value const& value) { return std::holds_alternative<None>(value); }

/// A number or truth value as a double.
inline std::optional<double> as_number(Value const& value) {
    if (auto const* real = std::get_if<double>(&value)) return *real;
    if (auto const* integer = std::get_if<std::int64_t>(&value)) return static_cast<double>(*integer);
    if (auto const* truth = std::get_if<bool>(&value)) return *truth ? 1.0 : 0.0;
    return std::nullopt;
}

/// Items of a list or tuple, null for anything else.
inline std::vector<Value> const* as_sequence(Value const& value) {
    if (auto const* list = as<List>(value)) return &list->items;
    if (auto const* tuple = as<Tuple>(value)) return &tuple->items;
    return nullptr;
}

/// The value of a text key, null when the dictionary is null or has none. The last one counts, as in Python.
inline Value const* find(Dict const* dictionary, std::string_view key) {
    if (!dictionary) return nullptr;
    for (auto i = dictionary->items.rbegin(); i != dictionary->items.rend(); ++i)
        if (auto const* text = as<Text>(i->first); text && text->value == key) return &i->second;
    return nullptr;
}

/// "a list", "a models.yolo.Model", ... for messages.
inline std::string describe(Value const& value) {
    constexpr char const* kinds[] = {"None",    "a truth value", "an integer", "a number", "a text",
                                     "bytes",   "a tuple",       "a list",     "a set",    "a dictionary",
                                     "a class", "an object",     "a storage",  "a tensor"};
    if (auto const* object = as<Object>(value); object && object->type)
        return "a " + object->type->module + "." + object->type->name;
    return kinds[value.index()];
}

}  // namespace yolo::pickle
