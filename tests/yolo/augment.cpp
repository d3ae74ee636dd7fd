#include <support/doctest.hpp>
#include <support/files.hpp>
#include <support/images.hpp>

#include <yolo/data/loader.hpp>
#include <yolo/data/multi_scale.hpp>

#include <set>

namespace fs = std::filesystem;
using namespace yolo;
using support::contains;
using support::equal;
using support::message_of;
using support::TemporaryFolder;

namespace {

cv::Mat noise(int height, int width, std::uint64_t seed) {
    Random random(seed);
    cv::Mat image(height, width, CV_8UC3);
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < 3 * width; ++x) image.ptr(y)[x] = static_cast<uchar>(random.bits());
    return image;
}

/// One picture [3, H, W], RGB, as BGR [H, W, 3].
cv::Mat picture(torch::Tensor const& planes) {
    auto const height = static_cast<int>(planes.size(1)), width = static_cast<int>(planes.size(2));
    cv::Mat image(height, width, CV_8UC3);
    auto const value = planes.accessor<std::uint8_t, 3>();
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            image.at<cv::Vec3b>(y, x) = {value[2][y][x], value[1][y][x], value[0][y][x]};
    return image;
}

Random& any() {
    static Random random(5);
    return random;
}
float fraction(double low = 0, double high = 1) { return static_cast<float>(any().uniform(low, high)); }

/// Boxes that lie inside, and with `outlined` a triangle in each.
DatasetItem random_labels(int count, bool outlined) {
    DatasetItem item;
    for (int i = 0; i < count; ++i) {
        float const w = fraction(0.05, 0.9), h = fraction(0.05, 0.9);
        Box const box{static_cast<float>(any().integer(3)), w / 2 + fraction(0, 1 - w),
                      h / 2 + fraction(0, 1 - h), w, h};
        item.boxes.push_back(box);
        if (outlined)
            item.segments.push_back({{box.cx, box.cy - h / 2},
                                     {box.cx + w / 2, box.cy + h / 2},
                                     {box.cx - w / 2, box.cy + h / 2}});
    }
    return item;
}

/// Pictures of noise in `folder`/images, each with one to three objects; every third file has polygons.
void write_set(fs::path const& folder, int count) {
    fs::create_directories(folder / "images");
    fs::create_directories(folder / "labels");
    for (int i = 0; i < count; ++i) {
        std::string const stem = "p" + std::to_string(100 + i);
        REQUIRE(cv::imwrite((folder / "images" / (stem + ".png")).string(),
                            noise(40 + 7 * (i % 5), 90 - 9 * (i % 7), static_cast<std::uint64_t>(i))));
        auto const labels = random_labels(1 + i % 3, i % 3 == 0);
        std::ofstream out(folder / "labels" / (stem + ".txt"));
        for (std::size_t b = 0; b < labels.boxes.size(); ++b) {
            Box const& box = labels.boxes[b];
            out << box.cls;
            if (labels.segments.empty())
                out << ' ' << box.cx << ' ' << box.cy << ' ' << box.w << ' ' << box.h;
            else
                for (Point const& p : labels.segments[b]) out << ' ' << p.x << ' ' << p.y;
            out << '\n';
        }
    }
}

struct Written {
    TemporaryFolder folder;
    Dataset dataset;
    explicit Written(int count = 10)
        : dataset((write_set(folder.path(), count), std::vector{folder / "images"}), 3) {}
};

LoaderOptions everything() {
    LoaderOptions o;
    o.image_size = 64, o.batch_size = 4, o.workers = 0, o.augment = o.shuffle = true;
    o.hyp.mosaic = 0.7, o.hyp.mixup = 0.4, o.hyp.copy_paste = 0.7, o.hyp.degrees = 15, o.hyp.shear = 5;
    o.hyp.perspective = 0.0006, o.hyp.flipud = 0.5, o.hyp.translate = 0.2;
    return o;
}

std::vector<Batch> rest(Loader& loader) {
    std::vector<Batch> batches;
    for (Batch batch; loader.next(batch);) batches.push_back(batch);
    return batches;
}
std::vector<Batch> epoch(Dataset const& dataset, LoaderOptions const& options, int number,
                         std::vector<double> weights = {}) {
    Loader loader(dataset, options);
    loader.set_image_weights(std::move(weights));
    loader.start_epoch(number);
    return rest(loader);
}

}  // namespace

// ---- mosaic ----

