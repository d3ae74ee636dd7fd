#include <support/doctest.hpp>
#include <support/files.hpp>

#include <yolo/data/dataset.hpp>
#include <yolo/data/random.hpp>
#include <yolo/io/dataset_yaml.hpp>

#include <chrono>

namespace fs = std::filesystem;
using namespace yolo;
using support::contains;
using support::message_of;
using support::read_file;
using support::TemporaryFolder;
using support::write_file;

namespace {

void write_picture(fs::path const& path, int height, int width) {
    fs::create_directories(path.parent_path());
    cv::Mat image(height, width, CV_8UC3);
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            image.at<cv::Vec3b>(y, x) = {static_cast<uchar>(x), static_cast<uchar>(y),
                                         static_cast<uchar>(x * y)};
    REQUIRE(cv::imwrite(path.string(), image));
}

double seconds(auto const& f) {
    auto const start = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string big_endian(std::uint32_t value, int bytes) {
    std::string text;
    for (int i = bytes; i-- > 0;) text += static_cast<char>(value >> 8 * i & 0xff);
    return text;
}

std::string png_chunk(std::string const& type, std::string const& data) {
    std::string const body = type + data;
    return big_endian(static_cast<std::uint32_t>(data.size()), 4) + body +
           big_endian(crc32(std::as_bytes(std::span(body))), 4);
}

/// A TIFF block with nothing but an orientation.
std::string exif(int orientation) {
    return std::string("MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", 19) +
           static_cast<char>(orientation) + std::string(6, '\0');
}

/// The PNG with another size in its header.
std::string claim(std::string png, std::uint32_t width, std::uint32_t height) {
    std::string const header =
        png_chunk("IHDR", big_endian(width, 4) + big_endian(height, 4) + png.substr(24, 5));
    return png.replace(8, header.size(), header);
}

std::string all_messages(Dataset const& dataset) {
    std::string text;
    for (auto const& line : dataset.summary().messages) text += line + "\n";
    return text;
}

bool same_items(Dataset const& a, Dataset const& b) {
    auto const equal = [](DatasetItem const& x, DatasetItem const& y) {
        return x.image == y.image && x.size == y.size && x.boxes == y.boxes && x.segments == y.segments;
    };
    return a.summary().messages == b.summary().messages && to_string(a.summary()) == to_string(b.summary()) &&
           std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(), equal);
}

}  // namespace

// ---- labels ----

TEST_CASE("a bad row of labels is left out with line and reason, the good ones stay") {
    auto const reason = [](std::string const& text) { return parse_labels(text).first_problem; };
    CHECK(reason("0 .5 .5 .1 .1\n0 .5 .5 .1") ==
          "line 2: 4 columns, want 5 (or a class and 3 or more points)");
    CHECK(contains(reason("0 .5 .5 .1 .1 .1"), "6 columns"));
    CHECK(contains(reason("0 .5 .5 .1 .1 .1 .1 .1"), "8 columns"));
    CHECK(contains(reason("0 .5 .5 1.01 .1"), "above 1"));
    CHECK(contains(reason("0 .5 -.5 .1 .1"), "negative"));
    CHECK(contains(reason("0 .5 nan .1 .1"), "not finite"));
    CHECK(contains(reason("0 .5 .5 -inf .1"), "not finite"));
    CHECK(contains(reason("0 .5 .5 1e60 .1"), "not finite"));
    CHECK(contains(reason("0 .5 .5 .1 .5 .1 nan"), "not finite"));
    CHECK(contains(reason("0 .1 inf .5 .1 .5 .1"), "not finite"));
    CHECK(contains(reason("0 0x1p-1 .5 .1 .1"), "'0x1p-1' is not a number"));
    CHECK(contains(reason("-1 .5 .5 .1 .1"), "class"));
    CHECK(contains(reason("1.5 .5 .5 .1 .1"), "class"));
    CHECK(contains(reason("nan .5 .5 .1 .1"), "class"));
    CHECK(contains(reason("99999999999999999999999 .5 .5 .1 .1"), "the class is above 999999"));
    CHECK(contains(reason("cat .5 .5 .1 .1"), "'cat' is not a number"));
    CHECK(contains(reason("0 .5 .5 .1 .1x"), "'.1x' is not a number"));
    CHECK(contains(reason(std::string("\xff\xd8\xff\xe0\0\x10", 6)), "'\?\?\?\?\?\?' is not a number"));

    Labels const labels =
        parse_labels("7 .5 .5 .1 .1\n0 .5 .5 .1 1.5\n0 a b c d\n0 2 .5 .1 .1\n8 .5 .5 0 1\n");
    REQUIRE(labels.boxes.size() == 2);
    CHECK(labels.boxes[0].cls == 7);
    CHECK(labels.boxes[1].cls == 8);
    CHECK(labels.out_of_range == 2);
    CHECK(labels.malformed == 1);
    CHECK(contains(labels.first_problem, "line 2: "));
}

