#include "support/doctest.hpp"
#include <support/files.hpp>

#include <yolo/io/checkpoint.hpp>
#include <yolo/io/dataset_yaml.hpp>
#include <yolo/io/hyperparameters.hpp>
#include <yolo/io/run_file.hpp>

#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/import_read.h>

#include <csignal>
#include <functional>
#include <sys/resource.h>

namespace fs = std::filesystem;
using namespace std::string_literals;

using support::contains;
using support::message_of;
using support::read_file;

namespace {

// Building files by hand ------------------------------------------------------------------------------------

std::span<std::byte const> bytes_of(std::string const& text) { return std::as_bytes(std::span(text)); }

using Records = std::vector<std::pair<std::string, std::string>>;

std::string zip(Records const& records) {
    std::string result;
    yolo::ArchiveWriter writer(
        [&](auto bytes) { result.append(reinterpret_cast<char const*>(bytes.data()), bytes.size()); });
    for (auto const& [name, content] : records) writer.write(name, bytes_of(content));
    writer.finish();
    return result;
}

std::string binary(std::string_view hex) {
    std::string result;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        result.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
    return result;
}

std::string little(std::uint64_t value, int size) {
    std::string result;
    for (int i = 0; i < size; ++i) result.push_back(static_cast<char>(value >> 8 * i & 0xFF));
    return result;
}

// Pickle instructions
std::string text(std::string const& value) { return "X" + little(value.size(), 4) + value; }
std::string integer(std::int64_t value) { return "\x8a\x08" + little(static_cast<std::uint64_t>(value), 8); }
std::string tuple(std::string const& items) { return "(" + items + "t"; }
std::string dictionary(std::string const& items) { return "}(" + items + "u"; }
std::string global(std::string const& module, std::string const& name) {
    return "c" + module + "\n" + name + "\n";
}
std::string call(std::string const& function, std::string const& arguments) {
    return function + tuple(arguments) + "R";
}
std::string object(std::string const& module, std::string const& name, std::string const& attributes) {
    return global(module, name) + ")\x81" + dictionary(attributes) + "b";
}
std::string tensor(std::string const& key, std::string const& storage, std::int64_t count,
                   std::int64_t offset, std::string const& sizes, std::string const& strides) {
    auto const id =
        tuple(text("storage") + global("torch", storage) + text(key) + text("cpu") + integer(count)) + "Q";
    return call(global("torch._utils", "_rebuild_tensor_v2"),
                id + integer(offset) + tuple(sizes) + tuple(strides) + "\x89" +
                    call(global("collections", "OrderedDict"), ""));
}
std::string vector_of_4(std::string const& key) {  // float32, record data/KEY of 16 bytes
    return tensor(key, "FloatStorage", 4, 0, integer(4), integer(1));
}
std::string checkpoint(std::string const& pickle, Records more = {}) {
    Records records{{"archive/data.pkl", "\x80\x02" + pickle + "."}, {"archive/version", "3\n"}};
    records.insert(records.end(), more.begin(), more.end());
    return zip(records);
}

// Running ---------------------------------------------------------------------------------------------------

fs::path write(fs::path const& path, std::string const& content) {
    if (path.has_parent_path()) fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    return path;
}
std::string load_error(std::string const& content) {
    support::TemporaryFolder folder;
    auto const path = write(folder / "file.pt", content);
    auto const message = message_of([&] { yolo::load_checkpoint(path); });
    CHECK_MESSAGE((message == "(no error)" || message.starts_with(path.string() + ": ")), message);
    CHECK_MESSAGE(message.size() < 500, message);
    return message;
}
std::string pickle_error(std::string const& pickle) {
    return message_of([&] { yolo::pickle::read(bytes_of("\x80\x02" + pickle + ".")); });
}

#define CHECK_CONTAINS(whole, part)                                                                          \
    do {                                                                                                     \
        std::string const found = (whole);                                                                   \
        CHECK_MESSAGE(contains(found, part), found);                                                         \
    } while (false)

struct Random {  // a fixed sequence on every machine
    std::uint64_t state = 0x9E3779B97F4A7C15u;
    std::uint64_t operator()(std::uint64_t below) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return (state >> 33) % below;
    }
};

bool same(yolo::StateDict const& a, yolo::StateDict const& b) {
    bool equal = a.size() == b.size();
    for (std::size_t i = 0; equal && i < a.size(); ++i)
        equal = a[i].first == b[i].first && a[i].second.scalar_type() == b[i].second.scalar_type() &&
                a[i].second.sizes() == b[i].second.sizes() && torch::equal(a[i].second, b[i].second);
    return equal;
}

yolo::StateDict every_kind() {
    yolo::StateDict state;
    for (auto const type : {at::kHalf, at::kBFloat16, at::kFloat, at::kDouble, at::kLong, at::kInt,
                            at::kShort, at::kChar, at::kByte, at::kBool})
        state.emplace_back("t."s + c10::toString(type), torch::arange(6).view({2, 3}).to(type));
    state.emplace_back("scalar", torch::tensor(7, torch::kLong));
    state.emplace_back("empty", torch::zeros({0, 3}));
    state.emplace_back("transposed", torch::arange(6, torch::kFloat).view({2, 3}).t());
    state.emplace_back("part", torch::arange(10, torch::kFloat).slice(0, 3, 9, 2));
    state.emplace_back("expanded", torch::ones({1}).expand({4}));
    return state;
}

// Shapes of a network of that size, all that is looked at.
yolo::StateDict skeleton(yolo::Size size, std::int64_t classes) {
    yolo::StateDict state{{"model.0.conv.weight", torch::zeros({size.channels(64), 3, 6, 6})}};
    for (auto const& [layer, n] : {std::pair{2, 3}, {4, 6}, {6, 9}})
        for (std::int64_t i = 0; i < size.repeats(n); ++i)
            state.emplace_back("model." + std::to_string(layer) + ".m." + std::to_string(i) +
                                   ".cv1.conv.weight",
                               torch::zeros({1}));
    state.emplace_back("model.24.m.0.weight", torch::zeros({3 * (classes + 5), 1, 1, 1}));
    return state;
}

// A pickled models.yolo.Model small enough to read here: head, stem and bottlenecks of the nano network.
std::string pickled_model(std::string const& extra = "", std::string const& act = "SiLU") {
    auto const module = [](std::string const& name, std::string const& parameters,
                           std::string const& children, std::string const& more = "") {
        return object("models.common", name,
                      text("_parameters") + dictionary(parameters) + text("_buffers") + dictionary("") +
                          text("_modules") + dictionary(children) + more);
    };
    auto const weight = [&](std::string const& key, std::int64_t outputs) {
        auto const value =
            tensor(key, "FloatStorage", outputs, 0, integer(outputs) + integer(1) + integer(1) + integer(1),
                   integer(1) + integer(1) + integer(1) + integer(1));
        return text("weight") +
               call(global("torch._utils", "_rebuild_parameter"), value + "\x88" + dictionary(""));
    };
    auto const bottlenecks = [&](int count) {
        std::string list;
        for (int i = 0; i < count; ++i)
            list += text(std::to_string(i)) +
                    module("Bottleneck", "",
                           text("cv1") +
                               module("Conv", "", text("conv") + module("Conv2d", weight("small", 1), "")));
        return module("C3", "", text("m") + module("Sequential", "", list));
    };
    auto const stem = module("Conv", "",
                             text("conv") + module("Conv2d", weight("stem", 16), "") + text("act") +
                                 object("torch.nn.modules.activation", act, ""));
    auto const buffers = text("anchors") +
                         tensor("anchors", "HalfStorage", 18, 0, integer(3) + integer(3) + integer(2),
                                integer(6) + integer(2) + integer(1)) +
                         text("hidden") + vector_of_4("four") + text("nothing") + "N";
    auto const head =
        object("models.yolo", "Detect",
               text("_parameters") + dictionary("") + text("_buffers") + dictionary(buffers) +
                   text("_non_persistent_buffers_set") +
                   call(global("__builtin__", "set"), "](" + text("hidden") + "e") + text("_modules") +
                   dictionary(text("m") + module("ModuleList", "",
                                                 text("0") + module("Conv2d", weight("head", 21), ""))));
    auto const layers = text("0") + stem + text("2") + bottlenecks(1) + text("4") + bottlenecks(2) +
                        text("6") + bottlenecks(3) + text("24") + head;
    return module("Model", "", text("model") + module("Sequential", "", layers), extra);
}
std::string model_file(std::string const& pickle) {
    auto anchors = torch::empty({3, 3, 2}, torch::kHalf);
    for (int level = 0; level < 3; ++level) anchors[level].fill_(double(1 << level));  // cells
    std::string const halves(static_cast<char const*>(anchors.data_ptr()), 36);
    return checkpoint(pickle, {{"archive/data/stem", std::string(64, '\0')},
                               {"archive/data/small", std::string(4, '\0')},
                               {"archive/data/head", std::string(84, '\0')},
                               {"archive/data/anchors", halves},
                               {"archive/data/four", std::string(16, '\0')}});
}

}  // namespace