TEST_CASE("a mosaic of nine is the window of YOLOv5's 3 x 3 canvas, pixel by pixel") {
    int const s = 64;
    std::vector<cv::Mat> images;
    std::vector<std::vector<Box>> boxes(9, {{1, 0.5f, 0.5f, 1, 1}});
    std::vector<MosaicPart> parts;
    for (std::uint64_t i = 0; i < 9; ++i) {
        int const a = 20 + static_cast<int>(any().integer(45)), b = i % 2 ? 64 : 40;
        images.push_back(i % 3 ? noise(std::min(a, 64), 64, i) : noise(64, b, i));
        parts.push_back({images.back(), &boxes[i], nullptr});
    }
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
        Random random(seed), again(seed);
        Sample const sample = mosaic(parts, s, random);
        int const top = static_cast<int>(again.uniform(0, s)), left = static_cast<int>(again.uniform(0, s));
        // Corners x1, y1, x2, y2 on the large canvas: what one reads off a drawing of the nine.
        auto const W = [&](std::size_t i) { return images[i].cols; };
        auto const H = [&](std::size_t i) { return images[i].rows; };
        int const r = s + W(0), b = s + H(0);  // right and bottom of the middle one
        std::vector<std::array<int, 4>> const c{{s, s, r, b},
                                                {s, s - H(1), s + W(1), s},
                                                {s + W(1), s - H(2), s + W(1) + W(2), s},
                                                {r, s, r + W(3), s + H(3)},
                                                {r, s + H(3), r + W(4), s + H(3) + H(4)},
                                                {r - W(5), b, r, b + H(5)},
                                                {r - W(5) - W(6), b, r - W(5), b + H(6)},
                                                {s - W(7), b - H(7), s, b},
                                                {s - W(8), b - H(7) - H(8), s, b - H(7)}};
        cv::Mat wanted(2 * s, 2 * s, CV_8UC3, cv::Scalar::all(114));
        for (std::size_t i = 0; i < 9; ++i) {
            for (int y = c[i][1]; y < c[i][3]; ++y)
                for (int x = c[i][0]; x < c[i][2]; ++x)
                    if (x >= left && x < left + 2 * s && y >= top && y < top + 2 * s)
                        wanted.at<cv::Vec3b>(y - top, x - left) =
                            images[i].at<cv::Vec3b>(y - c[i][1], x - c[i][0]);
            auto const at = [&](int v, int offset) {
                return static_cast<float>(std::clamp(v - offset, 0, 2 * s));
            };
            CHECK((sample.boxes[i] ==
                   PixelBox{1, at(c[i][0], left), at(c[i][1], top), at(c[i][2], left), at(c[i][3], top)}));
        }
        CHECK(equal(sample.image, wanted));
    }
}

TEST_CASE("polygons follow their boxes into a mosaic; parts without any get empty ones") {
    auto const a = random_labels(2, true), b = random_labels(3, false);
    cv::Mat const image = noise(48, 64, 1);
    std::array<MosaicPart, 4> const parts{{{image, &a.boxes, &a.segments},
                                           {image, &b.boxes, &b.segments},
                                           {image, &a.boxes, &a.segments},
                                           {image, &b.boxes, nullptr}}};
    Random random(3);
    Sample const sample = mosaic(parts, 64, random);
    REQUIRE(sample.boxes.size() == 10);
    REQUIRE(sample.segments.size() == 10);
    for (std::size_t i = 0; i < 10; ++i) {
        bool const outlined = i < 2 || (i >= 5 && i < 7);
        CHECK(sample.segments[i].size() == (outlined ? 3u : 0u));
        if (!outlined) continue;
        PixelBox const& box = sample.boxes[i];
        float left = 1e9f, right = 0, top = 1e9f, bottom = 0;
        for (Point const& p : sample.segments[i]) {
            left = std::min(left, p.x), right = std::max(right, p.x);
            top = std::min(top, p.y), bottom = std::max(bottom, p.y);
        }
        CHECK(left == doctest::Approx(box.x1).epsilon(1e-4));
        CHECK(right == doctest::Approx(box.x2).epsilon(1e-4));
        CHECK(top == doctest::Approx(box.y1).epsilon(1e-4));
        CHECK(bottom == doctest::Approx(box.y2).epsilon(1e-4));
    }
    std::array<MosaicPart, 4> bare = parts;
    for (MosaicPart& part : bare) part.segments = nullptr;
    CHECK(mosaic(bare, 64, random).segments.empty());
}

// ---- copy-paste ----

TEST_CASE("a pasted object is the mirrored picture where its mirrored outline is") {
    Sample const before{
        noise(100, 120, 3), {{2, 10, 20, 40, 60}}, {{{10, 20}, {40, 20}, {40, 60}, {10, 60}}}};
    Sample after = before;
    after.image = before.image.clone();
    Random random(1);
    copy_paste(after, 1.0, random);
    REQUIRE(after.boxes.size() == 2);
    CHECK(after.boxes[1] == PixelBox{2, 80, 20, 110, 60});
    CHECK((after.segments[1] == Segment{{110, 20}, {80, 20}, {80, 60}, {110, 60}}));
    for (int y = 0; y < 100; ++y)
        for (int x = 0; x < 120; ++x) {
            int const from = 119 - x;  // the filled outline holds its border: 10..40, 20..60
            bool const pasted = from >= 10 && from <= 40 && y >= 20 && y <= 60;
            REQUIRE(after.image.at<cv::Vec3b>(y, x) == before.image.at<cv::Vec3b>(y, pasted ? from : x));
        }
}

TEST_CASE("copy-paste takes its share of the outlined objects and spares what it would hide") {
    std::vector<int> taken(11);
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        Sample sample;  // ten small objects on the left, one box without outline on the right
        for (int i = 0; i < 10; ++i) {
            float const y = static_cast<float>(10 * i);
            sample.boxes.push_back({0, 5, y, 20, y + 8});
            sample.segments.push_back({{5, y}, {20, y}, {12, y + 8}});
        }
        sample.boxes.push_back({1, 180, 0, 195, 8});  // where the first one would go
        sample.segments.emplace_back();
        Random random(seed);
        auto const pasted = choose_pastes(sample, 200, 0.5, random);
        bool first = false;
        for (Segment const& segment : pasted) {
            auto const i = static_cast<std::size_t>(segment[0].y / 10);
            ++taken[i], first |= i == 0;
        }
        CHECK_FALSE(first);
        CHECK((pasted.size() == 5 || pasted.size() == 4));  // 4: the first one was drawn
        CHECK(sample.boxes.size() == 11 + pasted.size());
        CHECK(sample.segments.size() == sample.boxes.size());
    }
    for (std::size_t i = 1; i < 10; ++i) CHECK((taken[i] > 15 && taken[i] < 45));  // of 60, 30 expected
    Sample none{{}, {{1, 0, 0, 9, 9}}, {{{0, 0}, {9, 0}, {5, 9}}}};
    Random random(1), untouched(1);
    CHECK(choose_pastes(none, 100, 0, random).empty());
    none.segments[0].clear();
    CHECK(choose_pastes(none, 100, 1, random).empty());
    CHECK(random.bits() == untouched.bits());  // seeds keep their meaning where it is off
}

