#include <support/doctest.hpp>
#include <support/files.hpp>

#include <yolo/io/coco_json.hpp>
#include <yolo/metrics/coco.hpp>

#include <random>

using namespace yolo;
using support::contains;
using support::message_of;
using support::TemporaryFolder;

namespace {

struct Case {
    CocoGroundTruth truth;
    std::vector<CocoDetection> detections;
};

CocoImageId number(std::int64_t id) { return id; }

/// One image and one category, both 1.
Case one_image(std::vector<CocoAnnotation> annotations,
               std::vector<std::pair<CocoBox, double>> const& found) {
    Case out{{{{number(1), ""}}, std::move(annotations), {{1, "thing"}}}, {}};
    std::int64_t id = 1;
    for (auto& a : out.truth.annotations) {
        a.id = id++;
        a.image_id = number(1);
        a.category_id = 1;
        if (a.area == 0) a.area = a.box[2] * a.box[3];
    }
    for (auto const& [box, score] : found) out.detections.push_back({number(1), 1, box, score});
    return out;
}
CocoStats evaluate(Case const& c, CocoOptions const& options = {}) {
    return coco_evaluate(c.truth, c.detections, options);
}
double value(CocoStats const& stats, std::string_view name) {
    for (std::size_t i = 0; i < stats.names.size(); ++i)
        if (stats.names[i] == name) return stats.values[i];
    FAIL("no figure " << name);
    return 0;
}

/// The definition, slowly: everything anew for each threshold, range of areas and number of detections.
class Slowly {
public:
    explicit Slowly(Case const& c) : case_(c) {}

    std::array<double, 12> operator()() {
        return {mean(true, -1, 0, 100),  mean(true, 0, 0, 100),   mean(true, 5, 0, 100),
                mean(true, -1, 1, 100),  mean(true, -1, 2, 100),  mean(true, -1, 3, 100),
                mean(false, -1, 0, 1),   mean(false, -1, 0, 10),  mean(false, -1, 0, 100),
                mean(false, -1, 1, 100), mean(false, -1, 2, 100), mean(false, -1, 3, 100)};
    }

private:
    struct Row {
        double score;
        bool right, ignored;
    };

    double mean(bool precision, int only, int area, std::size_t most) {
        double sum = 0, count = 0;
        for (auto const& category : case_.truth.categories)
            for (int t = 0; t < 10; ++t) {
                if (only >= 0 && t != only) continue;
                double wanted = 0;
                std::vector<Row> rows;
                auto images = case_.truth.images;
                std::sort(images.begin(), images.end(), [](auto& a, auto& b) { return a.id < b.id; });
                for (auto const& image : images)
                    match(image.id, category.id, t == 9 ? 0.95 : 0.5 + t * 0.45 / 9, area, most, rows,
                          wanted);
                if (wanted == 0) continue;
                std::stable_sort(rows.begin(), rows.end(),
                                 [](auto& a, auto& b) { return a.score > b.score; });
                double right = 0, wrong = 0;
                std::vector<double> p, r;
                for (auto const& row : rows) {
                    right += row.right && !row.ignored;
                    wrong += !row.right && !row.ignored;
                    p.push_back(right / std::max(right + wrong, 1e-9));
                    r.push_back(right / wanted);
                }
                if (!precision) {
                    sum += r.empty() ? 0 : r.back();
                    ++count;
                    continue;
                }
                for (int k = 0; k <= 100; ++k, ++count) {  // 35 * 0.01 is above 7 of 20, as in pycocotools
                    double best = 0;
                    for (std::size_t i = 0; i < p.size(); ++i)
                        if (r[i] >= k * 0.01) best = std::max(best, p[i]);
                    sum += best;
                }
            }
        return count == 0 ? -1 : sum / count;
    }

