// yolo-detect without its network: what it reads, how pictures are placed, what comes back, what it writes; and
// validation's options, with a detector whose answers are easy to compute.

#include <support/doctest.hpp>
#include <support/files.hpp>

#include <qat/ops/signal.hpp>
#include <yolo/apps/detect_output.hpp>
#include <yolo/apps/half.hpp>
#include <yolo/train/detect_picture.hpp>
#include <yolo/train/validate.hpp>

namespace fs = std::filesystem;
using namespace yolo;
using support::contains;
using support::message_of;
using support::read_file;
using support::TemporaryFolder;
using support::write_file;

namespace {

/// The logits of a cell are a fixed mixture of the mean colour below it.
class ColourDetector final : public Detector {
public:
    explicit ColourDetector(std::int64_t classes = 3) : Detector({.classes = classes}) {
        mixture_ = module_->register_parameter(
            "mixture", torch::sin(torch::arange(3 * (5 + classes) * 3, torch::kFloat) * 1.7f)
                           .mul_(4)
                           .view({3 * (5 + classes), 3, 1, 1}));
    }
    torch::nn::Module& module() override { return *module_; }
    qat::graph::Graph trace(qat::graph::Shape) override { throw std::runtime_error("none"); }
    std::unique_ptr<Detector> replicate() override { throw std::runtime_error("none"); }

private:
    Logits forward(torch::Tensor const& images) override {
        Logits out;
        for (std::size_t l = 0; l < 3; ++l)
            out[l] = qat::split_anchors(torch::conv2d(torch::avg_pool2d(images, strides[l]), mixture_), 3);
        return out;
    }
    std::shared_ptr<torch::nn::Module> module_ = std::make_shared<torch::nn::Module>();
    torch::Tensor mixture_;
};

/// Patches of colour, different from place to place.
cv::Mat patches(int height, int width, int seed = 0) {
    cv::Mat image(height, width, CV_8UC3);
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            image.at<cv::Vec3b>(y, x) = {static_cast<uchar>(x / 9 * 37 + seed),
                                         static_cast<uchar>(y / 7 * 53),
                                         static_cast<uchar>((x + 2 * y) / 11 * 29)};
    return image;
}

std::vector<std::string> below(fs::path const& folder, std::vector<fs::path> const& paths) {
    std::vector<std::string> names;
    for (auto const& path : paths) names.push_back(fs::relative(path, folder).string());
    return names;
}
using Names = std::vector<std::string>;

torch::Tensor rows(std::vector<float> const& values) {
    return torch::tensor(values).view({static_cast<std::int64_t>(values.size() / 6), 6});
}
}  // namespace

TEST_CASE("a picture fills its rectangle, enlarged if need be, with bars below a stride") {
    struct Case {
        int height0, width0, height, width, placed_height, placed_width;
    };
    for (auto const& c : {Case{480, 640, 640, 640, 480, 640},  // as it is
                          Case{375, 500, 640, 640, 480, 640},  // 1.28 as large
                          Case{100, 37, 320, 320, 320, 128},   // 118 + 10
                          Case{427, 640, 320, 320, 224, 320},  // 213.5 -> 214 + 10
                          Case{720, 1280, 384, 640, 384, 640}}) {
        auto const input =
            picture_input(cv::Mat(c.height0, c.width0, CV_8UC3, cv::Scalar::all(7)), c.height, c.width);
        CHECK(input.sizes() == at::IntArrayRef({1, 3, c.placed_height, c.placed_width}));
    }
    auto const input = picture_input(patches(100, 37), 320, 320);
    CHECK(input[0][0][0][4].item<int>() == padding_grey);  // 5 grey columns on each side
    CHECK(input[0].slice(2, 0, 5).eq(padding_grey).all().item<bool>());
    CHECK(input[0].slice(2, 123, 128).eq(padding_grey).all().item<bool>());
    CHECK_FALSE(input[0].select(2, 5).eq(padding_grey).all().item<bool>());
}

