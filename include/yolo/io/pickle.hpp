#pragma once
// Reading Python's pickle format as data, for checkpoints: the reader is a stack machine that builds lists,
// dictionaries and records (pickle_values.hpp) and has no way to call anything. Protocols 2 to 5, as
// torch.save writes them. Functions that rebuild tensors become descriptions of tensors; other allowed names
// become opaque objects; a name outside pickle_names.hpp ends the reading. Memory is bounded by `Limits`,
// nothing recurses. No LibTorch. Longer than most headers here because the format is one table of some fifty
// instructions.

#include <yolo/io/pickle_names.hpp>
#include <yolo/io/pickle_values.hpp>

#include <bit>
#include <cstddef>
#include <limits>
#include <span>
#include <stdexcept>
#include <unordered_map>

namespace yolo::pickle {

struct Limits {
    std::size_t bytes = std::size_t{32} << 20;  // of the pickle, without tensors
    std::size_t values = 1'000'000;             // lists, texts, objects, ... together
    std::size_t steps = 4'000'000;              // values put on the stack or copied
};

class Reader {
public:
    explicit Reader(std::span<std::byte const> input, Limits limits = {}) : input_(input), limits_(limits) {}

    /// throws std::runtime_error: one sentence with the place in the pickle.
    Document read() {
        if (input_.size() > limits_.bytes)
            fail("the pickle has " + std::to_string(input_.size()) + " bytes, more than a checkpoint needs");
        while (step()) {}
        document_.root = pop();
        return std::move(document_);
    }

private:
    using Items = std::vector<Value>;
    static constexpr std::int64_t largest = std::int64_t{1} << 48;  // of any size, stride or product

    [[noreturn]] void fail(std::string const& what) const {
        throw std::runtime_error(what + " (byte " + std::to_string(position_) + " of the pickle)");
    }

    // Input
    std::span<std::byte const> take(std::uint64_t count) {
        if (count > input_.size() - position_)
            fail("the pickle is cut short or damaged; fetch or save the file again");
        auto const bytes = input_.subspan(position_, static_cast<std::size_t>(count));
        position_ += static_cast<std::size_t>(count);
        return bytes;
    }
    template <class T> T number() {  // little-endian
        std::uint64_t value = 0;
        auto const bytes = take(sizeof(T));
        for (std::size_t i = sizeof(T); i-- > 0;)
            value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
        return static_cast<T>(value);
    }
    std::string text(std::uint64_t count) {
        auto const bytes = take(count);
        return {reinterpret_cast<char const*>(bytes.data()), bytes.size()};
    }
    std::string line() {
        std::string result;
        for (char c; (c = static_cast<char>(take(1)[0])) != '\n';) result.push_back(c);
        return result;
    }
    double real() {  // big-endian
        std::uint64_t bits = 0;
        for (auto const byte : take(8)) bits = bits << 8 | std::to_integer<std::uint64_t>(byte);
        return std::bit_cast<double>(bits);
    }

