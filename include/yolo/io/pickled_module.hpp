#pragma once
// From a pickled dictionary or torch.nn.Module to the tensors of its state dictionary, as descriptions: the
// keys and their order are those of Module.state_dict(). No LibTorch.

#include <yolo/io/pickle_values.hpp>

#include <stdexcept>
#include <unordered_set>

namespace yolo::pickle {

using StateEntries = std::vector<std::pair<std::string, Tensor const*>>;

/// Attributes of an object (its __dict__), null when it has none.
inline Dict const* attributes(Object const* object) {
    if (!object) return nullptr;
    if (auto const* pair = as<Tuple>(object->state); pair && pair->items.size() == 2)
        return as<Dict>(pair->items[0]);
    return as<Dict>(object->state);
}
inline Value const* attribute(Object const* object, std::string_view name) {
    return find(attributes(object), name);
}

/// True for a pickled torch.nn.Module of whatever class.
inline bool is_module(Object const* object) {
    return attribute(object, "_modules") && attribute(object, "_parameters");
}

/// A dictionary of tensors; throws std::runtime_error naming the key that is no tensor or stands there twice.
inline StateEntries state_entries(Dict const& dictionary) {
    StateEntries entries;
    std::unordered_set<std::string_view> seen;
    for (auto const& [key, value] : dictionary.items) {
        auto const* name = as<Text>(key);
        if (!name)
            throw std::runtime_error("a key of the state dictionary is " + describe(key) + ", want a text");
        auto const* tensor = as<Tensor>(value);
        if (!tensor)
            throw std::runtime_error("key " + name->value + " of the state dictionary is " + describe(value) +
                                     ", want a tensor; save the model's state_dict()");
        if (!seen.insert(name->value).second)
            throw std::runtime_error("key " + name->value + " stands in the state dictionary twice");
        entries.emplace_back(name->value, tensor);
    }
    return entries;
}

namespace detail {

inline void collect(Object const& module, std::string const& prefix, int depth, std::size_t& modules,
                    StateEntries& to) {
    constexpr int max_depth = 200;
    constexpr std::size_t max_modules = 100'000;
    if (depth > max_depth || ++modules > max_modules)
        throw std::runtime_error("module " + prefix.substr(0, 60) +
                                 " is nested too deeply or in itself; the file is damaged or hostile");
    auto const* transient = attribute(&module, "_non_persistent_buffers_set");
    auto const is_transient = [&](std::string const& name) {
        auto const* names = transient ? as<Set>(*transient) : nullptr;
        if (names)
            for (auto const& item : names->items)
                if (auto const* text = as<Text>(item); text && text->value == name) return true;
        return false;
    };
    for (auto const* group : {"_parameters", "_buffers"}) {
        auto const* values = attribute(&module, group);
        if (!values || !as<Dict>(*values)) continue;
        for (auto const& [key, value] : as<Dict>(*values)->items) {
            auto const* name = as<Text>(key);
            auto const* tensor = as<Tensor>(value);
            if (name && tensor && !(group[1] == 'b' && is_transient(name->value)))
                to.emplace_back(prefix + name->value, tensor);
        }
    }
    auto const* children = attribute(&module, "_modules");
    if (!children || !as<Dict>(*children)) return;
    for (auto const& [key, value] : as<Dict>(*children)->items)
        if (auto const* name = as<Text>(key); name && as<Object>(value) && prefix.size() < 4096)
            collect(*as<Object>(value), prefix + name->value + ".", depth + 1, modules, to);
}

}  // namespace detail

/// What Module.state_dict() would yield; a module wrapped for parallel training counts as the wrapped one.
inline StateEntries state_entries(Object const& module) {
    StateEntries entries;
    std::size_t modules = 0;
    auto const* wrapped = as<Dict>(*attribute(&module, "_modules"));
    auto const* inner = wrapped && wrapped->items.size() == 1 ? find(wrapped, "module") : nullptr;
    detail::collect(inner && as<Object>(*inner) ? *as<Object>(*inner) : module, "", 0, modules, entries);
    return entries;
}

}  // namespace yolo::pickle