TEST_CASE("boxes are those of the letterbox, in whole pixels of the picture") {
    ColourDetector detector;
    PictureOptions options;
    options.height = options.width = 320;
    cv::Mat const picture = patches(100, 37);
    auto const boxes = detect_picture(detector, picture, options);
    REQUIRE(boxes.size(0) > 3);

    // The same by hand: 3.2 as large, 118 of 128 columns.
    cv::Mat inner, placed;
    cv::resize(picture, inner, {118, 320}, 0, 0, cv::INTER_LINEAR);
    cv::copyMakeBorder(inner, placed, 0, 0, 5, 5, cv::BORDER_CONSTANT, cv::Scalar::all(114));
    auto const bgr = torch::from_blob(placed.data, {320, 128, 3}, torch::kUInt8);
    auto const rgb = bgr.flip(2).permute({2, 0, 1}).unsqueeze(0).contiguous();  // [1, 3, 320, 128]
    auto const found = nms(decode(detector(rgb), detector.options()), options.nms)[0];
    REQUIRE(found.sizes() == boxes.sizes());
    double const gain = std::min(320.0 / 100, 128.0 / 37), pad_w = (128 - 37 * gain) / 2;
    for (std::int64_t i = 0; i < boxes.size(0); ++i) {
        auto const at = [&](torch::Tensor const& t, int column) { return t[i][column].item<double>(); };
        for (int const k : {0, 2})
            CHECK(at(boxes, k) == std::nearbyint(std::clamp((at(found, k) - pad_w) / gain, 0.0, 37.0)));
        for (int const k : {1, 3})
            CHECK(at(boxes, k) == std::nearbyint(std::clamp(at(found, k) / gain, 0.0, 100.0)));
        CHECK(at(boxes, 4) == doctest::Approx(at(found, 4)).epsilon(1e-5));
        CHECK(at(boxes, 5) == at(found, 5));
    }
}

TEST_CASE("what evaluation hands to the network is the picture's bytes / 255") {
    auto const bytes = torch::randint(0, 256, {2, 3, 32, 64}, torch::kUInt8);
    CHECK(torch::equal(network_input(bytes, torch::kCPU), bytes.to(torch::kFloat) / 255));
}

TEST_CASE("test-time augmentation is three views, brought back to the first") {
    ColourDetector detector;
    auto const images = torch::rand({2, 3, 64, 96});
    auto const found = augmented_predictions(detector, images);

    auto const view =
        [&](double scale, bool mirrored) {  // [2, 3, H, W] slowly: bilinear, grey up to whole strides
        auto const h = static_cast<int>(64 * scale), w = static_cast<int>(96 * scale);
        auto const strides_of = [&](int side) {
            return static_cast<std::int64_t>(std::ceil(side * scale / 32)) * 32;
        };
        auto result = torch::full({2, 3, strides_of(64), strides_of(96)}, 0.447f);
        auto const from = images.accessor<float, 4>();
        auto to = result.accessor<float, 4>();
        auto const place = [](int i, int size, int size0) {
            return std::max(0.0, (i + 0.5) * size0 / size - 0.5);
        };
        for (int n = 0; n < 2; ++n)
            for (int c = 0; c < 3; ++c)
                for (int y = 0; y < h; ++y)
                    for (int x = 0; x < w; ++x) {
                        double const fy = place(y, h, 64), fx = place(x, w, 96);
                        int const y0 = static_cast<int>(fy), x0 = static_cast<int>(fx);
                        auto const at = [&](int row, int column) {
                            column = std::min(column, 95);
                            return double{from[n][c][std::min(row, 63)][mirrored ? 95 - column : column]};
                        };
                        double const low = at(y0, x0) * (x0 + 1 - fx) + at(y0, x0 + 1) * (fx - x0);
                        double const high = at(y0 + 1, x0) * (x0 + 1 - fx) + at(y0 + 1, x0 + 1) * (fx - x0);
                        to[n][c][y][x] = static_cast<float>(low * (y0 + 1 - fy) + high * (fy - y0));
                    }
        return decode(detector(result), detector.options());
    };
    auto first = view(1, false), second = view(0.83, true), third = view(0.67, false);
    second.slice(2, 0, 4) /= 0.83, third.slice(2, 0, 4) /= 0.67;
    second.select(2, 0) = 96 - second.select(2, 0);
    // each view has 64 x 96 pixels (the third is 42 x 64.32, and rounded up before it is cut): levels of 96, 24, 6 cells
    auto const wanted = torch::cat({first.slice(1, 0, 3 * (96 + 24)), second, third.slice(1, 3 * 96)}, 1);
    REQUIRE(found.sizes() == wanted.sizes());
    CHECK(support::relative_error(found, wanted) < 1e-5);
}

