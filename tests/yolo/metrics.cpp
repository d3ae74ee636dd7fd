#include <support/doctest.hpp>

#include <yolo/metrics/average_precision.hpp>
#include <yolo/metrics/nms.hpp>
#include <yolo/model/decode.hpp>

#include <random>

using namespace yolo;

namespace {

/// Deterministic on every platform: the engine is specified, the distributions of <random> are not.
class Numbers {
public:
    explicit Numbers(std::uint32_t seed) : engine_(seed) {}
    float operator()(float low, float high) {
        return low + (high - low) * (static_cast<float>(engine_()) / 4294967296.f);
    }
    int below(int n) { return static_cast<int>(engine_() % static_cast<std::uint32_t>(n)); }

private:
    std::mt19937 engine_;
};

/// Predictions that crowd around a few places, some with equal confidence.
torch::Tensor predictions(std::uint32_t seed, int images, int boxes, int classes) {
    Numbers random(seed);
    auto out = torch::empty({images, boxes, 5 + classes});
    auto* value = out.data_ptr<float>();
    for (int i = 0; i < images * boxes; ++i) {
        auto const place = static_cast<float>(random.below(5)) * 60;
        *value++ = place + random(0, 20);
        *value++ = place + random(0, 20);
        *value++ = random(10, 60);
        *value++ = random(10, 60);
        for (int c = 0; c < 1 + classes; ++c) *value++ = static_cast<float>(random.below(50)) / 50;
    }
    return out;
}

/// The definition, slowly: all candidates sorted, all pairs compared.
torch::Tensor slow_nms(torch::Tensor const& prediction, NmsOptions const& o) {
    struct Row {
        float x1, y1, x2, y2, confidence;
        int cls;
    };
    std::vector<Row> rows;
    auto const classes = static_cast<int>(prediction.size(1)) - 5;
    auto const p = prediction.accessor<float, 2>();
    for (int i = 0; i < p.size(0); ++i) {
        if (!(p[i][4] > static_cast<float>(o.confidence))) continue;
        int best = 0;
        for (int c = 0; c < classes; ++c)
            if (p[i][5 + c] * p[i][4] > p[i][5 + best] * p[i][4]) best = c;
        for (int c = 0; c < classes; ++c) {
            auto const confidence = p[i][5 + c] * p[i][4];
            auto const asked = o.classes.empty() || std::count(o.classes.begin(), o.classes.end(), c);
            if ((o.multi_label || c == best) && asked && confidence > static_cast<float>(o.confidence))
                rows.push_back({p[i][0] - p[i][2] / 2, p[i][1] - p[i][3] / 2, p[i][0] + p[i][2] / 2,
                                p[i][1] + p[i][3] / 2, confidence, c});
        }
    }
    std::stable_sort(rows.begin(), rows.end(), [](auto& a, auto& b) { return a.confidence > b.confidence; });
    if (rows.size() > 30000) rows.resize(30000);
    std::vector<char> dropped(rows.size());
    std::vector<float> out;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (dropped[i] || out.size() == 6 * static_cast<std::size_t>(o.max_detections)) continue;
        auto const& a = rows[i];
        out.insert(out.end(), {a.x1, a.y1, a.x2, a.y2, a.confidence, static_cast<float>(a.cls)});
        for (auto j = i + 1; j < rows.size(); ++j) {
            auto const& b = rows[j];
            if (!o.agnostic && a.cls != b.cls) continue;
            auto const w = std::max(0.f, std::min(a.x2, b.x2) - std::max(a.x1, b.x1));
            auto const h = std::max(0.f, std::min(a.y2, b.y2) - std::max(a.y1, b.y1));
            auto const both = (a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - w * h;
            if (static_cast<double>(w * h / both) > o.iou) dropped[j] = 1;
        }
    }
    return torch::from_blob(out.data(), {static_cast<std::int64_t>(out.size() / 6), 6}).clone();
}

/// Back to the form that nms() reads, with the confidence in the objectness.
torch::Tensor as_prediction(torch::Tensor const& kept, int classes) {
    auto out = torch::zeros({1, kept.size(0), 5 + classes});
    auto const corner = kept.narrow(1, 0, 2), opposite = kept.narrow(1, 2, 2);
    out[0].narrow(1, 0, 2).copy_((corner + opposite) / 2);
    out[0].narrow(1, 2, 2).copy_(opposite - corner);
    out[0].select(1, 4).copy_(kept.select(1, 4));
    out[0].narrow(1, 5, classes).scatter_(1, kept.select(1, 5).to(torch::kLong).unsqueeze(1), 1.0);
    return out;
}

torch::Tensor boxes(std::vector<std::vector<float>> const& rows, std::int64_t columns) {
    auto out = torch::empty({static_cast<std::int64_t>(rows.size()), columns});
    for (std::size_t i = 0; i < rows.size(); ++i) out[static_cast<std::int64_t>(i)] = torch::tensor(rows[i]);
    return out;
}

/// YOLOv5's matching by its own steps, at one threshold: all pairs by falling IoU; the first of every
/// detection; of those, by detection, the first of every label.
std::vector<bool> slow_match(std::vector<ClassBox> const& detections, std::vector<ClassBox> const& labels,
                             float limit) {
    struct Pair {
        std::size_t label, detection;
        float iou;
    };
    std::vector<Pair> pairs;
    for (std::size_t l = 0; l < labels.size(); ++l)
        for (std::size_t d = 0; d < detections.size(); ++d) {
            auto const iou = box_iou(labels[l], detections[d]);
            if (labels[l].cls == detections[d].cls && iou >= limit) pairs.push_back({l, d, iou});
        }
    std::stable_sort(pairs.begin(), pairs.end(), [](auto& a, auto& b) { return a.iou > b.iou; });
    std::map<std::size_t, std::size_t> label_of;
    for (auto const& pair : pairs) label_of.emplace(pair.detection, pair.label);
    std::vector<bool> correct(detections.size());
    std::map<std::size_t, bool> taken;
    for (auto const& [detection, label] : label_of)
        if (taken.emplace(label, true).second) correct[detection] = true;
    return correct;
}

/// Boxes that shake around their labels, false ones and wrong classes included.
struct Picture {
    torch::Tensor detections, labels;
};
Picture picture(Numbers& random, int classes) {
    std::vector<std::vector<float>> labels, detections;
    auto const count = random.below(8);
    for (int i = 0; i < count; ++i) {
        auto const x = random(0, 200), y = random(0, 200), w = random(20, 80), h = random(20, 80);
        auto const cls = static_cast<float>(random.below(classes));
        labels.push_back({cls, x, y, x + w, y + h});
        for (int k = random.below(4); k > 0; --k) {
            auto const dx = random(-8, 8), dy = random(-8, 8);
            auto const other = random.below(6) == 0 ? static_cast<float>(random.below(classes)) : cls;
            detections.push_back({x + dx, y + dy, x + w + random(-8, 8), y + h + dy, random(0, 1), other});
        }
    }
    return {boxes(detections, 6), boxes(labels, 5)};
}

}  // namespace