    void match(CocoImageId const& image, std::int64_t category, double threshold, int area, std::size_t most,
               std::vector<Row>& rows, double& wanted) {
        static constexpr double least[]{0, 0, 1024, 9216}, greatest[]{1e10, 1024, 9216, 1e10};
        auto const without = [&](double a) { return a < least[area] || a > greatest[area]; };
        struct Object {
            CocoAnnotation a;
            bool ignored, taken = false;
        };
        std::vector<Object> objects;
        for (auto const& a : case_.truth.annotations)
            if (a.image_id == image && a.category_id == category)
                objects.push_back({a, a.crowd || without(a.area)});
        std::stable_sort(objects.begin(), objects.end(),
                         [](auto& a, auto& b) { return a.ignored < b.ignored; });
        for (auto const& o : objects) wanted += !o.ignored;
        std::vector<CocoDetection> found;
        for (auto const& d : case_.detections)
            if (d.image_id == image && d.category_id == category) found.push_back(d);
        std::stable_sort(found.begin(), found.end(), [](auto& a, auto& b) { return a.score > b.score; });
        found.resize(std::min(found.size(), most));
        for (auto const& d : found) {
            Object* best = nullptr;
            double best_iou = threshold;
            for (auto& o : objects) {
                if (o.taken && !o.a.crowd) continue;
                if (best && !best->ignored && o.ignored) break;
                auto const& [x, y, w, h] = d.box;
                auto const& [X, Y, W, H] = o.a.box;
                auto const width = std::max(0., std::min(x + w, X + W) - std::max(x, X));
                auto const both = width * std::max(0., std::min(y + h, Y + H) - std::max(y, Y));
                auto const iou = both / (o.a.crowd ? w * h : w * h + W * H - both);
                if (iou >= best_iou) best = &o, best_iou = iou;
            }
            if (best) best->taken = true;
            rows.push_back({d.score, best != nullptr, best ? best->ignored : without(d.box[2] * d.box[3])});
        }
    }

    Case const& case_;
};

/// Coarse boxes and scores, so that many are equal.
Case random_case(std::uint32_t seed) {
    std::mt19937 engine(seed);
    auto const below = [&](std::uint32_t n) { return static_cast<int>(engine() % n); };
    Case out;
    int const images = 1 + below(8), classes = 1 + below(4);
    bool const texts = below(4) == 0;
    for (int c = classes; c > 0; --c) out.truth.categories.push_back({c * 3, "c"});
    std::int64_t id = 1;
    for (int i = images; i > 0; --i) {
        CocoImageId image = number(i);
        if (texts) image = "image" + std::to_string(i);
        out.truth.images.push_back({image, ""});
        auto const box = [&] {
            return CocoBox{10. * below(6), 10. * below(6), 8. * (1 + below(18)), 8. * (1 + below(18))};
        };
        for (int n = below(10); n > 0; --n) {
            auto const b = box();
            auto const category = 3 * (1 + below(static_cast<std::uint32_t>(classes)));
            out.truth.annotations.push_back({id++, image, category, b, b[2] * b[3], below(6) == 0});
            for (int k = below(4); k > 0; --k)
                out.detections.push_back({image,
                                          category,
                                          {b[0] + below(5), b[1] + below(5), b[2] + below(9), b[3]},
                                          below(12) / 12.});
        }
        for (int n = below(i == 1 ? 130 : 12); n > 0; --n)
            out.detections.push_back({image, i == 1 ? 3 : 3 * (1 + below(5)), box(), below(12) / 12.});
    }
    std::shuffle(out.detections.begin(), out.detections.end(), engine);
    return out;
}

void write_text(std::filesystem::path const& path, std::string const& text) {
    std::ofstream(path, std::ios::binary) << text;
}

std::string const annotations = R"({"info": {"a": [1, {"b": []}]}, "images": [{"id": 7, "file_name": "7.jpg"},
    {"id": "x", "coco_url": null}], "annotations": [{"id": 3, "image_id": 7, "category_id": 18, "iscrowd": 0,
    "segmentation": [[1, 2, 3], {"bbox": 5}], "area": 50, "bbox": [1, 2.5, 3e1, 4], "ignore": 1}, {"bbox": [0, 0, 1, 1],
    "id": 4, "image_id": "x", "category_id": 90.0, "iscrowd": 1, "area": 1.5}], "categories": [{"id": 90, "name": "b",
    "supercategory": "s"}, {"id": 18, "name": "a"}]})";

}  // namespace

TEST_CASE("a perfect detection of every object is 1 in all figures that have objects") {
    auto const stats = evaluate(one_image({{.box = {0, 0, 10, 10}}, {.box = {50, 50, 50, 50}}},
                                          {{{0, 0, 10, 10}, 0.9}, {{50, 50, 50, 50}, 0.8}}));
    CHECK(stats.ap() == doctest::Approx(1));
    CHECK(value(stats, "APs") == doctest::Approx(1));
    CHECK(value(stats, "APm") == doctest::Approx(1));
    CHECK(value(stats, "APl") == -1);
    CHECK(value(stats, "AR1") == 0.5);
    CHECK(value(stats, "AR10") == 1);
    REQUIRE(stats.per_category.size() == 1);
    CHECK(stats.per_category[0].name == "thing");
    CHECK(stats.per_category[0].ap == doctest::Approx(1));
}