TEST_CASE("sources are files, folders, patterns and lists: pictures first, then videos") {
    TemporaryFolder const folder;
    auto const root = folder.path();
    for (auto const* name :
         {"b.jpg", "a.PNG", "c.mp4", "n.txt.bak", "sub/d.jpg", "sub/deep/e.jpeg", ".hidden.jpg"})
        write_file(root / name);
    auto const found = [&](fs::path const& source) { return below(root, apps::find_sources(source)); };
    CHECK(found(root) == Names{".hidden.jpg", "a.PNG", "b.jpg", "c.mp4"});  // nothing of sub, as in YOLOv5
    CHECK(found(root / "b.jpg") == Names{"b.jpg"});
    CHECK(found(root / "*") == Names{"a.PNG", "b.jpg", "c.mp4"});
    CHECK(found(root / "[ab].*") == Names{"a.PNG", "b.jpg"});
    CHECK(found(root / "*/?.jpg") == Names{"sub/d.jpg"});
    CHECK(found(root / "**/*.jp*g") == Names{"b.jpg", "sub/d.jpg", "sub/deep/e.jpeg"});
    write_file(root / "list.txt", (root / "c.mp4").string() + "\n\nsub\r\nb.jpg\n");
    CHECK(found(root / "list.txt") == Names{"sub/d.jpg", "b.jpg", "c.mp4"});

    CHECK(contains(message_of([&] { found(root / "none.jpg"); }),
                   "none.jpg: no such picture, video, folder or list"));
    CHECK(contains(message_of([&] { found(root / "*.webp"); }), "no picture or video in it"));
    CHECK(contains(message_of([&] { found(root / "none.txt"); }), "none.txt: no such list"));
    write_file(root / "wrong.txt", "b.jpg\nnone.jpg\n");
    CHECK(contains(message_of([&] { found(root / "wrong.txt"); }), "(in " + (root / "wrong.txt").string()));
    CHECK(contains(message_of([&] { found("rtsp://somewhere"); }), "cameras and streams are not read"));
}

TEST_CASE("a video is read in strides and written again") {
    TemporaryFolder const folder;
    fs::path file;
    {
        VideoWriter writer(folder / "v.avi", 25);
        for (int i = 1; i <= 5; ++i) writer.write(cv::Mat(48, 64, CV_8UC3, cv::Scalar::all(40 * i)));
        file = writer.file();
        CHECK(contains(message_of([&] { writer.write(cv::Mat(48, 48, CV_8UC3)); }), "a video has one size"));
    }
    auto const brightness = [&](int stride) {
        std::vector<int> seen;
        apps::FrameReader reader({file}, stride);
        for (apps::Frame frame; reader.next(frame);) {
            CHECK(frame.image.size() == cv::Size(64, 48));
            CHECK(frame.stem() == "v_" + std::to_string(seen.size() + 1));
            CHECK(frame.frames_per_second == doctest::Approx(25));
            seen.push_back(static_cast<int>(std::lround(cv::mean(frame.image)[1] / 40)));
        }
        CHECK_FALSE(reader.problem());
        return seen;
    };
    CHECK(brightness(1) == std::vector{1, 2, 3, 4, 5});
    CHECK(brightness(2) == std::vector{2, 4});  // YOLOv5 grabs twice before it looks

    write_file(folder / "broken.mp4", "no video");
    CHECK(contains(message_of([&] { VideoReader{folder / "broken.mp4"}; }), "broken.mp4: cannot be decoded"));
    CHECK(contains(message_of([&] {
                       VideoWriter{folder / "broken.mp4" / "v.mp4", 25}.write(cv::Mat(48, 64, CV_8UC3));
                   }),
                   "--nosave"));
}

TEST_CASE("what cannot be read is passed over and said") {
    TemporaryFolder const folder;
    write_file(folder / "a.jpg", "no picture"), write_file(folder / "c.avi", "no video");
    write_image(folder / "b.png", patches(20, 30));
    apps::FrameReader reader(apps::find_sources(folder.path()), 1);
    apps::Frame frame;
    CHECK_FALSE(reader.next(frame));
    CHECK(contains(reader.problem().value_or(""), "a.jpg"));
    CHECK(reader.next(frame));
    CHECK(frame.stem() == "b");
    CHECK_FALSE(reader.next(frame));
    CHECK(contains(reader.problem().value_or(""), "c.avi"));
    CHECK_FALSE(reader.next(frame));
    CHECK_FALSE(reader.problem());
}