TEST_SUITE("shared") {

    TEST_CASE("Decoded heads are the reference's") {
        for (std::string network : {"n", "s"}) {
            NEEDS_SHARED("golden/layers_yolov5" + network + ".pt");
            auto const golden = support::golden("layers_yolov5" + network + ".pt");
            std::array<torch::Tensor, 3> const raw{golden.at("head0"), golden.at("head1"),
                                                   golden.at("head2")};
            CHECK(support::relative_error(decode(raw, {}), golden.at("decoded")) < 1e-6);
            // as the head's convolution leaves them: [N, 3, 5 + C, H, W] seen through a permutation
            std::array<torch::Tensor, 3> permuted;
            for (std::size_t l = 0; l < 3; ++l)
                permuted[l] = raw[l].permute({0, 1, 4, 2, 3}).contiguous().permute({0, 1, 3, 4, 2});
            CHECK(support::relative_error(decode(permuted, {}), golden.at("decoded")) < 1e-6);
        }
    }

    TEST_CASE("The boxes kept are the reference's, in order, in all three modes") {
        for (std::string network : {"n", "s"}) {
            NEEDS_SHARED("golden/nms_yolov5" + network + ".pt");
            auto const golden = support::golden("nms_yolov5" + network + ".pt");
            NmsOptions detect;
            detect.confidence = 0.25;
            detect.iou = 0.45;
            detect.multi_label = false;
            auto agnostic = detect;
            agnostic.agnostic = true;
            std::map<std::string, NmsOptions> const modes{
                {"detect", detect}, {"agnostic", agnostic}, {"val", {}}};
            for (auto const& [mode, options] : modes) {
                CAPTURE(mode);
                auto const kept = nms(golden.at("prediction"), options).at(0);
                REQUIRE(kept.sizes() == golden.at(mode).sizes());
                CHECK((kept - golden.at(mode)).abs().max().item<double>() < 1e-3);
                CHECK(torch::equal(kept.select(1, 5), golden.at(mode).select(1, 5)));
            }
        }
    }

}  // TEST_SUITE