TEST_CASE("a wrong detection lowers precision only where it comes before a right one") {
    CocoBox const box{0, 0, 100, 100}, elsewhere{500, 500, 100, 100};
    CHECK(evaluate(one_image({{.box = box}}, {{box, 0.9}, {elsewhere, 0.1}})).ap() == doctest::Approx(1));
    CHECK(evaluate(one_image({{.box = box}}, {{box, 0.1}, {elsewhere, 0.9}})).ap() == doctest::Approx(0.5));
    // of two objects one is found: precision 1 at the recalls 0, .01 ... .5
    CHECK(evaluate(one_image({{.box = box}, {.box = elsewhere}}, {{box, 0.9}})).ap50() ==
          doctest::Approx(51. / 101));
}

TEST_CASE("an IoU that equals a threshold reaches it") {
    auto const stats = evaluate(one_image({{.box = {0, 0, 4, 1}}}, {{{0, 0, 3, 1}, 0.9}}));  // 0.75
    CHECK(value(stats, "AP75") == doctest::Approx(1));
    CHECK(value(stats, "AP") == doctest::Approx(0.6));
}

TEST_CASE("an object is found once, a crowd as often as one likes, and what is in a crowd is not counted") {
    CocoBox const object{0, 0, 40, 40}, crowd{100, 100, 200, 200}, inside{120, 120, 20, 20};
    auto const twice = evaluate(one_image({{.box = object}, {.box = {300, 0, 40, 40}}},
                                          {{object, 0.9}, {object, 0.8}, {{300, 0, 40, 40}, 0.7}}));
    CHECK(twice.ap50() == doctest::Approx((51 + 50 * 2. / 3) / 101));
    auto const in_crowd = evaluate(one_image({{.box = object}, {.box = crowd, .crowd = true}},
                                             {{inside, 0.9}, {inside, 0.8}, {object, 0.7}}));
    CHECK(in_crowd.ap() == doctest::Approx(1));
    CHECK(value(in_crowd, "AR1") == 0);  // the crowd takes the place of the best
    auto const no_crowd =
        evaluate(one_image({{.box = object}, {.box = crowd}}, {{inside, 0.9}, {object, 0.7}}));
    CHECK(no_crowd.ap50() == doctest::Approx(0.5 * 51 / 101));
}

TEST_CASE("objects count by the file's area, detections that match nothing by their box") {
    // small by its outline, though its box is medium; the wrong detection is large
    auto const c = one_image({{.box = {0, 0, 40, 40}, .area = 1000}},
                             {{{300, 300, 200, 200}, 0.95}, {{0, 0, 40, 40}, 0.9}});
    auto const stats = evaluate(c);
    CHECK(stats.ap() == doctest::Approx(0.5));
    CHECK(value(stats, "APs") == doctest::Approx(1));
    CHECK(value(stats, "APm") == -1);
    auto edge = one_image({{.box = {0, 0, 32, 32}}}, {{{0, 0, 32, 32}, 0.9}});  // 1024 px²: small and medium
    CHECK(value(evaluate(edge), "APs") == doctest::Approx(1));
    CHECK(value(evaluate(edge), "APm") == doctest::Approx(1));
}

TEST_CASE("only the 100 best of a category and image count") {
    std::vector<std::pair<CocoBox, double>> found(100, {{500, 500, 10, 10}, 0.9});
    found.push_back({{0, 0, 50, 50}, 0.8});
    auto const last = evaluate(one_image({{.box = {0, 0, 50, 50}}}, found));
    CHECK(value(last, "AR100") == 0);
    found.erase(found.begin());
    auto const hundredth = evaluate(one_image({{.box = {0, 0, 50, 50}}}, found));
    CHECK(value(hundredth, "AR100") == 1);
    CHECK(value(hundredth, "AR10") == 0);
    CHECK(hundredth.ap50() == doctest::Approx(0.01));
}

