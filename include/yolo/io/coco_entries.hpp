#pragma once
// The lists of objects in COCO's JSON files, one object at a time.

#include <yolo/metrics/coco_types.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <stdexcept>

namespace yolo::detail {

/// An object of a list: the values that COCO's keys may have here. What else it holds is passed over.
class CocoJsonEntry {
public:
    struct Other {};  // a list, an object, null
    using Value =
        std::variant<std::monostate, std::int64_t, double, std::string, Other>;  // monostate: no such key

    static constexpr std::array<std::string_view, 9> keys{
        "id", "image_id", "category_id", "area", "iscrowd", "score", "bbox", "file_name", "name"};
    static constexpr std::size_t no_key = keys.size(), box_key = 6;
    static std::size_t key(std::string_view name) {
        return static_cast<std::size_t>(std::find(keys.begin(), keys.end(), name) - keys.begin());
    }

    std::string file, list;  // for messages
    std::size_t number_in_list = 0;
    std::array<Value, keys.size()> values{};
    std::vector<double> box_numbers{};
    bool box_is_numbers = true;

    bool has(std::string_view name) const { return value(name).index() != 0; }
    std::int64_t integer(std::string_view name) const {
        auto const found = present(name);
        if (auto const* i = std::get_if<std::int64_t>(found)) return *i;
        if (auto const* d = std::get_if<double>(found); d && *d == std::floor(*d) && std::abs(*d) < 9e15)
            return static_cast<std::int64_t>(*d);
        wrong(name, "an integer");
    }
    double number(std::string_view name) const {
        auto const found = present(name);
        if (auto const* i = std::get_if<std::int64_t>(found)) return static_cast<double>(*i);
        if (auto const* d = std::get_if<double>(found); d && std::isfinite(*d)) return *d;
        wrong(name, "a finite number");
    }
    CocoImageId image_id(std::string_view name) const {
        if (auto const* found = std::get_if<std::string>(present(name))) return *found;
        return integer(name);
    }
    std::string text(std::string_view name) const {  // empty where there is none
        auto const* found = std::get_if<std::string>(&value(name));
        return found ? *found : "";
    }
    CocoBox box() const {
        present("bbox");
        if (!box_is_numbers || box_numbers.size() != 4)
            wrong("bbox", "four finite numbers: left, top, width, height");
        return {box_numbers[0], box_numbers[1], box_numbers[2], box_numbers[3]};
    }

    [[noreturn]] void fail(std::string const& what) const {
        throw std::runtime_error(file + ": entry " + std::to_string(number_in_list) +
                                 (list.empty() ? "" : " of \"" + list + "\"") + " " + what);
    }

private:
    Value const& value(std::string_view name) const { return values[key(name)]; }
    Value const* present(std::string_view name) const {
        if (!has(name))
            fail("has no \"" + std::string(name) + "\"; add it to the entry or leave the entry out");
        return &value(name);
    }
    [[noreturn]] void wrong(std::string_view name, std::string const& want) const {
        fail("has a \"" + std::string(name) + "\" that is not " + want +
             "; correct it or leave the entry out");
    }
};

/// What to do with a list of the file's object, or with the file itself if that is a list and the name is empty.
struct CocoJsonList {
    std::string name;
    std::function<void()> begin;
    std::function<void(CocoJsonEntry const&)> entry;
};

/// Events of nlohmann's parser to entries.
class CocoJsonEvents : public nlohmann::json_sax<nlohmann::json> {
public:
    CocoJsonEvents(std::string file, std::string remedy, std::vector<CocoJsonList> lists)
        : remedy_(std::move(remedy)), lists_(std::move(lists)), seen_(lists_.size()),
          list_depth_(lists_.front().name.empty() ? 1 : 2) {
        entry_.file = std::move(file);
    }

    bool null() override { return scalar(CocoJsonEntry::Other{}); }
    bool boolean(bool value) override { return scalar(std::int64_t{value}); }
    bool number_integer(number_integer_t value) override { return scalar(std::int64_t{value}); }
    bool number_unsigned(number_unsigned_t value) override {
        if (value <= static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max()))
            return scalar(static_cast<std::int64_t>(value));
        return scalar(static_cast<double>(value));
    }
    bool number_float(number_float_t value, string_t const&) override { return scalar(value); }
    bool string(string_t& value) override { return scalar(std::move(value)); }
    bool binary(binary_t&) override { return scalar(CocoJsonEntry::Other{}); }