TEST_CASE("tabs, empty lines, a byte order mark and all three line ends are read") {
    Labels const wanted = parse_labels("1 0.5 0.5 0.25 0.25\n2 0.5 0.5 0.25 0.25");
    REQUIRE(wanted.boxes.size() == 2);
    for (std::string const text : {"\xef\xbb\xbf"
                                   "1 0.5 0.5 0.25 0.25\n2 0.5 0.5 0.25 0.25\n",
                                   "\t1\t0.5  .5 0.25 +0.25\t\r\n\r\n2 5e-1 0.5 0.25 0.25\r\n",
                                   "1 0.5 0.5 0.25 0.25\r2 0.5 0.5 0.25 0.25\r",
                                   "\n\n1 0.5 0.5 0.25 0.25 \n \n"
                                   "2.0 0.50 0.5 0.25 0.25\n\n\n"})
        CHECK(parse_labels(text) == wanted);
    CHECK(contains(parse_labels("1 .5 .5 .1 .1\r\n\r\n\rx").first_problem, "line 4: "));
}

TEST_CASE("polygons are kept beside their boxes, whichever rows are left out") {
    CHECK(parse_labels("1 .5 .5 .1 .1\n").segments.empty());
    Labels const labels = parse_labels("3 0.25 0.5 0.75 0.25 0.5 0.75\n"
                                       "1 2 2 2 2\n"
                                       "2 0.5 0.5 0.5 0.25\n"
                                       "3 0.75 0.25 0.25 0.5 0.5 0.75\n"  // the same box
                                       "4 -0.125 0.5 0.75 0.5 0.5 0.75 0.5 0.625\n");
    REQUIRE(labels.boxes.size() == 3);
    CHECK(labels.duplicates == 1);
    CHECK(labels.out_of_range == 1);
    REQUIRE(labels.segments.size() == 3);
    CHECK((labels.segments[0] == Segment{{0.25f, 0.5f}, {0.75f, 0.25f}, {0.5f, 0.75f}}));
    CHECK(labels.boxes[1] == Box{2, 0.5f, 0.5f, 0.5f, 0.25f});
    CHECK(
        (labels.segments[1] == Segment{{0.25f, 0.375f}, {0.75f, 0.375f}, {0.75f, 0.625f}, {0.25f, 0.625f}}));
    CHECK(labels.boxes[2] == Box{4, 0.3125f, 0.625f, 0.875f, 0.25f});  // the box counts, not its points
    CHECK(labels.segments[2].size() == 4);
}