// ---- views ----

TEST_CASE("a translation by whole pixels moves them exactly, an enlargement by two mixes neighbours") {
    cv::Mat const image = noise(40, 50, 8);
    Sample const moved = warp({image, {}}, {cv::Matx33d(1, 0, 7, 0, 1, -5, 0, 0, 1), 1}, {50, 40});
    Sample const twice = warp({image, {}}, {cv::Matx33d(2, 0, 0, 0, 2, 0, 0, 0, 1), 2}, {50, 40});
    for (int y = 0; y < 40; ++y)
        for (int x = 0; x < 50; ++x) {
            bool const inside = x >= 7 && y < 35;
            REQUIRE(moved.image.at<cv::Vec3b>(y, x) ==
                    (inside ? image.at<cv::Vec3b>(y + 5, x - 7) : cv::Vec3b(114, 114, 114)));
            for (int c = 0; c < 3; ++c) {
                auto const at = [&](int v, int u) {
                    return static_cast<double>(image.at<cv::Vec3b>(v, u)[c]);
                };
                int const u = x / 2, v = y / 2;
                double const mean =
                    (at(v, u) + at(v, (x + 1) / 2) + at((y + 1) / 2, u) + at((y + 1) / 2, (x + 1) / 2)) / 4;
                REQUIRE(std::abs(twice.image.at<cv::Vec3b>(y, x)[c] - mean) <= 0.51);
            }
        }
}

// The colour at a place between four pixels, outside of the image the border's.
double between(cv::Mat const& image, double u, double v, int channel) {
    int const x = static_cast<int>(std::floor(u)), y = static_cast<int>(std::floor(v));
    auto const at = [&](int row, int column) {
        bool const inside = row >= 0 && row < image.rows && column >= 0 && column < image.cols;
        return inside ? static_cast<double>(image.at<cv::Vec3b>(row, column)[channel]) : 114.0;
    };
    double const right = u - x, down = v - y;
    return (1 - down) * ((1 - right) * at(y, x) + right * at(y, x + 1)) +
           down * ((1 - right) * at(y + 1, x) + right * at(y + 1, x + 1));
}