    bool start_object(std::size_t) override {
        if (depth_ == 0 && list_depth_ == 1) unfit("is an object, not a list");
        if (depth_ == list_depth_ && list_) {
            entry_.values.fill({});
            field_ = CocoJsonEntry::no_key;
            ++depth_;
            return true;
        }
        return open();
    }
    bool key(string_t& name) override {
        if (depth_ == 1 && list_depth_ == 2) section_ = name;
        if (depth_ == list_depth_ + 1 && list_) field_ = CocoJsonEntry::key(name);
        return true;
    }
    bool end_object() override {
        --depth_;
        if (depth_ == list_depth_ && list_) {
            list_->entry(entry_);
            ++entry_.number_in_list;
        }
        return true;
    }
    bool start_array(std::size_t) override {
        if (depth_ == 0 && list_depth_ == 2) unfit("is a list, not an object");
        if (depth_ + 1 == list_depth_) {
            list_ = nullptr;
            for (std::size_t i = 0; i < lists_.size(); ++i)
                if (lists_[i].name == section_) list_ = &lists_[i], seen_[i] = true;
            if (list_) list_->begin();
            entry_.list = section_;
            entry_.number_in_list = 0;
            ++depth_;
            return true;
        }
        bool const box = depth_ == list_depth_ + 1 && list_ && field_ == CocoJsonEntry::box_key;
        open();
        if (box) entry_.box_numbers.clear(), entry_.box_is_numbers = true, in_box_ = true;
        return true;
    }
    bool end_array() override {
        --depth_;
        if (depth_ == list_depth_ + 1) in_box_ = false;
        if (depth_ + 1 == list_depth_) list_ = nullptr;
        return true;
    }
    bool parse_error(std::size_t position, std::string const&,
                     nlohmann::json::exception const& error) override {
        std::string_view reason = error.what();
        if (auto const end = reason.find("] "); end != reason.npos) reason.remove_prefix(end + 2);
        unfit("is no complete JSON (byte " + std::to_string(position) + ": " + std::string(reason) +
              "; JSON knows neither NaN nor Infinity)");
    }

    /// After the file's end.
    void finish() const {
        for (std::size_t i = 0; i < lists_.size(); ++i)
            if (!seen_[i])
                unfit(lists_[i].name.empty() ? "is no list" : "has no list \"" + lists_[i].name + '"');
    }

private:
    [[noreturn]] void unfit(std::string const& what) const {
        throw std::runtime_error(entry_.file + " " + what + "; " + remedy_);
    }

    /// A list or an object that is itself no entry.
    bool open() {
        scalar(CocoJsonEntry::Other{});
        ++depth_;
        return true;
    }

    template <class T> bool scalar(T value) {
        if (depth_ == list_depth_ && list_) entry_.fail("is no object; " + remedy_);
        if (in_box_ && depth_ == list_depth_ + 2) {
            if constexpr (std::is_arithmetic_v<T>) {
                entry_.box_numbers.push_back(static_cast<double>(value));
                entry_.box_is_numbers &= std::isfinite(static_cast<double>(value));
            } else
                entry_.box_is_numbers = false;
        } else if (depth_ == list_depth_ + 1 && list_ && field_ != CocoJsonEntry::no_key) {
            entry_.values[field_] = std::move(value);
            if (field_ == CocoJsonEntry::box_key) entry_.box_is_numbers = false;
        }
        return true;
    }

    CocoJsonEntry entry_;
    std::string remedy_, section_;
    std::vector<CocoJsonList> lists_;
    std::vector<bool> seen_;
    CocoJsonList* list_ = nullptr;  // that is being read
    std::size_t list_depth_, depth_ = 0, field_ = CocoJsonEntry::no_key;
    bool in_box_ = false;
};

inline void read_coco_entries(std::filesystem::path const& path, std::string const& remedy,
                              std::vector<CocoJsonList> lists) {
    std::error_code error;
    auto const size = std::filesystem::file_size(path, error);
    std::ifstream in(path, std::ios::binary);
    if (error || !in) throw std::runtime_error(path.string() + " cannot be read; " + remedy);
    std::string text(size, '\0');
    in.read(text.data(), static_cast<std::streamsize>(size));
    text.resize(static_cast<std::size_t>(in.gcount()));
    CocoJsonEvents events(path.string(), remedy, std::move(lists));
    nlohmann::json::sax_parse(text.data(), text.data() + text.size(), &events);
    events.finish();
}

}  // namespace yolo::detail
