#include <support/doctest.hpp>
#include <support/files.hpp>

#include <yolo/io/tensorboard.hpp>

#include <bit>
#include <limits>
#include <set>

namespace fs = std::filesystem;
using namespace std::string_literals;
using support::message_of;
using support::read_file;
using support::TemporaryFolder;
using yolo::TensorBoardWriter;

namespace {

std::uint64_t little(std::string_view bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
    return value;
}

// The checksum bit by bit, as it is defined.
std::uint32_t slow_crc32c(std::string_view bytes) {
    std::uint32_t crc = 0xFFFFFFFFu;
    for (char const c : bytes)
        for (int bit = 0; bit < 8; ++bit) {
            bool const odd = (crc ^ (static_cast<unsigned char>(c) >> bit)) & 1u;
            crc = crc >> 1 ^ (odd ? 0x82F63B78u : 0u);
        }
    return ~crc;
}

std::uint32_t masked(std::string_view bytes) {
    auto const crc = slow_crc32c(bytes);
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

// The records of an event file, every checksum checked.
std::vector<std::string> records(std::string const& file) {
    std::vector<std::string> found;
    for (std::string_view rest = file; !rest.empty();) {
        REQUIRE(rest.size() >= 16);
        auto const length = little(rest.substr(0, 8));
        CHECK(little(rest.substr(8, 4)) == masked(rest.substr(0, 8)));
        REQUIRE(rest.size() >= 16 + length);
        auto const data = rest.substr(12, length);
        CHECK(little(rest.substr(12 + length, 4)) == masked(data));
        found.emplace_back(data);
        rest.remove_prefix(16 + length);
    }
    return found;
}

// A message's fields in order: number, then the bytes of a text, a fixed number, or an integer as eight bytes.
std::vector<std::pair<unsigned, std::string>> fields(std::string_view message) {
    std::vector<std::pair<unsigned, std::string>> found;
    auto const variable = [&] {
        std::uint64_t value = 0;
        for (int shift = 0;; shift += 7) {
            auto const byte = static_cast<unsigned char>(message.at(0));
            message.remove_prefix(1);
            value |= std::uint64_t{byte & 0x7Fu} << shift;
            if (byte < 0x80) return value;
        }
    };
    while (!message.empty()) {
        auto const key = variable();
        std::size_t size = 0;
        if ((key & 7) == 0) {
            auto const value = variable();
            found.emplace_back(key >> 3, std::string(reinterpret_cast<char const*>(&value), 8));
            continue;
        }
        size = (key & 7) == 1 ? 8 : (key & 7) == 5 ? 4 : variable();
        found.emplace_back(key >> 3, message.substr(0, size));
        message.remove_prefix(size);
    }
    return found;
}

float real32(std::string const& bytes) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(little(bytes)));
}

// Grey, 3 wide and 2 high: 0, 40, 80, ...
std::string small_png() {
    std::string_view const hex = "89504e470d0a1a0a0000000d4948445200000003000000020800000000b81f39c6000000104"
                                 "9444154789c6360d00860a85870020005"
                                 "f80259f414807e0000000049454e44ae426082";
    std::string bytes;
    for (std::size_t i = 0; i < hex.size(); i += 2)
        bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
    return bytes;
}

}  // namespace

TEST_CASE("CRC-32C equals the published values and its definition") {
    CHECK(yolo::crc32c("") == 0);
    CHECK(yolo::crc32c("123456789") == 0xE3069283u);
    CHECK(yolo::crc32c(std::string(32, '\0')) == 0x8A9136AAu);  // RFC 3720, B.4
    CHECK(yolo::crc32c(std::string(32, '\xff')) == 0x62A8AB43u);
    std::string text;
    for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 7);
    CHECK(yolo::crc32c(text) == slow_crc32c(text));
}