TEST_CASE("A logit of zero decodes to the middle of its cell and the size of its anchor") {
    YoloV5Options options;
    options.classes = 2;
    std::array<torch::Tensor, 3> raw;
    for (std::size_t l = 0; l < 3; ++l) raw[l] = torch::zeros({2, 3, 64 / strides[l], 96 / strides[l], 7});
    auto const decoded = decode(raw, options);
    REQUIRE(decoded.sizes() == torch::IntArrayRef{2, 3 * (8 * 12 + 4 * 6 + 2 * 3), 7});
    auto const row = 3 * 8 * 12 + 1 * 4 * 6 + 2 * 6 + 5;  // stride 16, anchor 1, row 2, column 5
    auto const expected = torch::tensor({5.5f * 16, 2.5f * 16, 62.f, 45.f, 0.5f, 0.5f, 0.5f});
    CHECK(torch::allclose(decoded[1][row], expected));
}

TEST_CASE("The decoding by tensor functions, which other devices use, equals the one by loops") {
    torch::manual_seed(1);
    YoloV5Options options;
    options.classes = 3;
    std::array<torch::Tensor, 3> raw;
    std::vector<torch::Tensor> levels;
    for (std::size_t l = 0; l < 3; ++l) {
        raw[l] = torch::randn({2, 3, 64 / strides[l], 96 / strides[l], 8});
        auto level = raw[l].sigmoid();
        yolo::detail::decode_boxes(level, static_cast<float>(strides[l]), options.anchors[l]);
        levels.push_back(level.reshape({2, -1, 8}));
    }
    CHECK(support::relative_error(decode(raw, options), torch::cat(levels, 1)) < 1e-6);
}

TEST_CASE("A level of another shape is refused when decoding") {
    std::array<torch::Tensor, 3> raw;
    for (std::size_t l = 0; l < 3; ++l) raw[l] = torch::zeros({1, 3, 4, 4, 85});
    raw[1] = torch::zeros({1, 3, 4, 4, 84});
    CHECK_THROWS(decode(raw, {}));
}

TEST_CASE("The boxes kept are those of the definition") {
    for (std::uint32_t seed = 0; seed < 12; ++seed) {
        auto const prediction = predictions(seed, 2, 200, seed % 3 == 0 ? 1 : 19);
        NmsOptions options;
        options.confidence = seed % 2 ? 0.001 : 0.3;
        options.iou = seed % 4 == 1 ? 0.45 : 0.6;
        options.multi_label = seed % 2;
        options.agnostic = seed % 5 == 0;
        options.max_detections = seed % 4 == 3 ? 20 : 300;
        if (seed % 6 == 5) options.classes = {0, 7, 99};
        auto const kept = nms(prediction, options);
        REQUIRE(kept.size() == 2);
        for (std::size_t i = 0; i < 2; ++i) {
            CAPTURE(seed);
            auto const expected = slow_nms(prediction[static_cast<std::int64_t>(i)], options);
            CHECK(kept[i].size(0) > 0);
            CHECK(torch::equal(kept[i], expected));
        }
    }
}

TEST_CASE("Only the 30,000 most confident candidates are looked at") {
    auto const prediction = predictions(3, 1, 2500, 20);
    NmsOptions options;
    options.iou = 1;  // nothing is suppressed
    options.max_detections = 100000;
    CHECK(nms(prediction, options)[0].size(0) == 30000);
    CHECK(torch::equal(nms(prediction, options)[0], slow_nms(prediction[0], options)));
}

TEST_CASE("The rows that a device hands over give the same detections as all of them") {
    auto const prediction = predictions(9, 3, 200, 6);
    NmsOptions options;
    options.confidence = 0.4;
    auto const expected = nms(prediction, options);
    auto const some = yolo::detail::confident_rows(prediction, options.confidence);
    CHECK(some.rows.size(0) < 3 * 200);
    auto const kept = yolo::detail::nms(some, options);
    REQUIRE(kept.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) CHECK(torch::equal(kept[i], expected[i]));
}

TEST_CASE("Suppressing twice is suppressing once") {
    NmsOptions options;
    auto const once = nms(predictions(7, 1, 300, 5), options).at(0);
    auto const twice = nms(as_prediction(once, 5), options).at(0);
    REQUIRE(twice.sizes() == once.sizes());
    CHECK((twice - once).abs().max().item<double>() < 1e-3);
}