TEST_CASE("a million rows and a million columns are read in a moment") {
    std::string rows, copies, bad, row = "5";
    for (int i = 0; i < 1'000'000; ++i) {
        char line[64];
        std::snprintf(line, sizeof line, "%d 0.%06d 0.5 0.1 0.1\n", i % 80, i);
        rows += line, copies += "1 .5 .5 .1 .1\n", bad += "1 .5 .5 .1 x\n", row += " 0.5 0.25";
    }
    TemporaryFolder const folder;
    write_file(folder / "rows.txt", rows);
    double const took = seconds([&] {
        CHECK(read_labels(folder / "rows.txt").boxes.size() == 1'000'000);
        CHECK(parse_labels(copies).duplicates == 999'999);
        CHECK(parse_labels(bad).malformed == 1'000'000);
        CHECK(parse_labels(row).segments.at(0).size() == 1'000'000);
    });
    MESSAGE("four files: " << took << " s");
    CHECK(took < 20);                                               // a quadratic step would take hours
    fs::resize_file(folder / "rows.txt", std::uintmax_t{1} << 32);  // a hole
    CHECK(contains(message_of([&] { read_labels(folder / "rows.txt"); }), "larger than 256 MiB"));
}

// ---- pictures ----

TEST_CASE("sizes agree with what OpenCV decodes for all EXIF orientations of JPEG and PNG") {
    TemporaryFolder const folder;
    write_picture(folder / "a.jpg", 31, 57), write_picture(folder / "a.png", 31, 57);
    std::string const jpeg = read_file(folder / "a.jpg"), png = read_file(folder / "a.png");
    for (int orientation = 0; orientation <= 9; ++orientation) {
        std::string const block = std::string("Exif\0\0", 6) + exif(orientation);
        std::string turned = jpeg;
        turned.insert(2, "\xff\xe1" + big_endian(static_cast<std::uint32_t>(block.size()) + 2, 2) + block);
        write_file(folder / "turned.jpg", turned);
        turned = png;
        turned.insert(33, png_chunk("eXIf", exif(orientation)));
        write_file(folder / "turned.png", turned);
        for (std::string const name : {"turned.jpg", "turned.png"}) {
            CAPTURE(name);
            CAPTURE(orientation);
            cv::Mat const image = read_image(folder / name);
            CHECK(probe_image(folder / name) == ImageSize{image.rows, image.cols});
            if (name == "turned.jpg") CHECK((image.rows == 57) == (orientation >= 5 && orientation <= 8));
        }
    }
}

TEST_CASE("a picture with flipped bits has the decoder's size or a reason") {
    TemporaryFolder const folder;
    int refused = 0, decoded = 0;
    for (std::string const name : {"a.jpg", "a.png"}) {
        write_picture(folder / name, 24, 40);
        std::string const whole = read_file(folder / name);
        Random random(1);
        for (int i = 0; i < 150; ++i) {
            std::string bytes = whole;
            for (int flips = 1 + i % 3; flips > 0; --flips) {
                auto const at = static_cast<std::size_t>(random.integer(bytes.size()));
                bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.integer(8)));
            }
            write_file(folder / name, bytes);
            ImageSize size;
            std::string const reason = message_of([&] { size = probe_image(folder / name); });
            if (size.height == 0) {
                ++refused;
                CHECK(reason.size() > 8);
                continue;
            }
            try {
                cv::Mat const image = read_image(folder / name);
                ++decoded;
                CHECK(size == ImageSize{image.rows, image.cols});
            } catch (std::runtime_error const& error) {
                CHECK(contains(error.what(), (folder / name).string()));
            }
        }
    }
    CHECK(refused > 100);
    CHECK(decoded > 100);
}