// Archives --------------------------------------------------------------------------------------------------

TEST_CASE("the checksum is that of zip archives") {
    CHECK(yolo::crc32(bytes_of("123456789")) == 0xCBF43926u);
    std::string const long_text(1000, 'x');
    for (std::size_t const cut : {0u, 1u, 7u, 8u, 9u, 500u})
        CHECK(yolo::crc32(bytes_of(long_text.substr(cut)), yolo::crc32(bytes_of(long_text.substr(0, cut)))) ==
              yolo::crc32(bytes_of(long_text)));
}

TEST_CASE("an archive gives back what was written, at multiples of 64 bytes") {
    auto const content =
        zip({{"a/data.pkl", "pickle"}, {"a/data/0", std::string(100, 'x')}, {"a/data/1", ""}});
    auto const archive = yolo::Archive::of(bytes_of(content));
    CHECK(archive.entries().size() == 3);
    auto const record = archive.read("a/data/0");
    CHECK(std::string(yolo::detail::as_text(record)) == std::string(100, 'x'));
    CHECK(archive.read("a/data/1").empty());
    CHECK(content.find("pickle") % 64 == 0);
    CHECK(content.find(std::string(100, 'x')) % 64 == 0);
    CHECK_CONTAINS(message_of([&] { archive.read("a/data/2"); }), "is missing");
}

TEST_CASE("an archive that is not plainly stored is refused") {
    auto const good = zip({{"a/data.pkl", "pickle"}, {"a/data/0", std::string(100, 'x')}});
    auto const central = good.find("PK\x01\x02"), second = good.find("PK\x01\x02", central + 1);
    auto const end = good.find("PK\x05\x06");
    auto const refused = [&](std::string const& content) {
        return message_of([&] {
            auto const archive = yolo::Archive::of(bytes_of(content));
            for (auto const& [name, entry] : archive.entries()) archive.read(name);
        });
    };
    auto const patched = [&](std::size_t at, std::string const& replacement) {
        auto copy = good;
        return refused(copy.replace(at, replacement.size(), replacement));
    };
    CHECK(refused(good) == "(no error)");
    CHECK_CONTAINS(patched(central + 10, little(8, 2)), "is compressed");
    CHECK_CONTAINS(patched(central + 8, little(1, 2)), "encrypted");
    CHECK_CONTAINS(patched(central + 16, little(1, 4)), "checksum");
    CHECK_CONTAINS(patched(central + 46, "/"), "outside of it");
    CHECK_CONTAINS(patched(central + 46, "..//..//.."), "outside of it");
    CHECK_CONTAINS(patched(central + 46, "a\\"), "outside of it");
    CHECK_CONTAINS(patched(central + 20, little(0xFFFFFFF0, 4) + little(0xFFFFFFF0, 4)),
                   "lies outside the file");
    CHECK_CONTAINS(patched(central + 20, little(1000, 4) + little(1000, 4)), "lies outside the file");
    CHECK_CONTAINS(patched(central + 20, little(100, 4) + little(100, 4)), "overlaps");
    CHECK_CONTAINS(patched(second + 42, little(0, 4)), "overlaps");
    CHECK_CONTAINS(patched(second + 42, little(3, 4)), "overlaps");
    CHECK_CONTAINS(patched(26, little(60000, 2)), "does not lie where");
    CHECK_CONTAINS(patched(end + 10, little(65535, 2)), "more than it has room for");
    CHECK_CONTAINS(patched(end + 10, little(3, 2)), "more than it has room for");
    CHECK_CONTAINS(patched(end + 12, little(0xFFFFFFFF, 4)), "outside the file");
    CHECK_CONTAINS(patched(end + 16, little(0xFFFFFFFF, 4)), "outside the file");
    CHECK_CONTAINS(patched(end, "PK\x05\x07"), "no directory at its end");
    CHECK_CONTAINS(refused(zip({{"a/x", "1"}, {"a/x", "2"}})), "is there twice");
    CHECK_CONTAINS(refused(zip({{"a/../../etc/passwd", "1"}})), "outside of it");
    CHECK_CONTAINS(refused(zip({{"/etc/passwd", "1"}})), "outside of it");
}

TEST_CASE("zip64 sizes of 2^60 and directories of 2^60 records are refused without allocating them") {
    auto const content = zip({{"a/data.pkl", "pickle"}});
    auto const central = content.find("PK\x01\x02"), end = content.find("PK\x05\x06");
    auto const huge = std::uint64_t{1} << 60;
    auto with_field = content.substr(0, central + 20) + std::string(8, '\xFF') + little(10, 2) +
                      little(20, 2) + content.substr(central + 32, 14) + "a/data.pkl" + little(1, 2) +
                      little(16, 2) + little(huge, 8) + little(huge, 8) + content.substr(end);
    with_field.replace(with_field.find("PK\x05\x06") + 12, 4, little(46 + 10 + 20, 4));
    CHECK_CONTAINS(load_error(with_field), "lies outside the file");

    auto const directory = [&](std::uint64_t count, std::uint64_t size, std::uint64_t offset) {
        auto const record = "PK\x06\x06" + little(44, 8) + little(45, 2) + little(45, 2) + little(0, 8) +
                            little(count, 8) + little(count, 8) + little(size, 8) + little(offset, 8);
        return content.substr(0, end) + record + "PK\x06\x07" + little(0, 4) + little(end, 8) + little(1, 4) +
               content.substr(end);
    };
    CHECK_CONTAINS(load_error(directory(1, end - central, central)),
                   "unknown instruction");  // the zip is fine
    CHECK_CONTAINS(load_error(directory(huge, end - central, central)), "more than it has room for");
    CHECK_CONTAINS(load_error(directory(1, huge, central)), "outside the file");
    CHECK_CONTAINS(load_error(directory(1, end - central, huge)), "outside the file");
    CHECK_CONTAINS(load_error(directory(1, ~std::uint64_t{0}, 1)), "outside the file");
}

// Pickles ---------------------------------------------------------------------------------------------------