TEST_CASE("equal scores keep the order of images and of the input") {
    CocoBox const box{0, 0, 50, 50}, elsewhere{200, 200, 50, 50};
    CHECK(evaluate(one_image({{.box = box}}, {{box, 0.5}, {elsewhere, 0.5}})).ap() == doctest::Approx(1));
    CHECK(evaluate(one_image({{.box = box}}, {{elsewhere, 0.5}, {box, 0.5}})).ap() == doctest::Approx(0.5));
    auto c = one_image({{.box = box}}, {{elsewhere, 0.5}, {box, 0.5}});
    c.truth.images.push_back({number(2), ""});
    c.detections[0].image_id = number(2);  // first in the input, second by image
    CHECK(evaluate(c).ap() == doctest::Approx(1));
}

TEST_CASE("of two objects that are overlapped equally a detection takes the last") {
    CocoBox const left{0, 0, 10, 10}, right{4, 0, 10, 10}, between{2, 0, 10, 10}, at_left{-2, 0, 10, 10};
    std::vector<std::pair<CocoBox, double>> const found{{between, 0.9}, {at_left, 0.8}};  // IoU 2/3
    CHECK(value(evaluate(one_image({{.box = left}, {.box = right}}, found)), "AR100") ==
          doctest::Approx(0.4));
    CHECK(value(evaluate(one_image({{.box = right}, {.box = left}}, found)), "AR100") ==
          doctest::Approx(0.2));
}

TEST_CASE("an annotation of id 0 and annotations of one id are taken as pycocotools takes them") {
    CocoBox const box{0, 0, 50, 50}, elsewhere{200, 200, 50, 50};
    auto c = one_image({{.box = box}, {.box = elsewhere}}, {{box, 0.9}, {elsewhere, 0.8}});
    c.truth.annotations[0].id = 0;
    CHECK(value(evaluate(c), "AR100") == 0.5);
    c.truth.annotations[0].id = c.truth.annotations[1].id;  // twice the second
    CHECK(value(evaluate(c), "AR100") == 0.5);
    c.detections[0].box = elsewhere;
    CHECK(value(evaluate(c), "AR100") == 1);
}

TEST_CASE("images and categories may be chosen") {
    CocoBox const box{0, 0, 50, 50};
    auto c = one_image({{.box = box}}, {{box, 0.9}});
    c.truth.images.push_back({number(2), ""});
    c.truth.categories.push_back({2, "other"});
    c.truth.annotations.push_back({9, number(2), 1, box, 2500, false});
    c.truth.annotations.push_back({10, number(1), 2, box, 2500, false});
    c.detections.push_back({number(1), 77, box, 1});  // of no category
    CHECK(value(evaluate(c), "AR100") == 0.25);
    CHECK(value(evaluate(c, {.images = {number(1)}}), "AR100") == 0.5);
    CHECK(value(evaluate(c, {.images = {number(1), number(5)}, .categories = {1}}), "AR100") == 1);
    CHECK(evaluate(c, {.categories = {2}}).per_category.size() == 1);
    CHECK(evaluate(c, {.images = {number(5)}}).ap() == -1);
}

TEST_CASE("without objects every figure is -1, without detections it is 0") {
    CHECK(evaluate({}).values == CocoStats{}.values);
    CHECK(evaluate(one_image({}, {{{0, 0, 1, 1}, 0.5}})).values == CocoStats{}.values);
    auto const stats = evaluate(one_image({{.box = {0, 0, 10, 10}}}, {}));
    CHECK(stats.ap() == 0);
    CHECK(value(stats, "AR100") == 0);
    CHECK(value(stats, "ARl") == -1);
}

TEST_CASE("a detection that is not finite, or of an unknown image, is named") {
    auto c = one_image({{.box = {0, 0, 10, 10}}}, {{{0, 0, 10, 10}, 0.5}});
    c.detections[0].score = std::nan("");
    CHECK(contains(message_of([&] { evaluate(c); }),
                   "detection 0 has a box or a score that is not a finite number"));
    c.detections[0] = {"there", 1, {}, 0.5};
    CHECK(contains(message_of([&] { evaluate(c); }),
                   "detection 0 is of image \"there\", which the annotations lack"));
}

TEST_CASE("random cases give what the definition gives, to the last bit whatever the number of threads") {
    int judged = 0;
    for (std::uint32_t seed = 0; seed < 120; ++seed) {
        CAPTURE(seed);
        auto const c = random_case(seed);
        auto const stats = evaluate(c);
        auto const slow = Slowly(c)();
        for (std::size_t i = 0; i < slow.size(); ++i) {
            CAPTURE(stats.names[i]);
            CHECK(std::abs(stats.values[i] - slow[i]) < 1e-9);
            judged += slow[i] > 0 && slow[i] < 1;
        }
        for (int threads : {1, 2, 7}) CHECK(evaluate(c, {.threads = threads}).values == stats.values);
    }
    CHECK(judged > 500);
}