TEST_CASE("very wide pictures are read, and headers that claim too much are refused without decoding") {
    TemporaryFolder const folder;
    write_picture(folder / "wide.png", 12, 30'000), write_picture(folder / "wide.jpg", 12, 30'000);
    for (std::string const name : {"wide.png", "wide.jpg"}) {
        CHECK(probe_image(folder / name) == ImageSize{12, 30'000});
        CHECK(read_image(folder / name).cols == 30'000);
    }
    auto const reason = [&](std::string const& name, std::string const& bytes) {
        write_file(folder / name, bytes);
        return message_of([&] { probe_image(folder / name); });
    };
    std::string const png = read_file(folder / "wide.png");
    CHECK(contains(reason("claim.png", claim(png, 60'000, 60'000)), "claims 60000 x 60000 pixels"));
    CHECK(contains(reason("claim.png", claim(png, 30'000, 30'000)), "its data hold less"));
    CHECK(contains(reason("claim.png", claim(png, 0xffffffff, 16)), "header is broken"));
    CHECK(contains(reason("claim.png", claim(png, 0x7fffffff, 0x7fffffff)), "pixels"));
    std::string const much = png_chunk("IDAT", std::string(5 << 20, '\0'));
    CHECK(contains(reason("claim.png", claim(png, 40'000, 40'000).insert(33, much)), "OpenCV's limits"));

    write_picture(folder / "small.jpg", 16, 16);
    std::string jpeg = read_file(folder / "small.jpg");
    auto const frame = jpeg.find("\xff\xc0");
    REQUIRE(frame != std::string::npos);
    jpeg.replace(frame + 5, 4, big_endian(60'000, 2) + big_endian(60'000, 2));
    CHECK(contains(reason("claim.jpg", jpeg), "60000 x 60000 pixels, want at most 2^30"));

    std::string bmp = "BM" + std::string(52, '\0');
    bmp[10] = 54, bmp[14] = 40, bmp[26] = 1, bmp[28] = 24;
    for (std::size_t const at : {18u, 22u}) bmp.replace(at, 4, std::string("\x60\xea\0\0", 4));  // 60,000
    CHECK(contains(reason("claim.bmp", bmp), "more pixels than OpenCV decodes"));
}

// ---- which pictures ----

TEST_CASE("circles of links end, and each picture is found once by its own name") {
    TemporaryFolder const folder;
    auto const images = folder / "images";
    write_picture(images / "real/deep/a.png", 12, 12);
    write_picture(images / "b.png", 12, 12);
    write_picture(folder / "pool/c.png", 12, 12);
    fs::create_directory_symlink(images, images / "real/deep/loop");
    fs::create_directory_symlink("..", images / "real/up");
    fs::create_directory_symlink("real", images / "alias");  // its name sorts before the folder's
    fs::create_directory_symlink(folder / "pool", images / "pool");
    fs::create_directory_symlink("self", images / "self");
    fs::create_symlink("gone.png", images / "dangling.png");
    fs::create_symlink("round.png", images / "round.png");
    fs::create_symlink("b.png", images / "other.png");  // has its own labels
    CHECK(find_images({images}) == std::vector<fs::path>{images / "b.png", images / "dangling.png",
                                                         images / "other.png", images / "pool/c.png",
                                                         images / "real/deep/a.png", images / "round.png"});
    Dataset const dataset({images}, 0);
    CHECK(dataset.size() == 4);
    CHECK(contains(all_messages(dataset), "round.png: no such file; the image is left out"));
}

TEST_CASE("names that are no UTF-8, and pipes that nobody writes to, do no harm") {
    TemporaryFolder const folder;
    std::string const name = "caf\xe9 \xff\xfe\n.png";
    write_picture(folder.path() / "images" / name, 20, 30);
    write_file(folder.path() / "labels" / "caf\xe9 \xff\xfe\n.txt", "0 .5 .5 .1 .1\nx\n");
    write_picture(folder / "images/p.png", 20, 30);
    REQUIRE(::mkfifo((folder / "images/pipe.png").c_str(), 0600) == 0);
    REQUIRE(::mkfifo((folder / "labels/p.txt").c_str(), 0600) == 0);
    for (int i = 0; i < 2; ++i) {  // from the cache, too
        Dataset const dataset({folder / "images"}, {.classes = 1});
        REQUIRE(dataset.size() == 2);
        CHECK(dataset[0].image.filename().string() == name);
        CHECK(dataset[0].boxes.size() == 1);
        CHECK(dataset.summary().missing == 1);
        CHECK(contains(all_messages(dataset), "caf\xe9 \xff\xfe\n.txt: line 2: "));
        CHECK(dataset.summary().from_cache == 2 * i);
    }
}

TEST_CASE("a list names pictures from the working directory, or else from its own folder") {
    TemporaryFolder const folder;
    for (std::string const name : {"set/images/a.png", "set/images/b.png", "here/images/b.png"})
        write_picture(folder / name, 12, 12);
    auto const here = fs::current_path();
    fs::current_path(folder / "here");
    write_file(folder / "set/list.txt",
               "\xef\xbb\xbf./images/a.png\r\nimages/b.png\nimages/a.png\n\nnotes\n" +
                   (folder / "here/images/b.png").string() + "\nimages/none.png\n");
    fs::copy_file(folder / "set/list.txt", folder / "set/list");
    auto const found = find_images({folder / "set/list.txt"}), same = find_images({folder / "set/list"});
    fs::current_path(here);
    CHECK(found == std::vector<fs::path>{"images/b.png", "images/none.png", folder / "here/images/b.png",
                                         folder / "set/images/a.png", folder / "set/images/a.png"});
    CHECK(same == found);
}

TEST_CASE("a picture that is named twice is there twice, from the cache, too") {
    TemporaryFolder const folder;
    write_picture(folder / "images/a.png", 20, 30);
    write_picture(folder / "images/b.png", 20, 30);
    write_file(folder / "labels/a.txt", "0 .5 .5 .1 .1\n");
    write_file(folder / "list.txt", "./images/a.png\n./images/b.png\n./images/a.png\n");
    for (int i = 0; i < 2; ++i) {
        Dataset const dataset({folder / "list.txt"}, {.classes = 1});
        REQUIRE(dataset.size() == 3);
        CHECK(dataset[0].image == dataset[1].image);
        CHECK((dataset[0].boxes.size() == 1 && dataset[1].boxes.size() == 1 && dataset[2].boxes.empty()));
        CHECK(dataset.summary().from_cache == 3 * i);
    }
}

// ---- the scan ----

TEST_CASE("a scan counts what it leaves out and keeps pictures that have a good row") {
    TemporaryFolder const folder;
    std::vector<std::string> const labels{"0 .5 .5 .1 .1\n0 .5 .5 .1 2\n1 .5\n", "x\n", "\n",
                                          "3 .5 .5 .1 .1\n3 .5 .5 .1 .1\n"};
    for (std::size_t i = 0; i < labels.size(); ++i) {
        write_picture(folder / ("images/p" + std::to_string(i) + ".png"), 20, 30);
        write_file(folder / ("labels/p" + std::to_string(i) + ".txt"), labels[i]);
    }
    write_picture(folder / "images/q.png", 20, 30);
    std::vector<std::size_t> steps;
    Dataset const dataset({folder / "images"},
                          {.cache = false, .progress = [&](std::size_t done, std::size_t total) {
                               CHECK(total == 5);
                               steps.push_back(done);
                           }});
    CHECK(steps == std::vector<std::size_t>{1, 2, 3, 4, 5});
    CHECK(to_string(dataset.summary()) ==
          "3 found, 1 missing, 1 empty, 1 corrupt, 1 rows twice, 1 rows out of range, 2 rows malformed");
    std::string const messages = all_messages(dataset);
    INFO(messages);
    CHECK(contains(messages, "p0.txt: line 2: a coordinate is above 1"));
    CHECK(contains(messages, "; left out: 1 rows out of range, 1 malformed\n"));
    CHECK(
        contains(messages, "p1.txt: line 1: 'x' is not a number; it has no good row; the image is left out"));
    CHECK(contains(messages, "p3.txt: 1 duplicate rows left out"));
    CHECK(dataset.summary().messages.size() == 3);
    CHECK(dataset.size() == 4);
    CHECK_FALSE(fs::exists(folder / "labels.cache.qat"));

    CHECK(contains(message_of([&] { Dataset({folder / "images"}, 3); }), "p3.txt: class 3, but the data"));
    Dataset const single({folder / "images"}, {.classes = 1, .single_class = true, .cache = false});
    CHECK(single[2].boxes.at(0).cls == 0);
    CHECK_THROWS_WITH(
        Dataset({folder / "images"},
                {.cache = false, .progress = [](auto, auto) { throw std::runtime_error("stop"); }}),
        "stop");
}

TEST_CASE("a scan is kept in a file, and what has changed is looked at again") {
    TemporaryFolder const folder;
    auto const image = [&](int i) { return folder / ("images/train/p" + std::to_string(i) + ".png"); };
    auto const label = [&](int i) { return folder / ("labels/train/p" + std::to_string(i) + ".txt"); };
    for (int i = 0; i < 20; ++i) write_picture(image(i), 20 + i, 30), write_file(label(i), "0 .5 .5 .1 .1\n");
    write_file(label(3), "1 .1 .1 .5 .1 .5 .5\n2 .5 .5 .1 9\n");
    auto const cache = folder / "labels/train.cache.qat";
    auto const scanned = [&] { return Dataset({folder / "images/train"}, ScanOptions{}); };
    auto const plain = [&] { return Dataset({folder / "images/train"}, 0); };
    auto const reused = [&](int wanted) {
        Dataset const dataset = scanned();
        CHECK(dataset.summary().from_cache == wanted);
        CHECK(same_items(dataset, plain()));
        CHECK(dataset.summary().notes.empty());
    };
    reused(0);
    REQUIRE(fs::exists(cache));
    reused(20);
    CHECK(plain()[13].segments.size() == 1);  // p3, after p0, p1, p10 to p19 and p2

    auto const written = fs::last_write_time(cache);
    reused(20);
    CHECK(fs::last_write_time(cache) == written);

    write_file(label(5), "0 .5 .5 .1 .1\n1 .5 .5 .1 .1\n");
    reused(19);
    fs::remove(label(6));
    reused(19);
    write_picture(image(7), 50, 50);
    reused(19);
    fs::last_write_time(image(8), fs::last_write_time(image(8)) + std::chrono::seconds(1));
    reused(19);
    write_picture(image(20), 12, 12);
    reused(20);
    fs::remove(image(0));
    reused(20);
    reused(20);

    // What was broken may have been a matter of rights: it is always looked at again.
    write_file(image(9), "");
    reused(19);
    reused(19);
    fs::remove(image(9));

    // The same label with other options.
    CHECK(contains(message_of([&] { Dataset({folder / "images/train"}, {.classes = 1}); }), "class 1"));
    CHECK(Dataset({folder / "images/train"}, {.classes = 1, .single_class = true}).summary().from_cache ==
          19);
}

TEST_CASE("a damaged cache is rebuilt, and one that cannot be written is no error") {
    TemporaryFolder const folder;
    for (int i = 0; i < 3; ++i) write_picture(folder / ("images/" + std::to_string(i) + ".png"), 20, 30);
    write_file(folder / "labels/1.txt", "1 .1 .1 .5 .1 .5 .5\n2 .5 .5 .1 9\n");
    auto const cache = folder / "labels.cache.qat";
    Dataset const wanted({folder / "images"}, ScanOptions{});
    std::string const whole = read_file(cache);
    auto const check = [&](std::string const& content, std::string const& why) {
        write_file(cache, content);
        Dataset const dataset({folder / "images"}, ScanOptions{});
        REQUIRE(same_items(dataset, wanted));
        REQUIRE(dataset.summary().from_cache == 0);
        REQUIRE(dataset.summary().notes.size() == 1);
        CHECK_MESSAGE(contains(dataset.summary().notes[0], why), dataset.summary().notes[0]);
        REQUIRE(read_file(cache) == whole);
    };
    check("", "labels.cache.qat cannot be used: it is no scan");
    check(whole.substr(0, whole.size() - 1), "its checksum is wrong");
    check(whole + "x", "its checksum is wrong");
    check("qat scan" + std::string("\2\0\0\0", 4) + whole.substr(12), "version 2, not 1");
    for (std::size_t i = 0; i < whole.size(); ++i) {  // every bit, and every length
        std::string flipped = whole;
        flipped[i] = static_cast<char>(flipped[i] ^ 1 << i % 8);
        CHECK_THROWS_AS(unpack_scan(flipped), std::runtime_error);
        CHECK_THROWS_AS(unpack_scan(whole.substr(0, i)), std::runtime_error);
    }
    auto const sealed = [](std::string const& body) {
        yolo::detail::ScanWriter out;
        out.bytes = "qat scan", out.number(yolo::detail::scan_version), out.bytes += body;
        out.number(yolo::detail::scan_checksum(out.bytes));
        return out.bytes;
    };
    check(sealed(std::string(7, '\xff') + "\x0f"), "contradicts itself");  // 2^60 entries
    check(sealed(std::string("\1\0\0\0\0\0\0\0", 8) + std::string(80, '\xff')), "contradicts itself");
    check(sealed(std::string(9, '\0')), "something follows");

    fs::remove(cache);
    fs::create_directory(cache);  // nobody can write that, not even root
    Dataset const dataset({folder / "images"}, ScanOptions{});
    CHECK(same_items(dataset, wanted));
    REQUIRE(dataset.summary().notes.size() == 1);
    CHECK(contains(dataset.summary().notes[0], "the next run scans the data set again"));
}

TEST_CASE("the cache of a list lies beside the list") {
    CHECK(scan_cache_path("/d/images/train", "/d/images/train/a.jpg") == "/d/labels/train.cache.qat");
    CHECK(scan_cache_path("/d/images", "/d/images/a.jpg") == "/d/labels.cache.qat");
    TemporaryFolder const folder;
    write_picture(folder / "images/a.png", 12, 12);
    write_file(folder / "train.txt", "./images/a.png\n"), write_file(folder / "val.txt", "./images/a.png\n");
    for (std::string const name : {"train", "val"}) {
        CHECK(Dataset({folder / (name + ".txt")}, ScanOptions{}).size() == 1);
        CHECK(fs::exists(folder / (name + ".cache.qat")));
    }
}

// ---- settings ----

TEST_CASE("YAML that unfolds without end, or refers to itself, is answered at once") {
    TemporaryFolder const folder;
    fs::create_directories(folder / "images");
    auto const answer = [&](std::string const& text) {
        write_file(folder / "data.yaml", "train: images\nval: images\n" + text);
        std::string message;
        CHECK(seconds([&] { message = message_of([&] { load_dataset_yaml(folder / "data.yaml"); }); }) < 5);
        return message;
    };
    std::string laughs = "l0: &l0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n";
    for (int i = 1; i < 40; ++i) {  // 10^40 times
        std::string const name = "l" + std::to_string(i), before = "*l" + std::to_string(i - 1);
        laughs += name + ": &" + name + " [" + before;
        for (int k = 1; k < 10; ++k) laughs += ", " + before;
        laughs += "]\n";
    }
    CHECK(contains(answer(laughs + "names: *l39\n"), "data.yaml:"));
    CHECK(contains(answer(laughs + "names: *l39\n"), "class 0 has no name"));
    CHECK(contains(answer(laughs + "test: *l39\nnames: *l0\n"), "neither a path nor a list"));
    CHECK(answer(laughs + "names: *l0\n") == "(no error)");
    CHECK(contains(answer("names: &n [a, *n]\n"), "class 1 has no name"));
    CHECK(contains(answer("names: &n {0: a, 1: *n}\n"), "a class is not written as"));
    CHECK(contains(answer("names: [a, [b]]\n"), "class 1 has no name"));
    CHECK(contains(answer("names: [a, ]\ntest: " + std::string(2000, '[')), "nested too deeply"));
    std::string keys = "names: [a]\n";
    for (int i = 0; i < 60'000; ++i) keys += "k" + std::to_string(i) + ": 1\n";
    CHECK(answer(keys) == "(no error)");
}

TEST_CASE("a data set of a single class keeps its name if it has one") {
    DatasetOptions data;
    data.names = {"cat", "dog"}, data.classes = 2;
    CHECK(single_class(data).names == std::vector<std::string>{"item"});
    CHECK(single_class(data).classes == 1);
    data.names = {"cat"}, data.classes = 1;
    CHECK(single_class(data).names == data.names);
}

TEST_SUITE("shared") {
    TEST_CASE("coco128 is scanned once") {
        NEEDS_SHARED("data/coco128/images/train2017");
        TemporaryFolder const folder;
        auto const images = find_images({support::shared("data/coco128/images/train2017")});
        auto const first = scan(images, folder / "coco128.cache.qat");
        ScanResult again;
        double const took = seconds([&] { again = scan(images, folder / "coco128.cache.qat"); });
        MESSAGE("from the cache: " << 1e3 * took << " ms");
        CHECK(took < 0.1);
        CHECK(again.from_cache == 128);
        CHECK((again.entries == first.entries));
        std::size_t boxes = 0, labelled = 0;
        for (ScanEntry const& entry : again.entries)
            boxes += entry.labels.boxes.size(), labelled += entry.kind == ScanEntry::Kind::labelled;
        CHECK(boxes == 929);
        CHECK(labelled == 126);
    }
}