TEST_CASE("label files are YOLOv5's") {
    auto const boxes = rows({10, 20, 30, 60, 0.875f, 2, 0, 0, 100, 50, 0.123456789f, 15});
    CHECK(apps::label_lines(boxes, 50, 100, apps::SaveConfidence::no) ==
          "2 0.2 0.8 0.2 0.8\n15 0.5 0.5 1 1\n");
    CHECK(
        apps::label_lines(boxes, 300, 700, apps::SaveConfidence::yes) ==
        "2 0.0285714 0.133333 0.0285714 0.133333 0.875\n15 0.0714286 0.0833333 0.142857 0.166667 0.123457\n");
    TemporaryFolder const folder;
    apps::LabelFiles files(folder / "labels", apps::SaveConfidence::no);
    files.save("none", rows({}), 50, 100);
    CHECK_FALSE(fs::exists(folder / "labels"));
    fs::create_directories(folder / "labels");
    write_file(folder / "labels" / "a.txt", "of another run");
    files.save("a", boxes.slice(0, 0, 1), 50, 100), files.save("a", boxes.slice(0, 1), 50, 100);
    CHECK(read_file(folder / "labels" / "a.txt") == "2 0.2 0.8 0.2 0.8\n15 0.5 0.5 1 1\n");
    write_file(folder / "file");
    apps::LabelFiles nowhere(folder / "file", apps::SaveConfidence::no);
    CHECK(contains(message_of([&] { nowhere.save("x", boxes, 50, 100); }), "x.txt"));
}

TEST_CASE("pictures, labels, cut-outs and JSON of a frame are written where YOLOv5 has them") {
    TemporaryFolder const folder;
    std::vector<std::string> const names{"cat", "dog"};
    // the most confident first
    auto const boxes = rows({10, 10, 40, 40, 0.9f, 1, 50, 20, 70, 50, 0.5f, 1, 5, 5, 15, 15, 0.25f, 0});
    apps::DetectionWriter writer(folder.path(), names, {.labels = true, .crops = true});
    apps::Frame frame{.image = patches(60, 80), .path = "somewhere/x.png"};
    writer.write(frame, boxes);
    CHECK(read_image(folder / "x.png").size() == cv::Size(80, 60));
    CHECK(cv::norm(read_image(folder / "x.png"), patches(60, 80), cv::NORM_INF) > 0);  // drawn upon
    auto const text = read_file(folder / "labels" / "x.txt");
    CHECK(text.starts_with("0 0.125 0.166667"));  // the least confident first
    CHECK(std::count(text.begin(), text.end(), '\n') == 3);
    CHECK(fs::exists(folder / "crops" / "cat" / "x.jpg"));
    CHECK(read_image(folder / "crops" / "dog" / "x.jpg").size() ==
          cv::Size(31, 41));  // from 44.8 to 75.2, 14.7 to 55.3
    CHECK(read_image(folder / "crops" / "dog" / "x2.jpg").size() == cv::Size(41, 41));  // from 4.7 to 45.3
    auto const json = writer.json();
    CHECK(json["images"][0]["image"] == "somewhere/x.png");
    CHECK(json["images"][0]["boxes"].size() == 3);
    CHECK(json["images"][0]["boxes"][0]["name"] == "dog");
    CHECK_FALSE(json["images"][0].contains("frame"));
    CHECK(apps::counts(boxes, names) == "1 cat, 2 dogs");
    CHECK(apps::counts(rows({}), names) == "nothing");

    apps::DetectionWriter silent(folder / "silent", names, {.pictures = false});
    silent.write(frame, boxes);
    CHECK_FALSE(fs::exists(folder / "silent"));

    apps::DetectionWriter film(folder / "film", names, {.labels = true});
    fs::create_directories(folder / "film");
    for (int i = 1; i <= 3; ++i) {
        apps::Frame next{
            .image = patches(48, 64), .path = "v.mov", .number = i, .count = 3, .frames_per_second = 10};
        film.write(next, boxes);
    }
    CHECK(film.json()["images"][2]["frame"] == 3);
    CHECK(fs::exists(folder / "film" / "labels" / "v_3.txt"));
    CHECK((fs::exists(folder / "film" / "v.mp4") || fs::exists(folder / "film" / "v.avi")));
}