TEST_CASE("the summary is pycocotools' text") {
    CocoStats stats;
    stats.values = {0.2034, 0.5, 0.0625, -1, 0, 1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6};
    auto const text = coco_summary(stats);
    CHECK(text.starts_with(
        " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.203\n"
        " Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 0.500\n"
        " Average Precision  (AP) @[ IoU=0.75      | area=   all | maxDets=100 ] = 0.062\n"
        " Average Precision  (AP) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = -1.000\n"));
    CHECK(
        text.ends_with(" Average Recall     (AR) @[ IoU=0.50:0.95 | area=medium | maxDets=100 ] = 0.500\n"
                       " Average Recall     (AR) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = 0.600\n"));
    CHECK(contains(text,
                   " Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=  1 ] = 0.100\n"
                   " Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets= 10 ] = 0.200\n"));
    auto const json = to_json(stats);
    CHECK(json["AP"] == 0.2034);
    CHECK(json["AR10"] == 0.2);
    CHECK(json["ARl"] == 0.6);
}

TEST_CASE("an annotation file is read, what is of no use is passed over") {
    TemporaryFolder const folder;
    write_text(folder / "a.json", annotations);
    auto const truth = read_coco_annotations(folder / "a.json");
    REQUIRE(truth.images.size() == 2);
    CHECK(truth.images[0].file_name == "7.jpg");
    CHECK(truth.images[1].id == CocoImageId("x"));
    REQUIRE(truth.annotations.size() == 2);
    CHECK(truth.annotations[0].box == CocoBox{1, 2.5, 30, 4});
    CHECK(truth.annotations[0].area == 50);
    CHECK(!truth.annotations[0].crowd);
    CHECK(truth.annotations[1].crowd);
    CHECK(truth.annotations[1].category_id == 90);
    CHECK(truth.annotations[1].image_id == CocoImageId("x"));
    CHECK(coco_category_ids(truth, 2) == std::vector<std::int64_t>{18, 90});
    CHECK(contains(message_of([&] { coco_category_ids(truth, 80); }),
                   "have 2 categories and the network has 80"));
    auto const coco = coco_category_ids();
    CHECK(coco.size() == 80);
    CHECK(std::array{coco[0], coco[10], coco[11], coco[79]} == std::array<std::int64_t, 4>{1, 11, 13, 90});
}

TEST_CASE("results are written as Python writes them, and read again") {
    TemporaryFolder const folder;
    write_text(folder / "a.json", annotations);
    auto const truth = read_coco_annotations(folder / "a.json");
    write_coco_results(folder / "r.json", {{number(7), 18, {1.23456, 0.0005, 100, -0.0001}, 0.123456789},
                                           {"x", 90, {12.5, 1e6, 0.0625, 2.0004}, 1}});
    std::ifstream in(folder / "r.json");
    std::string const text((std::istreambuf_iterator<char>(in)), {});
    CHECK(text ==
          R"([{"image_id": 7, "category_id": 18, "bbox": [1.235, 0.001, 100.0, -0.0], "score": 0.12346}, )"
          R"({"image_id": "x", "category_id": 90, "bbox": [12.5, 1000000.0, 0.062, 2.0], "score": 1.0}])");
    auto const read = read_coco_results(folder / "r.json", truth);
    REQUIRE(read.size() == 2);
    CHECK(read[0].image_id == number(7));
    CHECK(read[0].box[0] == 1.235);
    CHECK(read[1].image_id == CocoImageId("x"));
    CHECK(read[1].category_id == 90);
    write_coco_results(folder / "none.json", {});
    CHECK(read_coco_results(folder / "none.json", truth).empty());
    CHECK(contains(message_of([&] {
                       write_coco_results(folder / "r.json", {{number(7), 1, {}, std::nan("")}});
                   }),
                   "detection 0 has a box or a score that is not finite"));
    CHECK(coco_image_id("a/000000000139.jpg") == number(139));
    CHECK(coco_image_id("dog.1.jpg") == CocoImageId("dog.1"));
    CHECK(coco_image_id("-5.jpg") == CocoImageId("-5"));
    CHECK(coco_image_id("") == CocoImageId(""));
}