TEST_CASE("a turned, sheared, scaled and tilted view has the colours of the places that it sees") {
    cv::Mat image(150, 200, CV_8UC3);  // changes slowly: OpenCV looks at places in steps of 1/32 pixel
    for (int y = 0; y < image.rows; ++y)
        for (int x = 0; x < image.cols; ++x)
            for (int c = 0; c < 3; ++c)
                image.at<cv::Vec3b>(y, x)[c] = cv::saturate_cast<unsigned char>(
                    128 + 100 * std::sin(0.11 * x + c) * std::cos(0.07 * y - c));
    Hyperparameters hyp;
    hyp.degrees = 40, hyp.shear = 15, hyp.scale = 0.5, hyp.translate = 0.3;
    int inside = 0, outside = 0;
    for (std::uint64_t seed = 0; seed < 24; ++seed) {
        hyp.perspective = seed % 2 ? 0.001 : 0;
        Random random(seed);
        View const view = random_view(hyp, {200, 150}, {96, 80}, random);
        cv::Mat seen;
        warp_image(image, view, {96, 80}, seen);
        cv::Matx33d const back = view.matrix.inv();
        for (int y = 0; y < 80; ++y)
            for (int x = 0; x < 96; ++x) {
                auto const place = back * cv::Vec3d(x, y, 1);
                double const u = place[0] / place[2], v = place[1] / place[2];
                bool const whole = u > 0.1 && v > 0.1 && u < 198.9 && v < 148.9;
                bool const none = u < -1.1 || v < -1.1 || u > 200.1 || v > 150.1;
                inside += whole, outside += none;
                // On the border one of 32 steps is up to 114 / 32 of the colour.
                double const most = whole ? 1.5 : none ? 0 : 7;
                for (int c = 0; c < 3; ++c)
                    REQUIRE(std::abs(seen.at<cv::Vec3b>(y, x)[c] - between(image, u, v, c)) <= most);
            }
    }
    CHECK(inside > 50'000);
    CHECK(outside > 1'000);
}

TEST_CASE("what a view reads lies in the rectangle that it is said to see") {
    Hyperparameters hyp;
    hyp.degrees = 40, hyp.shear = 10, hyp.scale = 0.5, hyp.translate = 0.2;
    cv::Mat const image = noise(128, 128, 4);
    double share = 0;
    for (double const perspective : {0.0, 0.001})
        for (std::uint64_t seed = 0; seed < 40; ++seed) {
            hyp.perspective = perspective;
            Random random(seed);
            View const view = random_view(hyp, {128, 128}, {64, 64}, random);
            cv::Rect const seen = seen_through(view, {128, 128}, {64, 64});
            share += seen.area() / (128.0 * 128.0 * 80);
            cv::Mat only(128, 128, CV_8UC3, cv::Scalar::all(1)), a, b;
            image(seen).copyTo(only(seen));
            warp_image(image, view, {64, 64}, a);
            warp_image(only, view, {64, 64}, b);
            CHECK(equal(a, b));
        }
    CHECK(share < 0.7);                                                 // and it is no excuse for taking all
    View const horizon{cv::Matx33d(1, 0, 0, 0, 1, 0, -0.02, 0, 1), 1};  // x = 50 is infinitely far
    CHECK(seen_through({horizon.matrix.inv(), 1}, {128, 128}, {64, 64}).area() == 128 * 128);
    CHECK(seen_through({cv::Matx33d::zeros(), 1}, {128, 128}, {64, 64}).area() == 128 * 128);
}

TEST_CASE("the box of a warped polygon is that of many points along its edges that stay inside") {
    Hyperparameters hyp;
    hyp.degrees = 30, hyp.shear = 10, hyp.scale = 0.4, hyp.translate = 0.3;
    int compared = 0;
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        hyp.perspective = seed % 2 ? 0.0008 : 0;
        Random random(seed);
        View const view = random_view(hyp, {200, 200}, {160, 160}, random);
        auto const labels = random_labels(1, true);
        Segment const outline = to_pixels(labels.segments[0], 200, 200);
        PixelBox const box = transform(view.matrix, outline, 1, 160, 160);
        double left = 1e9, top = 1e9, right = -1e9, bottom = -1e9;
        for (std::size_t i = 0; i < outline.size(); ++i)
            for (int k = 0; k <= 3000; ++k) {
                Point const a = outline[i], b = outline[(i + 1) % outline.size()];
                double const t = k / 3000.0, x = a.x + t * (b.x - a.x), y = a.y + t * (b.y - a.y);
                auto const& m = view.matrix;
                double const w = m(2, 0) * x + m(2, 1) * y + m(2, 2),
                             u = (m(0, 0) * x + m(0, 1) * y + m(0, 2)) / w,
                             v = (m(1, 0) * x + m(1, 1) * y + m(1, 2)) / w;
                if (u < 0 || v < 0 || u > 160 || v > 160) continue;
                left = std::min(left, u), right = std::max(right, u), top = std::min(top, v),
                bottom = std::max(bottom, v);
            }
        if (left > right) {
            CHECK((box == PixelBox{1, 0, 0, 0, 0}));
            continue;
        }
        ++compared;
        CHECK(std::abs(box.x1 - left) < 1.5);
        CHECK(std::abs(box.y1 - top) < 1.5);
        CHECK(std::abs(box.x2 - right) < 1.5);
        CHECK(std::abs(box.y2 - bottom) < 1.5);
    }
    CHECK(compared > 40);
    Segment const square{{0, 0}, {9, 0}, {9, 9}, {0, 9}};
    Segment const points = resampled(square, 9);  // the corners and the middles, closed
    CHECK((points ==
           Segment{{0, 0}, {4.5f, 0}, {9, 0}, {9, 4.5f}, {9, 9}, {4.5f, 9}, {0, 9}, {0, 4.5f}, {0, 0}}));
}

TEST_CASE("a turned triangle gets a tighter box than the turned corners of its box, and is kept down to a "
          "hundredth") {
    View const turned{cv::Matx33d(0.7071, 0.7071, 0, -0.7071, 0.7071, 80, 0, 0, 1), 1};
    Sample sample{cv::Mat(200, 200, CV_8UC3), {{1, 50, 50, 90, 90}}, {{{70, 50}, {90, 90}, {50, 90}}}};
    auto const tight = warp_boxes(sample, turned, {200, 200});
    sample.segments.clear();
    auto const loose = warp_boxes(sample, turned, {200, 200});
    REQUIRE((tight.size() == 1 && loose.size() == 1));
    CHECK(tight[0].width() * tight[0].height() < 0.9f * loose[0].width() * loose[0].height());
    PixelBox const before{0, 0, 0, 100, 100};
    CHECK(worth_keeping(before, {0, 0, 0, 20, 10}, 0.01));
    CHECK_FALSE(worth_keeping(before, {0, 0, 0, 20, 10}));
    CHECK_FALSE(worth_keeping(before, {0, 0, 0, 10, 10}, 0.01));
}

// ---- colours and flips ----

TEST_CASE("colours and flips in one pass equal OpenCV's conversions, look-up and flips one after the other") {
    for (std::uint64_t seed = 0; seed < 24; ++seed) {
        Hyperparameters hyp;
        hyp.flipud = 0.5;
        if (seed % 4 == 3) hyp.hsv_h = hyp.hsv_s = hyp.hsv_v = 0;
        int const height = 30 + static_cast<int>(seed) * 3, width = 33 + static_cast<int>(seed);
        Sample sample{noise(height, width, seed), {{1, 3, 5, 20, 25}}};
        cv::Mat const original = sample.image.clone();
        Random random(seed), again(seed);
        auto const planes = torch::empty({3, height, width}, torch::kUInt8);
        write_with_colours_and_flips(sample, hyp, random, planes.data_ptr<std::uint8_t>());
        CHECK(equal(sample.image, original));  // it may be shared

        cv::Mat wanted = original.clone(), hsv;
        if (seed % 4 != 3) {
            double const r[3] = {again.uniform(1 - hyp.hsv_h, 1 + hyp.hsv_h),
                                 again.uniform(1 - hyp.hsv_s, 1 + hyp.hsv_s),
                                 again.uniform(1 - hyp.hsv_v, 1 + hyp.hsv_v)};
            cv::Mat table(1, 256, CV_8UC3);
            for (int i = 0; i < 256; ++i)
                table.at<cv::Vec3b>(i) = {static_cast<uchar>(std::fmod(i * r[0], 180)),
                                          static_cast<uchar>(std::min(i * r[1], 255.0)),
                                          static_cast<uchar>(std::min(i * r[2], 255.0))};
            cv::cvtColor(wanted, hsv, cv::COLOR_BGR2HSV);
            cv::LUT(hsv, table, hsv);
            cv::cvtColor(hsv, wanted, cv::COLOR_HSV2BGR);
        }
        Sample flipped{wanted, {{1, 3, 5, 20, 25}}};
        if (again.bernoulli(hyp.flipud)) flip_up_down(flipped);
        if (again.bernoulli(hyp.fliplr)) flip_left_right(flipped);
        CHECK(equal(picture(planes), flipped.image));
        CHECK((sample.boxes == flipped.boxes));
        CHECK(random.bits() == again.bits());
    }
}

TEST_CASE("mix-up is the rounded mean, pixel by pixel") {
    Sample const a{noise(9, 11, 1), {{1, 0, 0, 4, 4}}}, b{noise(9, 11, 2), {{2, 1, 1, 4, 4}}};
    Random random(4), again(4);
    Sample const mixed = mixup(a, b, random);
    double const r = again.beta(32, 32);
    for (int y = 0; y < 9; ++y)
        for (int x = 0; x < 33; ++x)
            REQUIRE(std::abs(mixed.image.ptr(y)[x] - (r * a.image.ptr(y)[x] + (1 - r) * b.image.ptr(y)[x])) <=
                    0.501);
    CHECK((mixed.boxes == std::vector{a.boxes[0], b.boxes[0]}));
}

// ---- properties ----

TEST_CASE("whatever labels and hyper-parameters are, boxes stay inside, finite and not empty") {
    std::size_t kept = 0;
    for (std::uint64_t seed = 0; seed < 150; ++seed) {
        Random random(seed);
        Hyperparameters hyp;
        hyp.degrees = random.uniform(0, 180), hyp.shear = random.uniform(0, 40),
        hyp.scale = random.uniform(0, 0.95);
        hyp.translate = random.uniform(0, 0.9), hyp.perspective = seed % 3 ? random.uniform(0, 0.001) : 0;
        std::size_t const tiles = seed % 2 ? 4 : 9;
        std::vector<DatasetItem> items;
        std::vector<MosaicPart> parts;
        std::vector<cv::Size> sizes;
        for (std::size_t i = 0; i < tiles; ++i) {
            items.push_back(random_labels(static_cast<int>(random.integer(6)), random.bernoulli(0.5)));
            sizes.emplace_back(1 + static_cast<int>(random.integer(64)), 64);
        }
        for (DatasetItem const& item : items) parts.push_back({{}, &item.boxes, &item.segments});
        auto const layout = mosaic_layout(sizes, 64, random);
        Sample whole = mosaic_labels(parts, layout);
        choose_pastes(whole, 128, random.uniform(), random);
        for (PixelBox const& box : whole.boxes)
            REQUIRE((box.x1 >= 0 && box.y1 >= 0 && box.x2 <= 128 && box.y2 <= 128 && box.x1 <= box.x2));
        for (PixelBox const& pixels :
             warp_boxes(whole, random_view(hyp, {128, 128}, {64, 64}, random), {64, 64})) {
            Box const box = to_fraction(pixels, 64, 64);
            REQUIRE((box.w > 0 && box.h > 0 && std::isfinite(box.w * box.h)));
            REQUIRE((box.cx - box.w / 2 >= -1e-6f && box.cx + box.w / 2 <= 1 + 1e-6f));
            REQUIRE((box.cy - box.h / 2 >= -1e-6f && box.cy + box.h / 2 <= 1 + 1e-6f));
            ++kept;
        }
    }
    CHECK(kept > 300);
}

// ---- the loader puts them together ----

TEST_CASE("what nobody sees is not drawn, and no pixel knows: batches equal those made of whole mosaics") {
    Written const set(12);
    for (int const tiles : {4, 9}) {
        LoaderOptions o = everything();
        o.hyp.mosaic = 1, o.mosaic_tiles = tiles, o.shuffle = false, o.batch_size = 1;
        auto const batches = epoch(set.dataset, o, 1);
        for (std::size_t index = 0; index < set.dataset.size(); ++index) {
            Random random(o.seed, 1, index);
            REQUIRE(random.bernoulli(1));
            auto const whole_view = [&](std::size_t first) {
                std::vector<std::size_t> indices{first};
                for (int i = 1; i < tiles; ++i) indices.push_back(random.integer(set.dataset.size()));
                random.shuffle(std::span(indices));
                std::vector<MosaicPart> parts;
                for (std::size_t const i : indices) {
                    DatasetItem const& item = set.dataset[i];
                    parts.push_back({resize_long_side(read_image(item.image), 64, Shrink::linear),
                                     &item.boxes, &item.segments});
                }
                Sample whole = mosaic(parts, 64, random);
                copy_paste(whole, o.hyp.copy_paste, random);
                return warp(whole, random_view(o.hyp, {128, 128}, {64, 64}, random), {64, 64});
            };
            Sample sample = whole_view(index);
            if (random.bernoulli(o.hyp.mixup))
                sample = mixup(sample, whole_view(random.integer(set.dataset.size())), random);
            augment_hsv(sample.image, o.hyp, random);
            if (random.bernoulli(o.hyp.flipud)) flip_up_down(sample);
            if (random.bernoulli(o.hyp.fliplr)) flip_left_right(sample);
            REQUIRE(equal(picture(batches[index].images[0]), sample.image));
            REQUIRE(batches[index].targets.size(0) == static_cast<std::int64_t>(sample.boxes.size()));
            auto const target = batches[index].targets.accessor<float, 2>();
            for (std::size_t b = 0; b < sample.boxes.size(); ++b) {
                Box const box = to_fraction(sample.boxes[b], 64, 64);
                auto const row = static_cast<std::int64_t>(b);
                REQUIRE((Box{target[row][1], target[row][2], target[row][3], target[row][4],
                             target[row][5]} == box));
            }
        }
    }
}

TEST_CASE("with everything on, batches do not depend on workers, cache or earlier epochs") {
    Written const set;
    std::vector<double> weights;
    for (std::size_t i = 0; i < set.dataset.size(); ++i) weights.push_back(static_cast<double>(i % 4));
    for (int const tiles : {4, 9})
        for (bool const rect : {false, true})
            for (bool const weighted : {false, true}) {
                if (rect && weighted) continue;
                LoaderOptions o = everything();
                o.mosaic_tiles = tiles, o.rect = rect;
                auto const w = weighted ? weights : std::vector<double>{};
                auto const wanted = epoch(set.dataset, o, 3, w);
                o.workers = 3;
                CHECK(equal(epoch(set.dataset, o, 3, w), wanted));
                o.caching = ImageCaching::none;
                CHECK(equal(epoch(set.dataset, o, 3, w), wanted));
                o.caching = ImageCaching::disk;
                CHECK(equal(epoch(set.dataset, o, 3, w), wanted));
                CHECK(equal(epoch(set.dataset, o, 3, w), wanted));  // from the files
                Loader old(set.dataset, o);                         // a run that was not interrupted
                old.set_image_weights(w);
                for (int e = 0; e < 3; ++e) old.start_epoch(e), rest(old);
                old.start_epoch(3);
                CHECK(equal(rest(old), wanted));
                old.start_epoch(3, 1);
                CHECK(equal(rest(old), std::vector(wanted.begin() + 1, wanted.end())));
                CHECK_FALSE(equal(epoch(set.dataset, o, 4, w), wanted));
            }
}

TEST_CASE("rectangular training keeps the batches' shapes and changes the pictures") {
    Written const set;
    LoaderOptions o = everything();
    o.rect = true, o.shuffle = false;
    auto const augmented = epoch(set.dataset, o, 0);
    o.augment = false;
    auto const plain = epoch(set.dataset, o, 0);
    for (std::size_t i = 0; i < plain.size(); ++i) {
        CHECK(augmented[i].images.sizes() == plain[i].images.sizes());
        CHECK_FALSE(torch::equal(augmented[i].images, plain[i].images));
    }
}

// ---- image weights, multi-scale ----

TEST_CASE("pictures are drawn as often as their weights say") {
    Random random(1);
    std::vector<double> const weights{0, 1, 0, 3, 6, 0};
    std::array<int, 6> counts{};
    for (std::size_t const i : weighted_draws(weights, 20000, random)) ++counts[i];
    CHECK((counts[0] == 0 && counts[2] == 0 && counts[5] == 0));
    CHECK(counts[1] == doctest::Approx(2000).epsilon(0.08));
    CHECK(counts[3] == doctest::Approx(6000).epsilon(0.05));
    CHECK(counts[4] == doctest::Approx(12000).epsilon(0.03));
    std::set<std::size_t> all;
    for (std::size_t const i : weighted_draws(std::vector<double>(4), 100, random)) all.insert(i);
    CHECK(all.size() == 4);
}

TEST_CASE("rare and badly detected classes weigh more") {
    Written const set(9);
    std::array<double, 3> count{};
    for (auto const& item : set.dataset.items())
        for (Box const& box : item.boxes) ++count[static_cast<std::size_t>(box.cls)];
    auto const classes = labels_to_class_weights(set.dataset, 4);
    double const sum = 1 / count[0] + 1 / count[1] + 1 / count[2] + 1;  // the last class has no object
    for (std::size_t c = 0; c < 3; ++c) CHECK(classes[c] == doctest::Approx(1 / count[c] / sum));
    CHECK(classes[3] == doctest::Approx(1 / sum));
    auto const missed = weights_of_classes(classes, std::vector{0.5, 1.0, 0.0, 0.0});
    CHECK(missed[0] == doctest::Approx(classes[0] / 4));
    CHECK(missed[1] == 0);
    auto const images = labels_to_image_weights(set.dataset, missed);
    for (std::size_t i = 0; i < images.size(); ++i) {
        double wanted = 0;
        for (Box const& box : set.dataset[i].boxes) wanted += missed[static_cast<std::size_t>(box.cls)];
        CHECK(images[i] == doctest::Approx(wanted));
    }
    CHECK(contains(message_of([&] { weights_of_classes(classes, std::vector{0.5}); }),
                   "1 classes have a mAP, want 4"));
}

TEST_CASE("an epoch with image weights shows the weighty ones, each time differently") {
    Written const set;
    std::vector<double> weights(set.dataset.size());
    weights[3] = 1;
    LoaderOptions o = everything();
    o.hyp.mixup = 0;  // its partner is any picture
    auto const batches = epoch(set.dataset, o, 0, weights);
    std::vector<torch::Tensor> images;
    REQUIRE(set.dataset[3].boxes.size() == 1);
    for (Batch const& batch : batches) {
        CHECK(
            (batch.targets.select(1, 1) == set.dataset[3].boxes[0].cls).all().item<bool>());  // partners, too
        for (std::size_t i = 0; i < batch.infos.size(); ++i) {
            CHECK(batch.infos[i].index == 3);
            images.push_back(batch.images[static_cast<std::int64_t>(i)]);
        }
    }
    CHECK(images.size() == set.dataset.size());
    for (std::size_t i = 1; i < images.size(); ++i) CHECK_FALSE(torch::equal(images[i], images[0]));
    Loader loader(set.dataset, o);
    CHECK(contains(message_of([&] {
                       loader.set_image_weights({1, 2});
                   }),
                   "2 image weights, want one for each of the 10"));
    weights[0] = -1;
    CHECK(contains(message_of([&] { loader.set_image_weights(weights); }), "want 0 or more"));
    o.rect = true;
    Loader rect(set.dataset, o);
    weights[0] = 1;
    CHECK(contains(message_of([&] { rect.set_image_weights(weights); }), "exclude each other"));
}

TEST_CASE("multi-scale draws every multiple of the stride from a half to one and a half") {
    std::set<int> sizes;
    for (int batch = 0; batch < 2000; ++batch) {
        Random random = multi_scale_stream(1, 2, batch), again = multi_scale_stream(1, 2, batch);
        int const size = multi_scale_size(320, 32, random);
        CHECK(multi_scale_size(320, 32, again) == size);
        sizes.insert(size);
    }
    CHECK((sizes == std::set{160, 192, 224, 256, 288, 320, 352, 384, 416, 448, 480}));
    Random tiny(1);
    for (int i = 0; i < 50; ++i) CHECK(multi_scale_size(32, 32, tiny) >= 32);
}

TEST_CASE("multi-scale resizes bilinearly, both sides to multiples of the stride") {
    auto const images = torch::rand({2, 3, 64, 128});
    std::set<std::int64_t> widths;
    for (std::uint64_t seed = 0; seed < 30; ++seed) {
        Random random(seed), again(seed);
        auto const out = multi_scale(images, 128, 32, random);
        int const size = multi_scale_size(128, 32, again);
        std::int64_t const h = out.size(2), w = out.size(3);
        REQUIRE(w == size);
        REQUIRE(h == (size / 2 + 31) / 32 * 32);
        widths.insert(w);
        if (size == 128) CHECK(torch::equal(out, images));
        auto const a = images.accessor<float, 4>(), b = out.accessor<float, 4>();
        for (std::int64_t const y : {std::int64_t{0}, h / 3, h - 1})
            for (std::int64_t const x : {std::int64_t{0}, w / 3, w - 1}) {
                double const u = std::max((static_cast<double>(x) + 0.5) * 128 / static_cast<double>(w) - 0.5,
                                          0.0),
                             v = std::max((static_cast<double>(y) + 0.5) * 64 / static_cast<double>(h) - 0.5,
                                          0.0);
                auto const u0 = static_cast<std::int64_t>(u), v0 = static_cast<std::int64_t>(v);
                auto const u1 = std::min<std::int64_t>(u0 + 1, 127), v1 = std::min<std::int64_t>(v0 + 1, 63);
                double const s = u - static_cast<double>(u0), t = v - static_cast<double>(v0);
                double const wanted = (1 - t) * ((1 - s) * a[1][2][v0][u0] + s * a[1][2][v0][u1]) +
                                      t * ((1 - s) * a[1][2][v1][u0] + s * a[1][2][v1][u1]);
                REQUIRE(b[1][2][y][x] == doctest::Approx(wanted).epsilon(1e-4));
            }
    }
    CHECK(widths.size() == 5);
}

// ---- caches ----

TEST_CASE("the size that a picture will have is known before it is decoded") {
    for (int i = 0; i < 300; ++i) {
        ImageSize size;
        size.height = 10 + static_cast<int>(any().integer(900)),
        size.width = 10 + static_cast<int>(any().integer(900));
        cv::Mat const image(size.height, size.width, CV_8UC3);
        REQUIRE(loaded_size(size, 320) == resize_long_side(image, 320, Shrink::linear).size());
    }
}

TEST_CASE("the disk cache is what numpy writes, and a damaged, old or foreign file is replaced") {
    Written const set(3);
    auto const image = set.dataset[0].image;
    auto npy = image;
    npy.replace_extension(".npy");
    cv::Mat const pixels = read_image(image), wanted = resize_long_side(pixels, 64, Shrink::linear);
    auto const bytes_of = [](fs::path const& path) {
        std::ifstream in(path, std::ios::binary);
        return std::string((std::istreambuf_iterator<char>(in)), {});
    };
    auto const write = [](fs::path const& path, std::string const& bytes) {
        std::ofstream(path, std::ios::binary) << bytes;
    };
    auto const get = [&] {
        ImageCache cache(set.dataset, 64, Shrink::linear, 1 << 30, ImageCaching::disk);
        auto const loaded = cache.get(0);
        CHECK(cache.bytes() == 0);
        CHECK((loaded.height0 == pixels.rows && loaded.width0 == pixels.cols));
        return loaded.image;
    };
    CHECK(equal(get(), wanted));
    std::string const good = bytes_of(npy);
    // numpy 1.24: np.save(f, np.zeros((40, 90, 3), np.uint8)); the header's 128 bytes
    std::string header = "\x93NUMPY\x01";
    header += std::string("\x00\x76\x00", 3);
    header += "{'descr': '|u1', 'fortran_order': False, 'shape': (40, 90, 3), }";
    header.resize(127, ' ');
    header += '\n';
    REQUIRE(good.size() == 128 + 40 * 90 * 3);
    CHECK(good.substr(0, 128) == header);
    CHECK(good.substr(128) == std::string(pixels.ptr<char>(), pixels.total() * 3));

    std::string other = good;
    other[200] = static_cast<char>(other[200] ^ 64);
    write(npy, other);
    CHECK_FALSE(equal(get(), wanted));  // it is the file that is read
    std::string bad_shape = good, bad_type = good;
    bad_shape[bad_shape.find("40")] = '9', bad_type[bad_type.find("u1")] = 'f';
    for (std::string const& damaged :
         {std::string(), good.substr(0, 5), good.substr(0, 128), good.substr(0, good.size() - 1), good + "x",
          bad_shape, bad_type, std::string(300, '\xff')}) {
        write(npy, damaged);
        CHECK(equal(get(), wanted));
        CHECK(bytes_of(npy) == good);
    }
    write(npy, other);
    fs::last_write_time(npy, fs::last_write_time(image) - std::chrono::seconds(1));  // older than its picture
    CHECK(equal(get(), wanted));
    CHECK(bytes_of(npy) == good);
    for (auto const& entry : fs::directory_iterator(set.folder / "images"))
        CHECK(entry.path().extension() != ".tmp");
}

TEST_CASE("a picture whose name another one shares, and a folder that cannot be written, are no error") {
    TemporaryFolder const folder;
    write_set(folder.path(), 3);
    fs::path const images = folder / "images";
    cv::imwrite((images / "p100.bmp").string(), noise(40, 90, 77));  // and p100.png: both would be p100.npy
    fs::create_directories(images / "p101.npy" / "in the way");  // cannot be replaced by a file, even by root
    Dataset const dataset({images}, 3);
    REQUIRE(dataset.size() == 4);
    ImageCache cache(dataset, 64, Shrink::linear, 1 << 30, ImageCaching::disk);
    for (int round = 0; round < 2; ++round)
        for (std::size_t i = 0; i < 4; ++i)
            CHECK(equal(cache.get(i).image,
                        resize_long_side(read_image(dataset[i].image), 64, Shrink::linear)));
    CHECK_FALSE(fs::exists(images / "p100.npy"));
    CHECK(contains(cache.summary(), "p101.npy: cannot be written, so images are decoded anew"));
    for (auto const& entry : fs::directory_iterator(images)) CHECK(entry.path().extension() != ".tmp");
}

TEST_CASE("caches tell what they keep") {
    Written const set(3);
    auto const summary = [&](ImageCaching caching, std::int64_t limit) {
        ImageCache cache(set.dataset, 64, Shrink::linear, limit, caching);
        for (std::size_t i = 0; i < 3; ++i) cache.get(i);
        return cache.summary();
    };
    CHECK(contains(summary(ImageCaching::ram, 1 << 30), "in memory: 3 of 3 so far, 1 MB; all need 1 MB"));
    CHECK(contains(summary(ImageCaching::ram, 10000), "in memory: 1 of 3 so far"));
    CHECK(summary(ImageCaching::none, 1 << 30) == "images are not cached");
    CHECK(contains(summary(ImageCaching::disk, 1 << 30), "on disk: 3 of 3 files"));
    CHECK(available_memory() != 0);
}

TEST_CASE(
    "a picture that changes or goes away during training is one error that names it, with every cache") {
    for (auto const caching : {ImageCaching::none, ImageCaching::ram, ImageCaching::disk})
        for (bool const gone : {false, true}) {
            Written const set(6);
            auto const image = set.dataset[4].image;
            LoaderOptions o = everything();
            o.caching = caching, o.workers = 2, o.shuffle = false, o.hyp.mosaic = 0;
            Loader loader(set.dataset, o);
            if (gone)
                fs::remove(image);
            else
                cv::imwrite(image.string(), noise(50, 50, 1));
            Batch batch;
            CHECK(loader.next(batch));
            auto const message = message_of([&] { loader.next(batch); });
            CHECK(contains(message, image.string()));
            CHECK(contains(message, gone ? "no such image file" : "has 50 x 50 pixels, but had"));
            CHECK_FALSE(loader.next(batch));
        }
}

TEST_CASE("a mosaic is of four or nine") {
    Written const set(2);
    LoaderOptions o = everything();
    o.mosaic_tiles = 5;
    CHECK(contains(message_of([&] { Loader(set.dataset, o); }), "a mosaic of 5 images, want 4 or 9"));
}