TEST_CASE("pickles of protocol 2 to 5 give the same plain data") {
    // pickle.dumps(l, p).hex() of Python 3.11 for p = 2, 3, 4, 5, where l = [1, -5, 70000, 2**40, -2**63,
    // 1.5, None, True, False, "téxt", b"by\xfftes", (), (1,), (1,2), (1,2,3), (1,2,3,4), {"k":[7],3:"v"},
    // {5}, frozenset({6}), l]
    auto const frame =
        "957e000000000000005d94284b014afbffffff4a701101008a060000000000018a080000000000000080473ff80000000"
        "000004e88898c0574c3a978749443066279ff74657394294b0185944b014b0286944b014b024b038794284b014b024b03"
        "4b0474947d94288c016b945d944b07614b038c017694758f94284b0590284b0691946800652e"s;
    for (std::string const& hex : {"80025d7100284b014afbffffff4a701101008a060000000000018a0800000000000000804"
                                   "73ff80000000000004e8889580500000074c3"
                                   "a978747101635f636f646563730a656e636f64650a710258070000006279c3bf746573710"
                                   "358060000006c6174696e31710486710552710"
                                   "6294b018571074b014b028671084b014b024b03877109284b014b024b034b0474710a7d71"
                                   "0b2858010000006b710c5d710d4b07614b0358"
                                   "0100000076710e75635f5f6275696c74696e5f5f0a7365740a710f5d71104b05618571115"
                                   "27112635f5f6275696c74696e5f5f0a66726f7"
                                   "a656e7365740a71135d71144b06618571155271166800652e"s,
                                   "80035d7100284b014afbffffff4a701101008a060000000000018a0800000000000000804"
                                   "73ff80000000000004e8889580500000074c3"
                                   "a97874710143066279ff7465737102294b018571034b014b028671044b014b024b0387710"
                                   "5284b014b024b034b047471067d71072858010"
                                   "000006b71085d71094b07614b03580100000076710a75636275696c74696e730a7365740a"
                                   "710b5d710c4b056185710d52710e636275696c"
                                   "74696e730a66726f7a656e7365740a710f5d71104b06618571115271126800652e"s,
                                   "8004" + frame, "8005" + frame}) {
        auto const document = yolo::pickle::read(bytes_of(binary(hex)));
        auto const* list = yolo::pickle::as<yolo::pickle::List>(document.root);
        REQUIRE(list);
        REQUIRE(list->items.size() == 20);
        auto const& item = list->items;
        std::int64_t const integers[] = {1, -5, 70000, std::int64_t{1} << 40,
                                         std::numeric_limits<std::int64_t>::min()};
        for (std::size_t i = 0; i < 5; ++i) CHECK(std::get<std::int64_t>(item[i]) == integers[i]);
        CHECK(std::get<double>(item[5]) == 1.5);
        CHECK(yolo::pickle::is_none(item[6]));
        CHECK(std::get<bool>(item[7]));
        CHECK_FALSE(std::get<bool>(item[8]));
        CHECK(yolo::pickle::as<yolo::pickle::Text>(item[9])->value == "t\xC3\xA9xt");
        CHECK(yolo::pickle::as<yolo::pickle::Bytes>(item[10])->value == "by\xFFtes");
        for (std::size_t i = 0; i < 5; ++i) {
            auto const* tuple = yolo::pickle::as<yolo::pickle::Tuple>(item[11 + i]);
            REQUIRE(tuple);
            REQUIRE(tuple->items.size() == i);
            for (std::size_t k = 0; k < i; ++k)
                CHECK(std::get<std::int64_t>(tuple->items[k]) == std::int64_t(k + 1));
        }
        auto const* dictionary = yolo::pickle::as<yolo::pickle::Dict>(item[16]);
        REQUIRE(dictionary);
        CHECK(yolo::pickle::as_sequence(*yolo::pickle::find(dictionary, "k"))->size() == 1);
        CHECK(std::get<std::int64_t>(dictionary->items[1].first) == 3);
        for (std::size_t i = 17; i < 19; ++i) {
            auto const* set = yolo::pickle::as<yolo::pickle::Set>(item[i]);
            REQUIRE(set);
            REQUIRE(set->items.size() == 1);
            CHECK(std::get<std::int64_t>(set->items[0]) == std::int64_t(i - 12));
        }
        CHECK(yolo::pickle::as<yolo::pickle::List>(item[19]) == list);  // in itself
    }
}

TEST_CASE("a pickle that names something harmful is refused before anything else is read") {
    support::TemporaryFolder folder;
    auto const victim = folder / "touched";
    auto const arguments = text("touch " + victim.string());
    for (auto const& [module, name] : {std::pair{"os"s, "system"s},
                                       {"posix", "system"},
                                       {"subprocess", "Popen"},
                                       {"builtins", "eval"},
                                       {"__builtin__", "exec"},
                                       {"builtins", "getattr"},
                                       {"builtins", "__import__"},
                                       {"shutil", "rmtree"},
                                       {"pathlib", "os"},
                                       {"pathlibx", "Path"},
                                       {"modelsx", "Model"},
                                       {"", ""},
                                       {"_codecs", "open"},
                                       {"importlib", "import_module"},
                                       {"ctypes", "CDLL"}}) {
        auto const message = load_error(checkpoint(call(global(module, name), arguments)));
        CHECK_CONTAINS(message, "it names " + module + "." + name + ", which a checkpoint must not");
        auto const by_stack =
            load_error(checkpoint(text(module) + text(name) + "\x93" + arguments + "\x85R"));
        CHECK_CONTAINS(by_stack, "it names " + module + "." + name + ", which a checkpoint must not");
    }
    CHECK_FALSE(fs::exists(victim));
}

TEST_CASE("functions of allowed packages are recorded, not called") {
    auto const pickle = "\x80\x02"s + call(global("torch.hub", "load"), text("x")) + ".";
    auto const document = yolo::pickle::read(bytes_of(pickle));
    auto const* object = yolo::pickle::as<yolo::pickle::Object>(document.root);
    REQUIRE(object);
    CHECK(object->type->name == "load");
    CHECK(yolo::pickle::as_sequence(object->arguments)->size() == 1);
}

TEST_CASE("hostile and damaged pickles end in an error") {
    CHECK_CONTAINS(pickle_error(""), "takes a value that is not there");
    CHECK_CONTAINS(pickle_error("0"), "takes a value");
    CHECK_CONTAINS(pickle_error("t"), "not begun");
    CHECK_CONTAINS(pickle_error("K\x01("), "takes a value");  // below the mark
    CHECK_CONTAINS(pickle_error("K\x01(0"), "takes a value");
    CHECK_CONTAINS(pickle_error("K\x01(\x86"), "takes a value");
    CHECK_CONTAINS(pickle_error("]a"), "takes a value that is not there");
    CHECK_CONTAINS(pickle_error("N]a"), "appends to None");
    CHECK_CONTAINS(pickle_error("N(NNu"), "sets an item of None");
    CHECK_CONTAINS(pickle_error("}(Nu"), "without a value");
    CHECK_CONTAINS(pickle_error("h\x05"), "refers to a value");
    CHECK_CONTAINS(pickle_error("j\xFF\xFF\xFF\xFF"), "refers to a value");
    CHECK_CONTAINS(pickle_error("Nr\xFF\xFF\xFF\xFFj\xFE\xFF\xFF\xFF"), "refers to a value");
    CHECK_CONTAINS(pickle_error("X\xFF\xFF\xFF\xFF"), "cut short");
    CHECK_CONTAINS(pickle_error("\x8d" + std::string(8, '\xFF')), "cut short");
    CHECK_CONTAINS(pickle_error("\x8e" + little(std::uint64_t{1} << 60, 8)), "cut short");
    CHECK_CONTAINS(pickle_error("\x8b\xFF\xFF\xFF\x7F"), "cut short");
    CHECK_CONTAINS(pickle_error("ctorch"), "cut short");
    CHECK_CONTAINS(pickle_error("\x80\x09"), "protocol 9, want 2 to 5");
    CHECK_CONTAINS(pickle_error("P1\n"), "unknown instruction 80");
    CHECK_CONTAINS(pickle_error("ios\nsystem\n"), "unknown instruction 105");
    CHECK_CONTAINS(pickle_error("\x82\x01"), "unknown instruction 130");
    CHECK_CONTAINS(pickle_error("N)R"), "calls None");
    CHECK_CONTAINS(pickle_error("NN\x81"), "makes an object of None");
    CHECK_CONTAINS(pickle_error("NN\x93"), "not a text");
    CHECK_CONTAINS(pickle_error("NQ"), "not a storage");
    CHECK_CONTAINS(pickle_error(tuple(text("storage") + "NNNN") + "Q"), "damaged storage");
    CHECK_CONTAINS(pickle_error(tuple(text("storage") + global("torch", "QInt8Storage") + text("0") +
                                      text("cpu") + integer(1)) +
                                "Q"),
                   "QInt8Storage");
    CHECK_CONTAINS(pickle_error(call(global("_codecs", "encode"), text("\xE2\x82\xAC"))), "not Latin-1");
    CHECK_CONTAINS(pickle_error(call(global("torch._utils", "_rebuild_tensor_v2"), "")), "without a storage");
    CHECK_CONTAINS(pickle_error(call(global("torch._utils", "_rebuild_parameter"), "")), "without a tensor");
}