TEST_CASE("An image without confident boxes gives no detections") {
    auto prediction = predictions(1, 3, 50, 4);
    prediction[1].select(1, 4).fill_(0);
    prediction[2].select(1, 4).fill_(std::nan(""));
    auto const kept = nms(prediction);
    CHECK(kept[0].size(0) > 0);
    CHECK(kept[1].sizes() == torch::IntArrayRef{0, 6});
    CHECK(kept[2].sizes() == torch::IntArrayRef{0, 6});
    CHECK(nms(torch::zeros({2, 0, 9})).size() == 2);
    CHECK_THROWS(nms(torch::zeros({2, 9})));
}

TEST_CASE("A curve is interpolated as numpy does, repeated points included") {
    std::vector<double> const x{0, 1, 1, 2}, y{5, 6, 2, 4};
    CHECK(interpolate(-1, x, y, 9) == 9);
    CHECK(interpolate(0.5, x, y, 9) == doctest::Approx(5.5));
    CHECK(interpolate(1, x, y, 9) == 2);
    CHECK(interpolate(1.5, x, y, 9) == doctest::Approx(3));
    CHECK(interpolate(2, x, y, 9) == 4);
    CHECK(interpolate(3, x, y, 9) == 4);
}

TEST_CASE("The area below a precision curve is that of its envelope") {
    CHECK(average_precision(std::vector<double>{1}, std::vector<double>{1}) == doctest::Approx(0.995));
    CHECK(average_precision(std::vector<double>{0}, std::vector<double>{0}) ==
          doctest::Approx(0.0).epsilon(1e-12));
    // half the labels are found at precision 1, then nothing: 1 up to recall .5, then a line down to 0
    CHECK(average_precision(std::vector<double>{0.5}, std::vector<double>{1}) == doctest::Approx(0.75));
    // a dip is filled by what follows
    CHECK(average_precision(std::vector<double>{0, 0.5, 1}, std::vector<double>{0, 0.5, 0.6}) >
          average_precision(std::vector<double>{0, 0.5, 1}, std::vector<double>{0, 0.5, 0.5}));
}

TEST_CASE("Smoothing keeps a constant and widens a peak") {
    auto const flat = smoothed(std::vector<double>(20, 3.0), 5);
    CHECK(std::all_of(flat.begin(), flat.end(), [](double v) { return std::abs(v - 3) < 1e-12; }));
    std::vector<double> peak(9);
    peak[4] = 3;
    CHECK(smoothed(peak, 3) == std::vector<double>{0, 0, 0, 1, 1, 1, 0, 0, 0});
}

TEST_CASE("Detections are matched with labels as the reference does, at every threshold") {
    Numbers random(5);
    for (int round = 0; round < 50; ++round) {
        auto const [found, wanted] = picture(random, 2);
        std::vector<ClassBox> detections, labels;
        for (int i = 0; i < found.size(0); ++i) {
            auto const r = found.accessor<float, 2>()[i];
            detections.push_back({static_cast<int>(r[5]), r[0], r[1], r[2], r[3]});
        }
        for (int i = 0; i < wanted.size(0); ++i) {
            auto const r = wanted.accessor<float, 2>()[i];
            labels.push_back({static_cast<int>(r[0]), r[1], r[2], r[3], r[4]});
        }
        auto const correct = match_detections(detections, labels);
        for (std::size_t t = 0; t < iou_thresholds.size(); ++t) {
            auto const expected = slow_match(detections, labels, iou_thresholds[t]);
            for (std::size_t d = 0; d < detections.size(); ++d)
                CHECK(bool(correct[d] >> t & 1) == expected[d]);
        }
    }
}

TEST_CASE("Of two detections of one label only the first is correct") {
    std::vector<ClassBox> const label{{1, 0, 0, 10, 10}};
    CHECK(match_detections(std::vector<ClassBox>{{1, 0, 0, 10, 10}, {1, 0, 0, 10, 10}}, label) ==
          std::vector<std::uint16_t>{0x3ff, 0});
    CHECK(match_detections(std::vector<ClassBox>{{0, 0, 0, 10, 10}}, label) == std::vector<std::uint16_t>{0});
    // IoU .62 first: the better one is too late for .5 to .6, not for more
    CHECK(match_detections(std::vector<ClassBox>{{1, 0, 0, 10, 6.2f}, {1, 0, 0, 10, 10}}, label) ==
          std::vector<std::uint16_t>{0x7, 0x3f8});
}