TEST_CASE("a file that does not fit is refused with its name, the entry and what to do") {
    TemporaryFolder const folder;
    write_text(folder / "a.json", annotations);
    auto const truth = read_coco_annotations(folder / "a.json");
    auto const path = folder / "r.json";
    auto const results = [&](std::string const& text) {
        write_text(path, text);
        auto const message = message_of([&] { read_coco_results(path, truth); });
        CHECK(contains(message, path.string()));
        return message;
    };
    std::string const good = R"({"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}, )";
    auto const second = [&](std::string const& entry) { return results("[" + good + entry + "]"); };
    CHECK(contains(second(R"({"category_id": 1, "bbox": [1, 2, 3, 4], "score": 1})"),
                   "entry 1 has no \"image_id\"; add"));
    CHECK(contains(second(R"({"image_id": 7, "category_id": 1, "bbox": [1, 2, 3], "score": 1})"),
                   "\"bbox\" that is not four"));
    CHECK(contains(second(R"({"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, "4"], "score": 1})"),
                   "not four"));
    CHECK(contains(second(R"({"image_id": 7, "category_id": 1, "bbox": [1, 2, [3], 4, 5], "score": 1})"),
                   "not four"));
    CHECK(contains(second(R"({"image_id": 7, "category_id": 1, "bbox": 4, "score": 1})"), "not four"));
    CHECK(contains(second(R"({"image_id": 7, "category_id": 1.5, "bbox": [1, 2, 3, 4], "score": 1})"),
                   "not an integer"));
    CHECK(contains(second(R"({"image_id": null, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1})"),
                   "not an integer"));
    CHECK(contains(second(R"({"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "score": "1"})"),
                   "not a finite number"));
    CHECK(contains(second(R"({"image_id": 8, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1})"),
                   "entry 1 is of image 8, which the annotations lack; give"));
    CHECK(contains(second("5"), "entry 1 is no object"));
    CHECK(contains(second("[5]"), "entry 1 is no object"));
    CHECK(contains(second(R"({"score": NaN})"), "is no complete JSON"));
    CHECK(contains(second(R"({"score": 1e999})"), "is no complete JSON"));
    CHECK(contains(results("[" + good), "is no complete JSON"));
    CHECK(contains(results(""), "is no complete JSON"));
    CHECK(contains(results("{}"), "is an object, not a list; give a list of {image_id"));
    CHECK(contains(results("3"), "is no list"));

    auto const refused = [&](std::string const& text) {
        write_text(path, text);
        return message_of([&] { read_coco_annotations(path); });
    };
    CHECK(contains(refused("[]"), "is a list, not an object"));
    CHECK(contains(refused(R"({"images": [], "annotations": []})"),
                   "has no list \"categories\"; give an annotation file"));
    CHECK(contains(
        refused(R"({"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]})"),
        "entry 0 of \"annotations\" has no \"area\""));
    CHECK(contains(refused(R"({"images": [{"id": 1}, {}]})"), "entry 1 of \"images\" has no \"id\""));
    CHECK(contains(message_of([&] { read_coco_annotations(folder / "gone.json"); }), "cannot be read"));
    CHECK(contains(message_of([&] { read_coco_annotations(folder.path()); }), "cannot be read"));
}

TEST_SUITE("shared") {
    TEST_CASE("the golden cases give pycocotools' figures") {
        NEEDS_SHARED("golden/coco_eval_1.json");
        TemporaryFolder const folder;
        for (int i = 1; i <= 3; ++i) {
            CAPTURE(i);
            auto const file = support::shared("golden/coco_eval_" + std::to_string(i) + ".json");
            auto const golden = nlohmann::json::parse(std::ifstream(file));
            auto const truth = read_coco_annotations(file);
            write_text(folder / "results.json", golden.at("detections").dump());
            auto const stats = coco_evaluate(truth, read_coco_results(folder / "results.json", truth));
            auto const wanted = golden.at("expected").at("stats").get<std::vector<double>>();
            auto const each = golden.at("expected").at("per_category_ap").get<std::vector<double>>();
            REQUIRE(wanted.size() == stats.values.size());
            REQUIRE(each.size() == stats.per_category.size());
            for (std::size_t k = 0; k < wanted.size(); ++k)
                CHECK(std::abs(stats.values[k] - wanted[k]) < 1e-9);
            for (std::size_t k = 0; k < each.size(); ++k)
                CHECK(std::abs(stats.per_category[k].ap - each[k]) < 1e-9);
        }
    }
}