TEST_CASE("an event file holds its version, then what was written, each in a record with right checksums") {
    TemporaryFolder folder;
    std::vector<TensorBoardWriter::Scalar> const values{{"train/box_loss", 0.125},
                                                        {"metrics/mAP_0.5", 0.75},
                                                        {"bad", std::numeric_limits<double>::infinity()}};
    TensorBoardWriter writer(folder / "made/on/the/way");
    writer.scalars(300, values);
    writer.image("results", 301, small_png());
    auto const found = records(read_file(writer.path()));  // on the disk while the writer lives
    REQUIRE(found.size() == 3);

    auto const first = fields(found[0]), second = fields(found[1]), third = fields(found[2]);
    REQUIRE(first.size() == 3);
    CHECK(std::bit_cast<double>(little(first[0].second)) > 1.7e9);  // seconds since 1970
    CHECK(first[2] == std::pair{3u, "brain.Event:2"s});

    REQUIRE(second.size() == 3);
    CHECK(second[1].first == 2);
    CHECK(little(second[1].second) == 300);
    CHECK(second[2].first == 5);
    auto const summary = fields(second[2].second);
    REQUIRE(summary.size() == values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        CHECK(summary[i].first == 1);
        auto const value = fields(summary[i].second);
        CHECK(value.at(0) == std::pair{1u, values[i].first});
        CHECK(value.at(1).first == 2);
        CHECK(real32(value.at(1).second) == static_cast<float>(values[i].second));
    }

    CHECK(little(third[1].second) == 301);
    auto const value = fields(fields(third[2].second).at(0).second);
    CHECK(value.at(0) == std::pair{1u, "results"s});
    auto const image = fields(value.at(1).second);
    CHECK(value.at(1).first == 4);
    REQUIRE(image.size() == 4);
    CHECK(little(image[0].second) == 2);  // height
    CHECK(little(image[1].second) == 3);
    CHECK(little(image[2].second) == 1);  // channels
    CHECK(image[3] == std::pair{4u, small_png()});
}

TEST_CASE("every writer has a file of its own; what cannot be written is said with the file's name") {
    TemporaryFolder folder;
    std::set<fs::path> files;
    for (int i = 0; i < 3; ++i) {
        TensorBoardWriter const writer(folder.path());
        CHECK(writer.path().filename().string().starts_with("events.out.tfevents."));
        files.insert(writer.path());
    }
    CHECK(files.size() == 3);

    std::ofstream(folder / "file") << "no folder";
    CHECK(message_of([&] { TensorBoardWriter(folder / "file"); }).find("may you write") != std::string::npos);
    TensorBoardWriter writer(folder.path());
    CHECK(message_of([&] { writer.image("x", 0, "JFIF"); }).find("is no PNG") != std::string::npos);
    CHECK(records(read_file(writer.path())).size() == 1);
}

TEST_CASE("the package tensorboard reads scalars and pictures, also those of a resumed run") {
    auto const* python = std::getenv("QAT_PYTHON");
    if (!python || !*python ||
        std::system((python + " -c 'import tensorboard' 2> /dev/null"s).c_str()) != 0) {
        std::cout << "skipped: the package tensorboard (set QAT_PYTHON to a python that has it; "
                     "install_dependencies.sh --torch2 makes one)\n";
        if (std::getenv("CI")) FAIL("CI needs the package tensorboard");
        return;
    }
    TemporaryFolder folder;
    for (int half = 0; half < 2; ++half) {  // a run, and its continuation
        TensorBoardWriter writer(folder.path());
        for (int epoch = 3 * half; epoch < 3 * half + 3; ++epoch) {
            std::vector<TensorBoardWriter::Scalar> const values{{"train/box_loss", 1.0 / (epoch + 1)},
                                                                {"metrics/mAP_0.5", 0.1 * epoch}};
            writer.scalars(epoch, values);
        }
        if (half == 1) writer.image("results", 5, small_png());
    }
    auto const script = fs::path(__FILE__).parent_path() / "tensorboard_reads.py";
    CHECK(std::system((python + " -W ignore "s + script.string() + " " + folder.path().string()).c_str()) ==
          0);
}