TEST_CASE("Perfect detections have the full score") {
    DetectionMetrics metrics(3);
    Numbers random(2);
    for (int i = 0; i < 20; ++i) {
        auto const labels =
            torch::tensor({{float(i % 3), 10.f, 20.f, 60.f, 90.f}, {1.f, 100.f, 20.f, 160.f, 90.f}});
        auto const confidence = torch::tensor({{random(0.1f, 1)}, {random(0.1f, 1)}});
        metrics.add(torch::cat({labels.narrow(1, 1, 4), confidence, labels.narrow(1, 0, 1)}, 1), labels);
    }
    auto const result = metrics.compute();
    CHECK(result.images == 20);
    CHECK(result.labels == 40);
    CHECK(result.map50 == doctest::Approx(0.995));  // the curve ends at precision 0
    CHECK(result.map == doctest::Approx(0.995));
    CHECK(result.precision == doctest::Approx(1));
    CHECK(result.recall == doctest::Approx(1));
    CHECK(result.fitness() == doctest::Approx(0.995));
    REQUIRE(result.per_class.size() == 3);
    CHECK(result.per_class[1].labels == 27);
    CHECK(result.per_class[1].images == 20);
    CHECK(result.per_class[2].images == 6);
}

TEST_CASE("Without labels or without detections every figure is zero") {
    auto const none = torch::zeros({0, 6}), nothing = torch::zeros({0, 5});
    auto const box = torch::tensor({{0.f, 0.f, 10.f, 10.f, 0.9f, 0.f}});
    auto const label = torch::tensor({{0.f, 0.f, 0.f, 10.f, 10.f}});
    DetectionMetrics empty(2), unlabelled(2), blind(2);
    CHECK(empty.compute().images == 0);
    unlabelled.add(box, nothing);
    blind.add(none, label);
    for (auto const& result : {empty.compute(), unlabelled.compute(), blind.compute()}) {
        CHECK(result.map50 == 0);
        CHECK(result.map == 0);
        CHECK(result.precision == 0);
        CHECK(result.recall == 0);
    }
    CHECK(unlabelled.compute().per_class.empty());
    CHECK(blind.compute().per_class.size() == 1);
    CHECK(blind.compute().labels == 1);
}

TEST_CASE("Precision, recall and area of a small case are those worked out by hand") {
    // two labels of one class; by confidence: correct (.9), false (.8), correct (.7)
    auto const labels = torch::tensor({{0.f, 0.f, 0.f, 10.f, 10.f}, {0.f, 50.f, 50.f, 60.f, 60.f}});
    auto const detections = torch::tensor({{0.f, 0.f, 10.f, 10.f, 0.9f, 0.f},
                                           {200.f, 0.f, 210.f, 10.f, 0.8f, 0.f},
                                           {50.f, 50.f, 60.f, 60.f, 0.7f, 0.f}});
    DetectionMetrics metrics(1);
    metrics.add(detections, labels);
    // envelope: 1 up to recall .5, where it falls at once to 2/3, level up to 1, where it is 0
    auto const area = 0.49 + 0.01 * (1 + 2.0 / 3) / 2 + 0.49 * 2 / 3 + 0.01 * (2.0 / 3) / 2;
    auto const result = metrics.compute();
    CHECK(result.map50 == doctest::Approx(area).epsilon(1e-9));
    // the mean F1 is highest at low confidence: everything is reported
    CHECK(result.recall == doctest::Approx(1));
    CHECK(result.precision == doctest::Approx(2.0 / 3));
}

TEST_CASE("The order in which images and boxes are added does not matter") {
    Numbers random(11);
    std::vector<Picture> pictures;
    for (int i = 0; i < 30; ++i) pictures.push_back(picture(random, 4));
    DetectionMetrics forward(4), backward(4);
    for (auto const& p : pictures) forward.add(p.detections, p.labels);
    for (auto p = pictures.rbegin(); p != pictures.rend(); ++p)
        backward.add(p->detections.flip(0), p->labels.flip(0));
    auto const a = forward.compute(), b = backward.compute();
    CHECK(a.map > 0.02);
    CHECK(a.map < 0.9);
    CHECK(a.map == doctest::Approx(b.map).epsilon(1e-12));
    CHECK(a.precision == doctest::Approx(b.precision).epsilon(1e-12));
    CHECK(a.recall == doctest::Approx(b.recall).epsilon(1e-12));
}

TEST_CASE("A class number that does not exist is an error that says how many there are") {
    DetectionMetrics metrics(2);
    CHECK_THROWS_WITH_AS(metrics.add({}, torch::tensor({{2.f, 0.f, 0.f, 1.f, 1.f}})),
                         doctest::Contains("there are 2 classes"), std::runtime_error);
}