TEST_CASE(
    "names from a checkpoint stay in their folder, and on pictures what the font lacks is one '?' a letter") {
    TemporaryFolder const folder;
    auto const boxes = rows({10, 10, 40, 40, 0.9f, 0, 50, 20, 70, 50, 0.5f, 1, 5, 5, 15, 15, 0.25f, 2});
    apps::save_crops(folder / "crops", "x", patches(60, 80), boxes, {"..", "../up", ""});
    for (auto const* name : {"0", ".._up", "2"})
        CHECK_MESSAGE(fs::exists(folder / "crops" / name / "x.jpg"), name);
    CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);

    std::vector<std::string> const names{"k\xc3\xa4se", "\xe6\xb1\x89\xe5\xad\x97", "a\tb"};
    CHECK(drawn_name(names, 0) == "k?se");
    CHECK(drawn_name(names, 1) == "1");
    CHECK(drawn_name(names, 2) == "a?b");
    CHECK(drawn_name(names, 3) == "3");
}

TEST_CASE("lines are as thick and labels as long as they are asked to be") {
    apps::BoxStyle style;
    CHECK(apps::box_label(style, "dog", 0.876) == "dog 0.88");
    style.confidence = false;
    CHECK(apps::box_label(style, "dog", 0.876) == "dog");
    style.labels = false;
    CHECK(apps::box_label(style, "dog", 0.876) == "");
    auto const drawn = [](int thickness) {
        cv::Mat image(60, 60, CV_8UC3, cv::Scalar::all(0)), grey;
        apps::draw_box(image, {0, 10, 10, 50, 50}, "", thickness);
        cv::cvtColor(image, grey, cv::COLOR_BGR2GRAY);
        double brightest = 0;
        cv::minMaxLoc(grey, nullptr, &brightest);
        return cv::countNonZero(grey.row(30) > brightest / 2);  // edges are smooth
    };
    CHECK(drawn(1) == 2 * 1);
    CHECK(drawn(9) >= 2 * 9);
    CHECK(drawn(9) <= 2 * 11);
}

TEST_CASE("half precision needs CUDA") {
    CHECK(apps::precision(false, torch::kCPU) == Precision::float32);
    CHECK(apps::precision(true, torch::kCPU) == Precision::float32);
    CHECK(apps::precision(true, torch::kCUDA) == Precision::float16);
}

TEST_CASE("a validation's observer sees every picture once, in pixels of the batch and of the picture") {
    TemporaryFolder const folder;
    for (int i = 0; i < 5; ++i) {
        auto const name = "p" + std::to_string(i);
        write_image(folder / "images" / (name + ".png"), patches(60 + 10 * i, 90, i));
        write_file(folder / "labels" / (name + ".txt"), std::to_string(i % 3) + " 0.5 0.5 0.4 0.2\n");
    }
    ColourDetector detector;
    Dataset const images({folder / "images"}, 3);
    Loader loader(images, validation_loader(96, 2, 0));
    ValidationOptions options;
    std::set<std::string> seen;
    options.observer = [&](BatchFindings const& f) {
        REQUIRE(f.detections.size() == f.batch.infos.size());
        for (std::size_t i = 0; i < f.detections.size(); ++i) {
            auto const& info = f.batch.infos[i];
            CHECK(seen.insert(info.path.filename().string()).second);
            CHECK(f.labels[i].size(0) == 1);
            CHECK(f.labels[i][0][1].item<float>() == doctest::Approx(0.3 * info.width0).epsilon(0.01));
            auto const moved = f.in_batch[i].numel() == 0 ? f.in_batch[i] : scale_boxes(f.in_batch[i], info);
            CHECK(torch::equal(f.detections[i], moved));
            for (auto const& t : {f.detections[i]})
                if (options.single_class && t.numel() > 0) CHECK(t.select(1, 5).eq(0).all().item<bool>());
        }
    };
    auto const result = validate(detector, loader, options);
    CHECK(seen.size() == 5);
    CHECK(result.evaluation.per_class.size() == 3);
    CHECK(result.evaluation.curves.empty());

    seen.clear();
    options.single_class = true, options.curves = KeepCurves::yes;
    Dataset const one({folder / "images"}, ScanOptions{.single_class = true, .cache = false});
    Loader of_one(one, validation_loader(96, 2, 0));
    auto const single = validate(detector, of_one, options);
    CHECK(seen.size() == 5);
    CHECK(single.evaluation.per_class.size() == 1);
    CHECK(single.evaluation.labels == 5);
    CHECK(single.evaluation.curves.size() == 1);

    DetectionLoss const loss(detector.options(), LossOptions{});
    options.loss = &loss, options.augment = true;
    CHECK(
        contains(message_of([&] { validate(detector, of_one, options); }), "leave out augment or the loss"));
}