TEST_CASE("bombs stay small: nesting, repetition, memo and copies") {
    std::string nested = ")", marks,
                doubled = "](K\x01K\x02"
                          "e",
                remembered = "N";
    for (int i = 0; i < 100'000; ++i) nested += "\x85";
    CHECK(pickle_error(nested) == "(no error)");  // 100,000 tuples in one another
    CHECK_CONTAINS(load_error(checkpoint(nested)), "it holds a tuple");
    marks.assign(2'000'000, '(');
    CHECK_CONTAINS(pickle_error(marks), "more values");
    CHECK_CONTAINS(pickle_error(std::string(2'000'000, ']')), "more values");
    CHECK_CONTAINS(pickle_error(std::string(5'000'000, 'N')), "more values");
    CHECK_CONTAINS(pickle_error("N" + std::string(5'000'000, '2')), "more values");
    for (int i = 0; i < 40; ++i)
        doubled += "2"
                   "2\x86";  // 2^40 leaves, if somebody walked them
    CHECK_CONTAINS(load_error(checkpoint(doubled)), "it holds a tuple");
    std::string big = "](" + std::string(100'000, 'N') +
                      "eq\x01"
                      "0",
                set_of_it = global("builtins", "set") + "q\x02"
                                                        "0";
    for (int i = 0; i < 1000; ++i) set_of_it += "h\x02h\x01\x85R";  // each copies 100,000 items
    CHECK_CONTAINS(pickle_error(big + set_of_it), "more values");
    for (std::uint64_t i = 0; i < 1'100'000; ++i) remembered += "r" + little(i * 4093, 4);
    CHECK_CONTAINS(pickle_error(remembered), "remembers more");
    CHECK_CONTAINS(pickle_error(std::string(40 << 20, '(')), "bytes, more than");
    CHECK(pickle_error("]q\x01h\x01"
                       "a") == "(no error)");  // a list in itself
    CHECK_CONTAINS(load_error(checkpoint("]q\x01h\x01"
                                         "a")),
                   "it holds a list");
    CHECK_CONTAINS(load_error(checkpoint("}q\x01(" + text("model") + "h\x01u")), "want a tensor");
}

TEST_CASE("a tensor must lie inside its storage, and its storage must have its record's size") {
    Records const record{{"archive/data/0", std::string(16, 'x')}};
    auto const one = integer(1);
    auto const tried = [&](std::string const& value) {
        return load_error(checkpoint(dictionary(text("w") + value), record));
    };
    auto const outside = "reaches out of its storage";
    auto const huge = std::int64_t{1} << 60;
    CHECK_CONTAINS(tried(vector_of_4("0")), "no convolution model.0.conv.weight");  // read without an error
    CHECK_CONTAINS(tried(tensor("0", "FloatStorage", 4, 1, integer(4), one)), outside);
    CHECK_CONTAINS(tried(tensor("0", "FloatStorage", 4, -1, integer(2), one)), outside);
    CHECK_CONTAINS(tried(tensor("0", "FloatStorage", 4, 0, integer(5), one)), outside);
    CHECK_CONTAINS(tried(tensor("0", "FloatStorage", 4, 0, integer(2), integer(4))), outside);
    CHECK_CONTAINS(tried(tensor("0", "FloatStorage", 4, 3, integer(2), integer(-1))), outside);
    CHECK_CONTAINS(tried(tensor("0", "FloatStorage", 4, 0, integer(-4), one)), outside);
    CHECK_CONTAINS(tried(tensor("0", "FloatStorage", 4, 0, integer(huge), one)), outside);
    CHECK_CONTAINS(tried(tensor("0", "FloatStorage", 4, huge, one, one)), outside);
    CHECK_CONTAINS(tried(tensor("0", "FloatStorage", 4, 0,
                                integer(1 << 30) + integer(1 << 30) + integer(1 << 30), one + one + one)),
                   outside);
    CHECK_CONTAINS(tried(tensor("0", "FloatStorage", 4, 0, integer(huge) + integer(0), integer(0) + one)),
                   outside);
    CHECK_CONTAINS(tried(tensor("0", "FloatStorage", 4, 0, integer(std::int64_t{1} << 40), integer(0))),
                   "more elements");
    CHECK_CONTAINS(tried(tensor("0", "FloatStorage", 4, 0, integer(4), one + one)), "1 sizes and 2 strides");
    CHECK_CONTAINS(tried(tensor("0", "FloatStorage", 5, 0, integer(4), one)), "has 16 bytes, want 20");
    CHECK_CONTAINS(tried(tensor("0", "DoubleStorage", 4, 0, integer(4), one)), "has 16 bytes, want 32");
    CHECK_CONTAINS(tried(tensor("0", "FloatStorage", huge, 0, integer(4), one)), "damaged storage");
    CHECK_CONTAINS(tried(tensor("1", "FloatStorage", 4, 0, integer(4), one)), "archive/data/1 is missing");
    CHECK_CONTAINS(tried(tensor("../x", "FloatStorage", 4, 0, integer(4), one)), "is missing");
    CHECK_CONTAINS(tried(integer(3)), "key w of the state dictionary is an integer, want a tensor");
    CHECK_CONTAINS(tried(vector_of_4("0") + text("w") + vector_of_4("0")),
                   "stands in the state dictionary twice");
}

// State dictionaries and checkpoints ------------------------------------------------------------------------

TEST_CASE("every type and layout of tensor survives a round trip bit for bit") {
    support::TemporaryFolder folder;
    auto const state = every_kind();
    yolo::save_state_dict(folder / "state.pt", state);
    auto const again = yolo::load_state_dict(folder / "state.pt");
    CHECK(same(state, again));
    CHECK(yolo::find(again, "scalar")->item<std::int64_t>() == 7);
    CHECK(yolo::find(again, "missing") == nullptr);
    for (auto const& item : again) CHECK_MESSAGE(item.second.is_contiguous(), item.first);
    yolo::save_state_dict(folder / "second.pt", again);
    CHECK(read_file(folder / "state.pt") ==
          read_file(folder / "second.pt"));  // the same content, the same bytes
    CHECK_CONTAINS(
        message_of([&] {
            yolo::save_state_dict(folder / "x.pt", {{"z", torch::zeros({1}, torch::kComplexFloat)}});
        }),
        "tensor z has type");
    CHECK_CONTAINS(message_of([&] {
                       yolo::save_state_dict(folder / "x.pt", {{"z", torch::Tensor()}});
                   }),
                   "tensor z is undefined");
    CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 2);  // and no temporary file is left
}

TEST_CASE("LibTorch's own reader opens what we save, in a plain dictionary") {  // it knows no OrderedDict
    support::TemporaryFolder folder;
    auto const state = every_kind();
    yolo::TensorFileWriter file(folder / "state.pt");
    file.pickle().begin_dictionary();
    file.tensors(state);
    file.pickle().end_dictionary();
    file.commit();
    caffe2::serialize::PyTorchStreamReader reader((folder / "state.pt").string());
    auto const value = torch::jit::readArchiveAndTensors("data", "", "data/", {}, {}, {}, reader);
    yolo::StateDict again;
    for (auto const& item : value.toGenericDict())
        again.emplace_back(item.key().toStringRef(), item.value().toTensor());
    CHECK(same(state, again));
}

TEST_CASE("our own checkpoint comes back with its manifest and other tensors") {
    support::TemporaryFolder folder;
    yolo::Checkpoint saved{every_kind(), {}, false, {{"momentum.0", torch::ones({2})}}};
    saved.manifest.experiment = "exp2";
    saved.manifest.size = yolo::medium;
    saved.manifest.classes = 2;
    saved.manifest.names = {"caf\xC3\xA9 \"x\"\n", "b"};
    saved.manifest.anchors[1][2] = {1.5f, 3.25f};
    saved.manifest.epoch = 11;
    saved.manifest.best_fitness = 0.1234567890123;
    saved.manifest.extra["seed"] = "7";
    yolo::save_checkpoint(folder / "own.pt", saved);
    auto const again = yolo::load_checkpoint(folder / "own.pt");
    CHECK(same(saved.model, again.model));
    CHECK(same(saved.more, again.more));
    CHECK_FALSE(again.official);
    CHECK(yolo::to_json(again.manifest) == yolo::to_json(saved.manifest));
    CHECK(again.manifest.anchors[1][2].height == 3.25f);
    CHECK(again.manifest.best_fitness == 0.1234567890123);
    CHECK(again.manifest.size == yolo::medium);
    CHECK(again.manifest.extra.at("seed") == "7");
}

TEST_CASE("a manifest that is damaged, newer or contradicts itself is refused") {
    auto const tried = [](std::string const& json) {
        return load_error(
            checkpoint(dictionary(text("model") + dictionary("") + text("manifest") + text(json))));
    };
    auto const changed = [&](std::string const& pattern, std::string const& replacement) {
        auto json = yolo::to_json(yolo::Manifest{});
        REQUIRE(contains(json, pattern));
        return tried(json.replace(json.find(pattern), pattern.size(), replacement));
    };
    CHECK(tried(yolo::to_json(yolo::Manifest{})) == "(no error)");
    CHECK_CONTAINS(tried("{"), "the manifest is damaged");
    CHECK_CONTAINS(tried("[]"), "the manifest is damaged");
    CHECK_CONTAINS(tried(std::string(100'000, '[')), "the manifest is damaged");
    CHECK_CONTAINS(changed("\"format_version\":1", "\"format_version\":2"),
                   "format version 2, this program knows up to 1");
    CHECK_CONTAINS(changed("\"classes\":80", "\"classes\":0"), "0 classes");
    CHECK_CONTAINS(changed("\"classes\":80", "\"classes\":\"many\""), "damaged");
    CHECK_CONTAINS(changed("\"names\":[]", "\"names\":[\"a\"]"), "1 names for 80 classes");
    CHECK_CONTAINS(changed("\"strides\":[8,", "\"strides\":[0,"), "a stride is 0");
    CHECK_CONTAINS(changed("[10.0,", "[-10.0,"), "an anchor");
    CHECK_CONTAINS(changed("\"width\":0.25", "\"width\":1e300"), "depth and width");
    CHECK_CONTAINS(load_error(checkpoint(dictionary(text("manifest") + text("{}")))),
                   "no dictionary \"model\"");
}

TEST_CASE("the size and the classes of a bare state dictionary are told from its shapes") {
    support::TemporaryFolder folder;
    for (auto const size :
         {yolo::nano, yolo::small, yolo::medium, yolo::large, yolo::extra_large, yolo::Size{1.0, 0.5}}) {
        yolo::save_state_dict(folder / "bare.pt", skeleton(size, 7));
        auto const loaded = yolo::load_checkpoint(folder / "bare.pt");
        CHECK(loaded.manifest.size == size);
        CHECK(loaded.manifest.classes == 7);
        CHECK(loaded.manifest.names.at(6) == "6");
        CHECK(loaded.manifest.experiment.empty());
        CHECK_FALSE(loaded.official);
    }
    auto state = skeleton(yolo::nano, 7);
    state.emplace_back("model.24.anchors", torch::ones({3, 3, 2}));
    yolo::save_state_dict(folder / "bare.pt", state);
    CHECK(yolo::load_checkpoint(folder / "bare.pt").manifest.anchors[2][1].width == 32);
    auto const saved_error = [&](yolo::StateDict const& tensors) {
        yolo::save_state_dict(folder / "bare.pt", tensors);
        return message_of([&] { yolo::load_checkpoint(folder / "bare.pt"); });
    };
    CHECK_CONTAINS(saved_error({state.begin() + 1, state.end()}), "no convolution model.0.conv.weight");
    CHECK_CONTAINS(saved_error({state.begin(), state.begin() + 7}), "no head model.24.m.0.weight");
    CHECK_CONTAINS(saved_error({state.begin(), state.begin() + 3}),
                   "16 channels in model.0, 1, 1 and 0 bottlenecks");
    CHECK_CONTAINS(saved_error({}), "empty dictionary");
}

TEST_CASE("a state dictionary below \"model\" or \"state_dict\" is found") {
    for (auto const* key : {"model", "state_dict"}) {
        auto const message = load_error(checkpoint(
            dictionary(text("epoch") + integer(3) + text(key) + dictionary(text("w") + vector_of_4("0"))),
            {{"archive/data/0", std::string(16, '\0')}}));
        CHECK_CONTAINS(message, "no convolution model.0.conv.weight");
    }
    CHECK_CONTAINS(load_error(checkpoint(dictionary(text("model") + integer(3)))),
                   "its \"model\" is an integer");
}

TEST_CASE("a pickled model gives the keys of its state_dict() and its attributes") {
    support::TemporaryFolder folder;
    auto const number_8 = call(
        global("numpy.core.multiarray", "scalar"),
        call(global("numpy", "dtype"), text("f8") + "K\x01K\x01") +
            call(global("_codecs", "encode"), text(std::string(6, '\0') + "\xC3\x90?") + text("latin1")));
    auto const extra = text("names") + dictionary(integer(1) + text("b") + integer(0) + text("a"));
    auto const both =
        dictionary(text("epoch") + integer(4) + text("best_fitness") + number_8 + text("model") +
                   pickled_model("", "ReLU") + text("ema") + pickled_model(extra));
    auto const read = yolo::load_checkpoint(write(folder / "both.pt", model_file(both)));
    std::vector<std::string> keys;
    for (auto const& [key, tensor] : read.model) keys.push_back(key);
    CHECK(keys == std::vector<std::string>{"model.0.conv.weight", "model.2.m.0.cv1.conv.weight",
                                           "model.4.m.0.cv1.conv.weight", "model.4.m.1.cv1.conv.weight",
                                           "model.6.m.0.cv1.conv.weight", "model.6.m.1.cv1.conv.weight",
                                           "model.6.m.2.cv1.conv.weight", "model.24.anchors",
                                           "model.24.m.0.weight"});
    CHECK(read.official);
    CHECK(read.manifest.experiment == "silu");  // of ema, not of model
    CHECK(read.manifest.size == yolo::nano);
    CHECK(read.manifest.classes == 2);
    CHECK(read.manifest.names == std::vector<std::string>{"a", "b"});
    CHECK(read.manifest.epoch == 4);
    CHECK(read.manifest.best_fitness == 0.25);
    CHECK(read.manifest.anchors[0][0].width == 8);     // one cell of 8 px
    CHECK(read.manifest.anchors[2][2].height == 128);  // four cells of 32 px

    auto const level = "](KAKBKCKDKEKFe"s;  // 65 to 70 pixels
    auto const written = text("yaml") + dictionary(text("anchors") + "](" + level + level + level + "e" +
                                                   text("depth_multiple") + "G\x3F\xE0" +
                                                   std::string(6, '\0') + text("width_multiple") + "K\x01");
    auto const with_yaml = dictionary(text("ema") + "N" + text("model") + pickled_model(written, "ReLU"));
    auto const relu = yolo::load_checkpoint(write(folder / "relu.pt", model_file(with_yaml)));
    CHECK(relu.manifest.experiment == "relu");
    CHECK(relu.manifest.size == yolo::Size{0.5, 1.0});
    CHECK(relu.manifest.anchors[0][0].width == 8);  // the buffer is what was trained with
    CHECK(relu.manifest.names == std::vector<std::string>{"0", "1"});

    auto const whole = yolo::load_checkpoint(write(folder / "whole.pt", model_file(pickled_model())));
    CHECK(same(whole.model, read.model));
}

TEST_CASE("a module that contains itself or is nested too deeply ends in an error") {
    auto const parts = [](std::string const& children) {
        return "}(" + text("_parameters") + "}" + text("_buffers") + "}" + text("_modules") + children + "u";
    };
    auto const made = global("models.yolo", "Model") + ")\x81q\x01";
    auto const itself = made + parts("}(" + text("x") + "h\x01u") + "b";
    CHECK_CONTAINS(load_error(checkpoint(itself)), "nested too deeply or in itself");
    auto const twice = made + parts("}(" + text("x") + "h\x01" + text("y") + "h\x01u") + "b";
    CHECK_CONTAINS(load_error(checkpoint(twice)), "nested too deeply or in itself");
    std::string wide = "Nq\x02"
                       "0";  // 50 levels, each twice in the next
    for (int i = 0; i < 50; ++i)
        wide += made + parts(i ? "}(" + text("x") + "h\x02" + text("y") + "h\x02u" : "}") +
                "bq\x02"
                "0";
    CHECK_CONTAINS(load_error(checkpoint(wide + "h\x02")), "nested too deeply or in itself");
}

TEST_CASE("a truncated or altered checkpoint loads or ends in an error, never in a crash") {
    support::TemporaryFolder folder;
    yolo::Checkpoint saved{skeleton(yolo::nano, 2), {}, false, {}};
    saved.manifest.classes = 2;
    saved.manifest.names = {"a", "b"};
    yolo::save_checkpoint(folder / "own.pt", saved);
    Random random;
    for (auto const& whole :
         {read_file(folder / "own.pt"), model_file(dictionary(text("model") + pickled_model()))}) {
        CHECK(load_error(whole) == "(no error)");
        for (std::size_t i = 0; i < 50; ++i)
            CHECK(load_error(whole.substr(0, whole.size() * i / 50)) != "(no error)");
        int refused = 0;
        for (int i = 0; i < 200; ++i) {
            auto altered = whole;
            altered[random(altered.size())] ^= static_cast<char>(1 + random(255));
            refused += load_error(altered) != "(no error)";
        }
        CHECK(refused > 50);  // the rest hit padding
        // Inside the pickle, behind a right checksum.
        auto const archive = yolo::Archive::of(bytes_of(whole));
        for (int i = 0; i < 200; ++i) {
            Records records;
            for (auto const& [name, entry] : archive.entries())
                records.emplace_back(name, yolo::detail::as_text(archive.read(name)));
            for (auto& [name, content] : records)
                if (name.ends_with(".pkl"))
                    content[random(content.size())] ^= static_cast<char>(1 + random(255));
            load_error(zip(records));
        }
    }
}

TEST_CASE("files that are no checkpoint are told apart") {
    support::TemporaryFolder folder;
    auto const missing = (folder / "missing.pt").string();
    CHECK(message_of([&] { yolo::load_checkpoint(missing); }) ==
          missing + ": the file does not exist; check the path");
    CHECK_CONTAINS(message_of([&] { yolo::load_checkpoint(folder.path()); }), "this is a folder or device");
    CHECK_CONTAINS(load_error(""), "the file is empty");
    CHECK_CONTAINS(load_error("hello\n"), "not a zip archive");
    CHECK_CONTAINS(load_error(std::string(100'000, 'x')), "not a zip archive");
    CHECK_CONTAINS(load_error("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull");
    CHECK_CONTAINS(load_error("<!DOCTYPE html>"), "web page");
    CHECK_CONTAINS(load_error(binary("80028a0a6cfc9c46f9206aa850192e")), "PyTorch before 1.6");
    CHECK_CONTAINS(load_error(std::string(257, '\0') + "ustar" + std::string(300, '\0')),
                   "PyTorch before 1.6");
    CHECK_CONTAINS(load_error(zip({{"a/readme", "x"}})), "no data.pkl");
    CHECK_CONTAINS(load_error(zip({{"a/data.pkl", "x"}, {"a/constants.pkl", "x"}})), "TorchScript");
    CHECK_CONTAINS(load_error(zip({{"a/data.pkl", "x"}, {"a/byteorder", "big"}})), "big-endian");
    CHECK_CONTAINS(load_error(checkpoint(integer(3))), "it holds an integer; give a YOLOv5 checkpoint");
    CHECK_CONTAINS(load_error(checkpoint(global("models.yolo", "Model"))), "it holds a class");
}

TEST_CASE("a file appears whole or not at all") {
    support::TemporaryFolder folder;
    auto const path = folder / "file.txt";
    auto const files = [&] { return std::distance(fs::directory_iterator(folder.path()), {}); };
    yolo::write_atomically(path, "first");
    { yolo::AtomicFile(path).write("second"s); }  // not committed
    CHECK(read_file(path) == "first");
    CHECK(files() == 1);
    CHECK_CONTAINS(message_of([&] { yolo::AtomicFile(folder.path()); }), "is a folder");
    CHECK_CONTAINS(message_of([&] { yolo::AtomicFile(folder / "none/file"); }), "does its folder exist");

    fs::create_symlink(path, folder / "link");
    yolo::write_atomically(folder / "link", "third");
    CHECK(read_file(path) == "third");
    CHECK(fs::is_symlink(folder / "link"));

    yolo::save_state_dict(folder / "state.pt", {{"w", torch::ones({4})}});
    auto const before = read_file(folder / "state.pt");
    rlimit old_limit{};  // as a disk that is full after 64 kB
    getrlimit(RLIMIT_FSIZE, &old_limit);
    auto const old_handler = std::signal(SIGXFSZ, SIG_IGN);
    rlimit small = old_limit;
    small.rlim_cur = 65536;
    setrlimit(RLIMIT_FSIZE, &small);
    auto const message = message_of([&] {
        yolo::save_state_dict(folder / "state.pt", {{"w", torch::ones({100'000})}});
    });
    setrlimit(RLIMIT_FSIZE, &old_limit);
    std::signal(SIGXFSZ, old_handler);
    CHECK_CONTAINS(message, "is the disk full?");
    CHECK(read_file(folder / "state.pt") == before);
    CHECK(files() == 3);
}

TEST_CASE("Python opens what we save, and we open what Python saves") {
    auto const* python = std::getenv("QAT_PYTHON");
    if (!python || !*python) {
        std::cout << "skipped: Python's torch.load (set QAT_PYTHON to a python that has torch)\n";
        return;
    }
    support::TemporaryFolder folder;
    yolo::Checkpoint saved{every_kind(), {}, false, {{"m", torch::ones({2})}}};
    yolo::save_checkpoint(folder / "own.pt", saved);
    yolo::save_state_dict(folder / "bare.pt", every_kind());
    write(folder / "check.py", R"(
import collections, json, sys, torch
folder = sys.argv[1]
own, bare = (torch.load(folder + name, weights_only=True) for name in ('/own.pt', '/bare.pt'))
assert list(own) == ['model', 'manifest', 'more'], list(own)
assert json.loads(own['manifest'])['format_version'] == 1
assert own['more']['m'].tolist() == [1, 1]
assert type(bare) is collections.OrderedDict and type(own['model']) is collections.OrderedDict
for state in own['model'], bare:
    assert len(state) == 15 and state['scalar'].item() == 7 and state['empty'].shape == (0, 3)
    assert state['transposed'].tolist() == [[0, 3], [1, 4], [2, 5]] and state['part'].tolist() == [3, 5, 7]
    kinds = {key[2:]: tensor for key, tensor in state.items() if key.startswith('t.')}
    assert len({tensor.dtype for tensor in kinds.values()}) == 10
    for name, tensor in kinds.items():
        want = [[0, 1, 1], [1, 1, 1]] if name == 'Bool' else [[0, 1, 2], [3, 4, 5]]
        assert tensor.double().tolist() == want, name
mapped = torch.load(folder + '/bare.pt', weights_only=True, mmap=True)
assert mapped['part'].tolist() == [3, 5, 7]
module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
base = torch.arange(12.)
state = module.state_dict()
state['0.bias'].fill_(2)
state['view'] = base.view(3, 4).t()[1:]
state['shared'] = base
for protocol in 2, 3, 4, 5:
    torch.save(state, f'{folder}/python{protocol}.pt', pickle_protocol=protocol)
)");
    REQUIRE(std::system(
                (python + " "s + (folder / "check.py").string() + " " + folder.path().string()).c_str()) ==
            0);
    for (auto const* protocol : {"2", "3", "4", "5"}) {
        auto const state = yolo::load_state_dict(folder / ("python"s + protocol + ".pt"));
        REQUIRE(state.size() == 9);
        CHECK(state[0].first == "0.weight");
        CHECK(torch::equal(*yolo::find(state, "0.bias"), torch::full({4}, 2.0f)));
        CHECK(torch::equal(*yolo::find(state, "view"),
                           torch::arange(12, torch::kFloat).view({3, 4}).t().slice(0, 1)));
        CHECK(yolo::find(state, "shared")->data_ptr() ==
              static_cast<float*>(yolo::find(state, "view")->data_ptr()) - 1);  // one storage, as in the file
    }
}

TEST_SUITE("shared") {
    TEST_CASE("both official checkpoints are read") {
        NEEDS_SHARED("data/weights");
        struct Expected {
            char const* file;
            std::size_t keys;
            std::int64_t parameters;
            yolo::Size size;
            double fitness;
        };
        for (auto const& expected :
             {Expected{"yolov5n.pt", 349, 1'872'157, yolo::nano, 0},
              Expected{"yolov5s_v6.0.pt", 350, 7'235'389, yolo::small, 0.38119651815217215}}) {
            auto const read = yolo::load_checkpoint(support::shared("data/weights") / expected.file);
            CHECK(read.official);
            CHECK(read.model.size() == expected.keys);
            std::int64_t parameters = 0;
            for (auto const& [key, tensor] : read.model)
                if (key.ends_with(".weight") || key.ends_with(".bias")) parameters += tensor.numel();
            CHECK(parameters == expected.parameters);
            CHECK(read.model.front().first == "model.0.conv.weight");
            CHECK(read.model.back().first == "model.24.m.2.bias");
            CHECK((read.model.front().second.scalar_type() == at::kHalf));
            CHECK((yolo::find(read.model, "model.0.bn.num_batches_tracked")->scalar_type() == at::kLong));
            CHECK(yolo::find(read.model, "model.2.m.0.cv1.conv.weight"));
            for (auto const& item : read.model)
                CHECK_MESSAGE(torch::isfinite(item.second).all().item<bool>(), item.first);
            CHECK(read.manifest.experiment == "silu");
            CHECK(read.manifest.size == expected.size);
            CHECK(read.manifest.classes == 80);
            REQUIRE(read.manifest.names.size() == 80);
            CHECK(read.manifest.names[0] == "person");
            CHECK(read.manifest.names[79] == "toothbrush");
            for (std::size_t level = 0; level < 3; ++level)
                for (std::size_t i = 0; i < 3; ++i) {
                    CHECK(read.manifest.anchors[level][i].width == yolo::coco_anchors[level][i].width);
                    CHECK(read.manifest.anchors[level][i].height == yolo::coco_anchors[level][i].height);
                }
            CHECK(read.manifest.strides == yolo::strides);
            CHECK(read.manifest.epoch == -1);
            CHECK(read.manifest.best_fitness == expected.fitness);

            support::TemporaryFolder folder;
            yolo::save_checkpoint(folder / "own.pt", read);
            auto const again = yolo::load_checkpoint(folder / "own.pt");
            CHECK(same(read.model, again.model));
            CHECK(yolo::to_json(read.manifest) == yolo::to_json(again.manifest));
            yolo::save_state_dict(folder / "bare.pt", read.model);
            auto const bare = yolo::load_checkpoint(folder / "bare.pt");
            CHECK(same(read.model, bare.model));
            CHECK(bare.manifest.size == expected.size);
            CHECK(bare.manifest.anchors[2][2].width == 373);
        }
    }

    TEST_CASE("the data set files beside the reference data are read as they are") {
        NEEDS_SHARED("data/bccd/bccd.yaml");
        auto const data = yolo::load_dataset_yaml(support::shared("data/bccd/bccd.yaml"));
        CHECK(data.names == std::vector<std::string>{"RBC", "WBC", "Platelets"});
        CHECK(fs::equivalent(data.val.at(0), support::shared("data/bccd/images/val")));
        CHECK(yolo::load_dataset_yaml(support::shared("data/coco128/coco128.yaml")).classes == 80);
    }
}

// Settings --------------------------------------------------------------------------------------------------

TEST_CASE("a data set file's images are found as its path says") {
    support::TemporaryFolder folder;
    auto const here = fs::current_path();
    auto const names = "names: [cat, dog]\n"s, splits = "train: images/train\nval: images/val\n"s;
    for (auto const* split : {"train", "val", "extra"}) fs::create_directories(folder / "set/images" / split);
    auto const file = folder / "set/data.yaml";
    auto const load = [&](std::string const& content) {
        return yolo::load_dataset_yaml(write(file, content));
    };
    auto const root = folder / "set";

    CHECK(load(splits + names).root == root);  // no path
    CHECK(load("path: .\n" + splits + names).val == std::vector{root / "images/val"});
    CHECK(load("path: ../set  # beside\n" + splits + names).train == std::vector{root / "images/train"});
    CHECK(load("path: " + root.string() + "\n" + splits + names).root == root);
    auto const several = load(
        "train: [images/train, images/extra]\nval: images/val\ntest:\ndownload: |\n  rm -rf /\n" + names);
    CHECK(several.train == std::vector{root / "images/train", root / "images/extra"});
    CHECK(several.test.empty());
    CHECK(load("train: ../images/train\nval: ../images/val\n" + names).train ==
          std::vector{root / "images/train"});

    write(folder / "elsewhere/data.yaml", "path: set\n" + splits + names);  // from the working directory
    fs::current_path(folder.path());
    auto const from_here = yolo::load_dataset_yaml("elsewhere/data.yaml");
    fs::create_directories(folder / "images/train"), fs::create_directories(folder / "images/val");
    auto const beside = yolo::load_dataset_yaml(write("set/data.yaml", "path: .\n" + splits + names));
    fs::current_path(here);
    CHECK(fs::equivalent(from_here.val.at(0), root / "images/val"));
    CHECK(fs::equivalent(beside.val.at(0), root / "images/val"));  // not ./images/val of somebody else

    fs::remove(folder / "set/images/val");
    fs::remove_all(folder / "images");
    CHECK_CONTAINS(message_of([&] { load("path: .\n" + splits + names); }),
                   (root / "images/val").string() + " does not exist; fetch the data set");
    CHECK_CONTAINS(message_of([&] { load("train: images/train\n" + names); }), "no \"val:\"");
    write(file, splits + names);
    CHECK(yolo::load_dataset_yaml(file, {yolo::Split::train}).classes == 2);  // val is not needed then
}

TEST_CASE("class names may be a list or a map and must agree with nc") {
    support::TemporaryFolder folder;
    fs::create_directories(folder / "images");
    auto const load = [&](std::string const& content) {
        return yolo::load_dataset_yaml(write(folder / "data.yaml", "train: images\nval: images\n" + content));
    };
    auto const names = std::vector<std::string>{"cat", "2", "traffic light"};
    CHECK(load("names: [cat, 2, 'traffic light']\nnc: 3\n").names == names);
    CHECK(load("names: {2: traffic light, 0: cat, 1: 2}\n").names == names);
    CHECK(load("names:\n  0: cat\n  1: 2\n  2: traffic light\n").classes == 3);
    CHECK(load("nc: 2\n").names == std::vector<std::string>{"class0", "class1"});
    auto const error = [&](std::string const& content) { return message_of([&] { load(content); }); };
    CHECK_CONTAINS(error("names: [a, b]\nnc: 3\n"), "\"nc\" is 3 but there are 2 names");
    CHECK_CONTAINS(error("names: {0: a, 2: b}\n"), "class 1 has no name");
    CHECK_CONTAINS(error("names: {0: a, 0: b}\n"), "class 0 has two names");
    CHECK_CONTAINS(error("names: {x: a}\n"), "data.yaml:3: a class is not written as");
    CHECK_CONTAINS(error("names: cat\n"), "neither a list nor a map");
    CHECK_CONTAINS(error("nc: many\n"), "not a number of classes");
    CHECK_CONTAINS(error("nc: 999999999999\n"), "not a number of classes");
    CHECK_CONTAINS(error(""), "no \"names:\"");
    CHECK_CONTAINS(error("names: [a\nnc: 1\n"), "this is not YAML");
    CHECK_CONTAINS(error("test: {a: b}\nnames: [a]\n"), "neither a path nor a list of paths");
    CHECK_CONTAINS(error("names: " + std::string(50'000, '[')), "nested too deeply");
    CHECK_CONTAINS(error("names:\n" + std::string(50'000, '-')), "nested too deeply");
    CHECK_CONTAINS(error("#" + std::string(2 << 20, 'x')), "larger than 1 MiB");
    auto const empty = write(folder / "empty.yaml", "");
    CHECK_CONTAINS(message_of([&] { yolo::load_dataset_yaml(empty); }), "found no keys");
    CHECK_CONTAINS(message_of([&] { yolo::load_dataset_yaml(folder / "none.yaml"); }), "does not exist");
    CHECK_CONTAINS(message_of([&] { yolo::load_dataset_yaml(folder.path()); }), "is a folder");
}

TEST_CASE("hyper-parameters survive YAML and JSON, and unknown ones are refused with a suggestion") {
    support::TemporaryFolder folder;
    auto const file = folder / "hyp.yaml";
    yolo::Hyperparameters hyp;
    double next = 0.1;
    for (auto const& [name, member] : yolo::hyperparameter_table) hyp.*member = next *= 0.7;
    auto const again = yolo::load_hyperparameters(write(file, yolo::to_yaml(hyp)));
    for (auto const& row : yolo::hyperparameter_table)
        CHECK_MESSAGE(again.*row.second == hyp.*row.second, row.first);
    CHECK_FALSE(contains(yolo::to_yaml(hyp), "e-"));  // Python reads 1e-05 as a text
    yolo::Hyperparameters from_json;
    yolo::update(from_json, nlohmann::json::parse(yolo::to_json(hyp).dump()), file);
    for (auto const& [name, member] : yolo::hyperparameter_table) CHECK(from_json.*member == hyp.*member);

    auto const partial =
        yolo::load_hyperparameters(write(file, "lr0: 1E-3  # rate\nanchors: 3\nmosaic: 0\n"));
    CHECK(partial.lr0 == 0.001);
    CHECK(partial.mosaic == 0);
    CHECK(partial.box == 0.05);
    auto const error = [&](std::string const& content) {
        return message_of([&] { yolo::load_hyperparameters(write(file, content)); });
    };
    CHECK_CONTAINS(error("lr0: 1\nmozaic: 1\n"),
                   "hyp.yaml:2: unknown key \"mozaic\"; did you mean \"mosaic\"?");
    CHECK(yolo::load_hyperparameters(write(file, "anchors: 3.412\n")).anchor_t == 4);  // VOC's
    CHECK_CONTAINS(error("lr0: 1\nanchors: 4.6\n"), "hyp.yaml:2: 4.6 anchors, and each layer");
    CHECK_CONTAINS(error("something_else: 1\n"), "remove it or correct its name");
    CHECK_CONTAINS(error("lr0: fast\n"), "hyp.yaml:1: the value of lr0 is not a number");
    CHECK_CONTAINS(error("lr0: [1]\n"), "not a number");
    CHECK_CONTAINS(error("lr0: .nan\n"), "want a number that is not negative");
    CHECK_CONTAINS(error("lr0: -1\n"), "want a number that is not negative");
    CHECK_CONTAINS(message_of([&] {
                       yolo::update(hyp, {{"lrO", 1}}, "run.json");
                   }),
                   "run.json: unknown key \"lrO\"");
    CHECK_CONTAINS(message_of([&] { yolo::update(hyp, {{"lr0", "x"}}, "run.json"); }), "not a number");
}

TEST_CASE("the shipped hyper-parameter files are complete and say what their name says") {
    auto const folder = fs::path(__FILE__).parent_path() / "../../configs/hyp";
    auto const load = [&](char const* name) { return yolo::load_hyperparameters(folder / name); };
    CHECK(yolo::to_yaml(load("scratch-low.yaml")) == yolo::to_yaml({}));  // the defaults
    CHECK(load("scratch-med.yaml").lrf == 0.1);
    CHECK(load("scratch-high.yaml").copy_paste == 0.1);
    auto tuned = load("m-relu-tune.yaml");
    CHECK(tuned.lr0 == 0.001);
    CHECK(tuned.lrf == 0.001);
    CHECK(tuned.warmup_bias_lr == 0.01);
    tuned.lr0 = tuned.lrf = 0.01, tuned.warmup_bias_lr = 0.1;
    CHECK(yolo::to_yaml(tuned) == yolo::to_yaml({}));  // and nothing else differs
    CHECK(load("qat.yaml").lr0 == 0.0001);
    for (auto const& entry : fs::directory_iterator(folder))
        for (auto const& row : yolo::hyperparameter_table)
            if (row.first != "label_smoothing")
                CHECK(contains(read_file(entry.path()), "\n" + std::string(row.first) + ": "));
}

TEST_CASE("a run's JSON file is read with errors that help") {
    support::TemporaryFolder folder;
    auto const file = folder / "run.json";
    auto const json = yolo::load_json(write(file, R"({"epochs": 3, "data": "x.yaml"})"));
    CHECK(json.at("epochs") == 3);
    yolo::require_known_keys(json, {"epochs", "data"}, file);
    CHECK_CONTAINS(message_of([&] {
                       yolo::require_known_keys(json, {"epoch", "data"}, file);
                   }),
                   "run.json: unknown key \"epochs\"; did you mean \"epoch\"?");
    CHECK_CONTAINS(message_of([&] { yolo::require_known_keys(nlohmann::json::array(), {"a"}, file); }),
                   "found array, want an object");
    auto const error = [&](std::string const& content) {
        return message_of([&] { yolo::load_json(write(file, content)); });
    };
    CHECK_CONTAINS(error("{\n\"a\": 1,\n\"b\" 2}"), "run.json:3: this is not JSON");
    CHECK_CONTAINS(error(""), "this is not JSON");
    CHECK_CONTAINS(error(std::string(100'000, '[')), "nested more than 100 deep");
    CHECK_CONTAINS(message_of([&] { yolo::load_json(folder / "none.json"); }), "does not exist");
}