    // Stack
    template <class T> T* make(T node) {
        if (document_.size() >= limits_.values) fail("the pickle holds more values than a checkpoint needs");
        return document_.make(std::move(node));
    }
    void charge(std::size_t count) {  // whatever is stored was charged for
        if (count > limits_.steps - charged_) fail("the pickle holds more values than a checkpoint needs");
        charged_ += count;
    }
    void push(Value value) {
        charge(1);
        stack_.push_back(value);
    }
    Items copy(Items const& items) {
        charge(items.size());
        return items;
    }
    std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
    Value& top() {
        if (stack_.size() <= floor()) fail("the pickle takes a value that is not there");
        return stack_.back();
    }
    Value pop() {
        auto const value = top();
        stack_.pop_back();
        return value;
    }
    Items pop_to_mark() {
        if (marks_.empty()) fail("the pickle ends a list that was not begun");
        auto const begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
        Items items(begin, stack_.end());
        stack_.erase(begin, stack_.end());
        marks_.pop_back();
        return items;
    }
    Items pop_last(std::size_t count) {
        if (stack_.size() - floor() < count) fail("the pickle takes a value that is not there");
        Items items(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
        stack_.resize(stack_.size() - count);
        return items;
    }

    // Instructions
    // clang-format off
    bool step() {
        switch (auto const code = std::to_integer<unsigned>(take(1)[0])) {
        case '.': return false;                                                // STOP
        case 0x80: {                                                           // PROTO
            auto const protocol = number<std::uint8_t>();
            if (protocol > 5) fail("the pickle has protocol " + std::to_string(protocol) + ", want 2 to 5");
            break;
        }
        case 0x95: number<std::uint64_t>(); break;                             // FRAME
        case '(':                                                              // MARK
            if (marks_.size() >= limits_.values) fail("the pickle holds more values than a checkpoint needs");
            marks_.push_back(stack_.size());
            break;
        case '0': pop(); break;                                                // POP
        case '1': pop_to_mark(); break;                                        // POP_MARK
        case '2': push(top()); break;                                          // DUP
        case 'N': push(None{}); break;
        case 0x88: push(true); break;
        case 0x89: push(false); break;
        case 'J': push(std::int64_t{number<std::int32_t>()}); break;           // BININT
        case 'K': push(std::int64_t{number<std::uint8_t>()}); break;
        case 'M': push(std::int64_t{number<std::uint16_t>()}); break;
        case 'G': push(real()); break;                                         // BINFLOAT
        case 0x8a: push(long_integer(number<std::uint8_t>())); break;          // LONG1
        case 0x8b: push(long_integer(number<std::uint32_t>())); break;         // LONG4
        case 'X': push_text(number<std::uint32_t>()); break;                   // BINUNICODE
        case 0x8c: push_text(number<std::uint8_t>()); break;
        case 0x8d: push_text(number<std::uint64_t>()); break;
        case 'T': push_text(number<std::uint32_t>()); break;                   // BINSTRING: Python 2's text
        case 'U': push_text(number<std::uint8_t>()); break;
        case 'B': push_bytes(number<std::uint32_t>()); break;                  // BINBYTES
        case 'C': push_bytes(number<std::uint8_t>()); break;
        case 0x8e: case 0x96: push_bytes(number<std::uint64_t>()); break;      // and BYTEARRAY8
        case ')': push(make(Tuple{})); break;
        case 't': push(make(Tuple{pop_to_mark()})); break;
        case 0x85: case 0x86: case 0x87: push(make(Tuple{pop_last(code - 0x84)})); break;
        case ']': push(make(List{})); break;
        case 'l': push(make(List{pop_to_mark()})); break;
        case '}': push(make(Dict{})); break;
        case 'd': { auto const items = pop_to_mark(); push(make(Dict{})); set_items(items); break; }
        case 0x8f: push(make(Set{})); break;
        case 0x91: push(make(Set{pop_to_mark()})); break;                       // FROZENSET
        case 'a': append(pop_last(1)); break;
        case 'e': append(pop_to_mark()); break;
        case 0x90: append(pop_to_mark()); break;                               // ADDITEMS
        case 's': set_items(pop_last(2)); break;
        case 'u': set_items(pop_to_mark()); break;
        case 'q': remember(number<std::uint8_t>()); break;                     // BINPUT
        case 'r': remember(number<std::uint32_t>()); break;
        case 0x94: remember(memo_.size()); break;                              // MEMOIZE
        case 'h': recall(number<std::uint8_t>()); break;                       // BINGET
        case 'j': recall(number<std::uint32_t>()); break;
        case 'c': { auto const module = line(); push_global(module, line()); break; }
        case 0x93: {                                                           // STACK_GLOBAL
            auto const names = pop_last(2);
            auto const *module = as<Text>(names[0]), *name = as<Text>(names[1]);
            if (!module || !name) fail("the pickle names a class that is not a text");
            push_global(module->value, name->value);
            break;
        }
        case 'Q': push_storage(pop()); break;                                  // BINPERSID
        case 'R': { auto const call = pop_last(2); push(reduce(call[0], call[1])); break; }
        case 0x81: { auto const call = pop_last(2); push(new_object(call[0], call[1])); break; } // NEWOBJ
        case 0x92: { auto const call = pop_last(3); push(new_object(call[0], call[1])); break; } // NEWOBJ_EX
        case 'b': build(pop()); break;
        default: fail("the pickle has an unknown instruction " + std::to_string(code) +
                      "; save the file again with a current torch.save");
        }
        return true;
    }
    // clang-format on

    // Integers beyond 64 bits (random states, hashes) are of no use here and become bytes.
    Value long_integer(std::uint64_t count) {
        auto const bytes = take(count);
        if (count > 8) return make(Bytes{{reinterpret_cast<char const*>(bytes.data()), bytes.size()}});
        std::uint64_t value =
            count && (std::to_integer<unsigned>(bytes[count - 1]) & 0x80u) ? ~std::uint64_t{0} : 0;
        for (std::size_t i = count; i-- > 0;) value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
        return static_cast<std::int64_t>(value);
    }
    void push_text(std::uint64_t count) { push(make(Text{text(count)})); }
    void push_bytes(std::uint64_t count) { push(make(Bytes{text(count)})); }

    void append(Items const& items) {
        auto const put = [&](Items& to) { to.insert(to.end(), items.begin(), items.end()); };
        if (auto* list = std::get_if<List*>(&top()))
            put((*list)->items);
        else if (auto* set = std::get_if<Set*>(&top()))
            put((*set)->items);
        else if (auto* object = std::get_if<Object*>(&top()))
            put((*object)->elements);
        else
            fail("the pickle appends to " + describe(top()));
    }
    void set_items(Items const& items) {
        if (items.size() % 2 != 0) fail("the pickle has a key without a value");
        auto const put = [&](auto& to) {
            for (std::size_t i = 0; i < items.size(); i += 2) to.emplace_back(items[i], items[i + 1]);
        };
        if (auto* dictionary = std::get_if<Dict*>(&top()))
            put((*dictionary)->items);
        else if (auto* object = std::get_if<Object*>(&top()))
            put((*object)->items);
        else
            fail("the pickle sets an item of " + describe(top()));
    }

    void remember(std::uint64_t index) {
        if (memo_.size() >= limits_.values) fail("the pickle remembers more values than a checkpoint needs");
        memo_[index] = top();
    }
    void recall(std::uint64_t index) {
        auto const found = memo_.find(index);
        if (found == memo_.end()) fail("the pickle refers to a value that is not there");
        push(found->second);
    }

    void push_global(std::string module, std::string name) {
        if (!may_be_named(module, name))
            fail("it names " + module + "." + name +
                 ", which a checkpoint must not; nothing was run and the file was not read further; do not "
                 "trust it");
        push(make(Global{std::move(module), std::move(name)}));
    }

    // ('storage', torch.HalfStorage, '0', 'cpu', 432)
    void push_storage(Value const& id) {
        auto const* items = as_sequence(id);
        auto const* kind = items && items->size() >= 5 ? as<Text>((*items)[0]) : nullptr;
        if (!kind || kind->value != "storage") fail("the pickle refers to something that is not a storage");
        auto const* type = as<Global>((*items)[1]);
        auto const* key = as<Text>((*items)[2]);
        auto const* count = std::get_if<std::int64_t>(&(*items)[4]);
        if (!type || !key || !count || *count < 0 || *count > largest)
            fail("the pickle has a damaged storage");
        for (auto const& known : storage_names)
            if (known.name == type->name) return push(make(Storage{key->value, known.type, *count}));
        fail("the pickle has a storage of kind " + type->name +
             ", which is not supported; save it as float32");
    }

    // Calls that are understood become data, all others a record of the call.
    Value reduce(Value const& function, Value const& arguments) {
        auto const* global = as<Global>(function);
        auto const* given = as<Tuple>(arguments);
        if (!global || !given) fail("the pickle calls " + describe(function) + ", which is not a name");
        auto const& [module, name] = *global;
        auto const& items = given->items;
        if (module == "torch._utils") {
            if (name == "_rebuild_tensor_v2" || name == "_rebuild_tensor") return tensor(items);
            if (name == "_rebuild_parameter" || name == "_rebuild_parameter_with_state") {
                if (items.empty() || !as<Tensor>(items[0]))
                    fail("the pickle has a parameter without a tensor");
                return items[0];
            }
        }
        if (module == "torch" && name == "Size" && items.size() == 1 && as_sequence(items[0]))
            return make(Tuple{copy(*as_sequence(items[0]))});
        if (module == "collections" && (name == "OrderedDict" || name == "defaultdict"))
            return dictionary(items);
        if (module == "builtins" || module == "__builtin__") {
            auto const* content = items.empty() ? nullptr : as_sequence(items[0]);
            if (name == "set" || name == "frozenset") return make(Set{content ? copy(*content) : Items{}});
            if (name == "list") return make(List{content ? copy(*content) : Items{}});
            if (name == "tuple") return make(Tuple{content ? copy(*content) : Items{}});
            if (name == "dict") return dictionary(items);
        }
        if (module == "_codecs" && !items.empty() && as<Text>(items[0]))
            return latin1(as<Text>(items[0])->value);
        return make(Object{global, arguments, None{}, {}, {}});
    }
    Value dictionary(Items const& arguments) {  // of a list of pairs, or empty
        Dict result;
        if (!arguments.empty() && as_sequence(arguments[0]))
            for (auto const& item : copy(*as_sequence(arguments[0])))
                if (auto const* pair = as_sequence(item); pair && pair->size() == 2)
                    result.items.emplace_back((*pair)[0], (*pair)[1]);
        return make(std::move(result));
    }
    // Bytes that protocol 2 writes as the text with those code points (all below 256).
    Value latin1(std::string const& utf8) {
        charge(utf8.size());
        std::string bytes;
        for (std::size_t i = 0; i < utf8.size(); ++i) {
            auto const lead = static_cast<unsigned char>(utf8[i]);
            if (lead < 0x80)
                bytes.push_back(utf8[i]);
            else if ((lead == 0xC2 || lead == 0xC3) && i + 1 < utf8.size())
                bytes.push_back(
                    static_cast<char>((lead & 0x03) << 6 | (static_cast<unsigned char>(utf8[++i]) & 0x3F)));
            else
                fail("the pickle has bytes that are not Latin-1");
        }
        return make(Bytes{std::move(bytes)});
    }
    Value new_object(Value const& type, Value const& arguments) {
        auto const* global = as<Global>(type);
        if (!global) fail("the pickle makes an object of " + describe(type));
        if (global->module == "collections" && global->name == "OrderedDict") return make(Dict{});
        return make(Object{global, arguments, None{}, {}, {}});
    }
    void build(Value const& state) {  // other kinds: attributes of no use
        if (auto* object = std::get_if<Object*>(&top())) (*object)->state = state;
    }

    // (storage, offset, sizes, strides, requires_grad, hooks)
    Value tensor(Items const& arguments) {
        auto const* storage = arguments.size() >= 4 ? as<Storage>(arguments[0]) : nullptr;
        auto const* offset = storage ? std::get_if<std::int64_t>(&arguments[1]) : nullptr;
        if (!offset) fail("the pickle has a tensor without a storage");
        Tensor view{storage, *offset, integers(arguments[2]), integers(arguments[3])};
        if (view.sizes.size() != view.strides.size())
            fail("the pickle has a tensor with " + std::to_string(view.sizes.size()) + " sizes and " +
                 std::to_string(view.strides.size()) + " strides");
        std::int64_t last = *offset, count = 1;  // of the last element; elements
        bool possible = *offset >= 0 && *offset <= largest, empty = false;
        for (std::size_t i = 0; possible && i < view.sizes.size(); ++i) {
            auto const size = view.sizes[i], stride = view.strides[i];
            possible = size >= 0 && stride >= 0 && size <= largest && stride <= largest;
            if (!possible) break;
            if (size == 0) {
                empty = true;
                continue;
            }
            possible = count <= largest / size && (stride == 0 || size - 1 <= largest / stride) &&
                       last + (size - 1) * stride <= 2 * largest;
            count *= possible ? size : 1;
            last += possible ? (size - 1) * stride : 0;
        }
        if (!possible || (empty ? *offset > storage->count : last >= storage->count))
            fail("the pickle has a tensor that reaches out of its storage of " +
                 std::to_string(storage->count) + " elements; the file is damaged or hostile");
        return make(std::move(view));
    }
    std::vector<std::int64_t> integers(Value const& value) {
        std::vector<std::int64_t> result;
        auto const* items = as_sequence(value);
        if (!items || items->size() > 64) fail("the pickle has a tensor without sizes or with too many");
        for (auto const& item : *items) {
            auto const* integer = std::get_if<std::int64_t>(&item);
            if (!integer) fail("the pickle has a tensor whose size is not an integer");
            result.push_back(*integer);
        }
        return result;
    }

    std::span<std::byte const> input_;
    Limits limits_;
    std::size_t position_ = 0, charged_ = 0;
    Document document_;
    std::vector<Value> stack_;
    std::vector<std::size_t> marks_;
    std::unordered_map<std::uint64_t, Value> memo_;
};

/// The pickle as data; throws std::runtime_error.
inline Document read(std::span<std::byte const> input, Limits limits = {}) {
    return Reader(input, limits).read();
}

}  // namespace yolo::pickle
