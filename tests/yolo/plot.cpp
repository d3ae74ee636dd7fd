#include <support/doctest.hpp>
#include <support/files.hpp>

#include <yolo/data/draw.hpp>
#include <yolo/metrics/average_precision.hpp>
#include <yolo/plot/evaluation_plots.hpp>
#include <yolo/plot/labels_plot.hpp>
#include <yolo/plot/results_plot.hpp>
#include <yolo/plot/study_plot.hpp>

#include <random>

namespace fs = std::filesystem;
using namespace yolo;
using support::contains;
using support::read_file;
using support::TemporaryFolder;

namespace {

bool have_gnuplot() {
    if (std::system("gnuplot --version > /dev/null 2>&1") == 0) return true;
    std::cout << "skipped: wants gnuplot (gnuplot-nox)\n";
    if (std::getenv("CI")) FAIL("CI needs gnuplot");
    return false;
}

// While it lives, programs are looked for in this folder only.
class OnlyIn {
public:
    explicit OnlyIn(fs::path const& folder) : before_(std::getenv("PATH")) {
        setenv("PATH", folder.c_str(), 1);
    }
    ~OnlyIn() { setenv("PATH", before_.c_str(), 1); }

private:
    std::string before_;
};

// A program named gnuplot.
void fake_gnuplot(fs::path const& folder, std::string const& script) {
    std::ofstream(folder / "gnuplot") << "#!/bin/sh\n" << script << '\n';
    fs::permissions(folder / "gnuplot", fs::perms::owner_all);
}

// A picture of this size in which something is drawn.
cv::Mat drawn(fs::path const& png, int width, int height) {
    REQUIRE(fs::exists(png));
    auto const picture = read_image(png);
    CHECK(picture.cols == width);
    CHECK(picture.rows == height);
    cv::Scalar mean, deviation;
    cv::meanStdDev(picture, mean, deviation);
    CHECK(deviation[0] > 5);
    CHECK(mean[0] > 128);  // on white
    return picture;
}

// Pixels of about this colour.
int count(cv::Mat const& picture, int red, int green, int blue) {
    cv::Mat found;
    cv::inRange(picture, cv::Scalar(blue - 25, green - 25, red - 25),
                cv::Scalar(blue + 25, green + 25, red + 25), found);
    return cv::countNonZero(found);
}

bool is_plain(cv::Mat const& picture, int grey) {
    double low = 0, high = 0;
    cv::minMaxLoc(picture.reshape(1), &low, &high);
    return low == grey && high == grey;
}

std::vector<std::string> const odd_names{"it's \"quoted\"",
                                         "under_score^{x}",
                                         "100%d %s",
                                         "`touch broken`",
                                         "\x01\n\t\xff",
                                         "\xe6\xbc\xa2",
                                         "Gr\xc3\xb6\xc3\x9f"
                                         "e",
                                         "<b>&amp;</b>",
                                         "$(touch broken)",
                                         "@macro \\n \\",
                                         "a name that is much too long for a legend"};

// YOLOv5's algorithm as it is written down there: lists of matches, sorted twice.
std::vector<std::int64_t> slow_confusion(int classes, std::vector<ScoredBox> const& all,
                                         std::vector<ClassBox> const& labels) {
    auto const side = static_cast<std::size_t>(classes) + 1;
    std::vector<std::int64_t> counts(side * side);
    auto const add = [&](int row, int column) {
        ++counts[static_cast<std::size_t>(row) * side + static_cast<std::size_t>(column)];
    };
    std::vector<ScoredBox> detections;
    for (auto const& d : all)
        if (d.confidence > 0.25f) detections.push_back(d);
    struct Match {
        std::size_t label, detection;
        float iou;
    };
    std::vector<Match> matches;
    for (std::size_t l = 0; l < labels.size(); ++l)
        for (std::size_t d = 0; d < detections.size(); ++d)
            if (auto const iou = box_iou(labels[l], detections[d].box); iou > 0.45f)
                matches.push_back({l, d, iou});
    auto const keep_best = [&](auto member) {
        std::stable_sort(matches.begin(), matches.end(),
                         [](auto const& a, auto const& b) { return a.iou < b.iou; });
        std::reverse(matches.begin(), matches.end());
        std::vector<Match> kept;
        for (auto const& m : matches)
            if (std::none_of(kept.begin(), kept.end(), [&](auto const& k) { return k.*member == m.*member; }))
                kept.push_back(m);
        std::sort(kept.begin(), kept.end(),
                  [&](auto const& a, auto const& b) { return a.*member < b.*member; });
        matches = kept;
    };
    keep_best(&Match::detection);
    keep_best(&Match::label);
    for (std::size_t l = 0; l < labels.size(); ++l) {
        auto const own =
            std::find_if(matches.begin(), matches.end(), [&](auto const& m) { return m.label == l; });
        add(own == matches.end() ? classes : detections[own->detection].box.cls, labels[l].cls);
    }
    if (!matches.empty())
        for (std::size_t d = 0; d < detections.size(); ++d)
            if (std::none_of(matches.begin(), matches.end(), [&](auto const& m) { return m.detection == d; }))
                add(detections[d].box.cls, classes);
    return counts;
}

Evaluation evaluation_of(int classes) {
    Evaluation e;
    e.map50 = 0.5;
    for (int c = 0; c < classes; ++c) {
        e.per_class.push_back({c, 1, 1, 0, 0, 0.25 + 0.5 * c / classes, 0.3});
        auto& curves = e.curves.emplace_back();
        for (std::size_t i = 0; i < curve_points; ++i) {
            auto const x = static_cast<double>(i) / 999;
            auto const height = 0.4 + 0.6 * c / classes;
            curves.precision.push_back(height * (0.5 + x / 2)), curves.recall.push_back(height * (1 - x));
            curves.envelope.push_back(height * (1 - x * x));
        }
    }
    return e;
}

std::string results_csv(int epochs, bool quantized = false) {
    std::string text =
        "               epoch,      train/box_loss,      train/obj_loss,      train/cls_loss,   "
        "metrics/precision,      metrics/recall,     metrics/mAP_0.5,metrics/mAP_0.5:0.95,        "
        "val/box_loss,        val/obj_loss,        val/cls_loss,x/lr0,x/lr1,x/lr2";
    if (quantized) text += ",qat/scale_drift,qat/clip_rate";
    text += "\n";
    for (int e = 0; e < epochs; ++e) {
        text += std::to_string(e);
        for (int i = 0; i < 13 + 2 * quantized; ++i) text += ", " + std::to_string(1.0 / (e + 1 + i));
        text += "\n";
    }
    return text;
}

}  // namespace

TEST_CASE("a confusion matrix counts who is taken for whom") {
    ConfusionMatrix matrix(3);
    std::vector<ClassBox> const labels{{0, 0, 0, 10, 10}, {1, 100, 0, 110, 10}, {2, 200, 0, 210, 10}};
    matrix.add(std::vector<ScoredBox>{{{0, 0, 0, 10, 9}, 0.9f},        // right
                                      {{2, 100, 0, 110, 9}, 0.8f},     // 1 taken for 2
                                      {{1, 300, 0, 310, 9}, 0.7f},     // nothing there
                                      {{2, 200, 0, 210, 10}, 0.25f}},  // not above .25
               labels);
    CHECK(matrix(0, 0) == 1);
    CHECK(matrix(2, 1) == 1);
    CHECK(matrix(1, 3) == 1);
    CHECK(matrix(3, 2) == 1);  // missed
    CHECK(matrix.share(3, 2) == 1);
    matrix.add({}, labels);
    CHECK(matrix(3, 0) == 1);
    CHECK(matrix.share(0, 0) == 0.5);
    CHECK(matrix.share(3, 0) == 0.5);
    CHECK(matrix.share(0, 3) == 0);

    ConfusionMatrix other(2);  // of two claims the one that overlaps more, whatever the confidence
    other.add(std::vector<ScoredBox>{{{0, 0, 0, 10, 8}, 0.9f}, {{1, 0, 0, 10, 10}, 0.3f}},
              std::vector<ClassBox>{{0, 0, 0, 10, 10}});
    CHECK(other(1, 0) == 1);
    CHECK(other(0, 2) == 1);
    other.add(std::vector<ScoredBox>{{{0, 50, 0, 60, 8}, 0.9f}}, {});  // as YOLOv5 v7.0: no pair, no count
    CHECK(other(0, 2) == 1);

    CHECK_THROWS_WITH_AS(ConfusionMatrix(0), doctest::Contains("want at least 1"), std::runtime_error);
    CHECK_THROWS_WITH_AS(other.add({}, std::vector<ClassBox>{{2, 0, 0, 1, 1}, {3, 0, 0, 1, 1}}),
                         doctest::Contains("there are 2 classes"), std::runtime_error);
}

TEST_CASE("a confusion matrix of crowded pictures is that of the slow algorithm") {
    std::mt19937 random(3);
    auto const below = [&](unsigned n) { return static_cast<int>(random() % n); };
    auto const box = [&] {  // few places, so that overlaps are many and often equal
        auto const x = static_cast<float>(below(4) * 4), y = static_cast<float>(below(3) * 4);
        return ClassBox{below(4), x, y, x + 12 + static_cast<float>(below(3)), y + 12};
    };
    std::int64_t pairs = 0, missed = 0, spurious = 0;
    for (int image = 0; image < 300; ++image) {
        std::vector<ScoredBox> detections;
        std::vector<ClassBox> labels;
        for (int i = below(8); i > 0; --i)
            detections.push_back({box(), static_cast<float>(below(100)) / 100});
        for (int i = below(6); i > 0; --i) labels.push_back(box());
        ConfusionMatrix matrix(4);
        matrix.add(detections, labels);
        auto const wanted = slow_confusion(4, detections, labels);
        for (int row = 0; row <= 4; ++row)
            for (int column = 0; column <= 4; ++column) {
                auto const want = wanted[static_cast<std::size_t>(row * 5 + column)];
                REQUIRE(matrix(row, column) == want);
                (row == 4 ? missed : column == 4 ? spurious : pairs) += want;
            }
    }
    CHECK(pairs > 100);
    CHECK(missed > 100);
    CHECK(spurious > 100);
}

TEST_CASE("tensors become boxes; an impossible class is an error") {
    auto const found = detected_boxes(torch::tensor({{1.f, 2.f, 3.f, 4.f, 0.5f, 6.f}}), 7);
    REQUIRE(found.size() == 1);
    CHECK(found[0].confidence == 0.5f);
    CHECK(found[0].box.cls == 6);
    CHECK(found[0].box.y2 == 4);
    CHECK(labelled_boxes(torch::tensor({{6.f, 1.f, 2.f, 3.f, 4.f}}), 7)[0].x1 == 1);
    CHECK(detected_boxes({}, 1).empty());
    for (float const cls : {-1.f, 7.f, std::nanf("")})
        CHECK_THROWS_WITH_AS(labelled_boxes(torch::tensor({{cls, 1.f, 2.f, 3.f, 4.f}}), 7),
                             doctest::Contains("a label of class"), std::runtime_error);
}

TEST_CASE("curves are those worked out by hand, and kept only where asked for") {
    // two labels of one class; by confidence: correct (.9), false (.8), correct (.7)
    DetectionMetrics metrics(2);
    metrics.add(torch::tensor({{0.f, 0.f, 10.f, 10.f, 0.9f, 1.f},
                               {200.f, 0.f, 210.f, 10.f, 0.8f, 1.f},
                               {50.f, 50.f, 60.f, 60.f, 0.7f, 1.f}}),
                torch::tensor({{1.f, 0.f, 0.f, 10.f, 10.f}, {1.f, 50.f, 50.f, 60.f, 60.f}}));
    CHECK(metrics.compute().curves.empty());
    auto const e = metrics.compute(KeepCurves::yes);
    CHECK(e.map == metrics.compute().map);
    REQUIRE(e.curves.size() == 1);
    auto const& c = e.curves[0];
    auto const near = [](double x) { return doctest::Approx(x).epsilon(1e-4); };
    auto const at = [](double x) { return static_cast<std::size_t>(std::lround(x * 999)); };
    auto const x = [&](double wanted) { return static_cast<double>(at(wanted)) / 999; };
    CHECK(c.recall[at(0)] == 1);
    CHECK(c.precision[at(0)] == near(2. / 3));
    CHECK(c.recall[at(0.6)] == 1);
    CHECK(c.recall[at(0.75)] == near(1 - (x(0.75) - 0.7) / 0.1 * 0.5));  // straight between detections
    CHECK(c.precision[at(0.75)] == near(2. / 3 - (x(0.75) - 0.7) / 0.1 / 6));
    CHECK(c.recall[at(0.85)] == near(0.5));
    CHECK(c.precision[at(0.85)] == near(0.5 + (x(0.85) - 0.8) / 0.1 * 0.5));
    CHECK(c.recall[at(0.95)] == 0);
    CHECK(c.precision[at(0.95)] == 1);
    CHECK(c.envelope[at(0.25)] == 1);
    CHECK(c.envelope[at(0.75)] == near(2. / 3));
    CHECK(c.envelope[at(1)] == 0);
    CHECK(f1_score(1, 0.5) == near(2. / 3));
    CHECK(f1_score(0, 0) == 0);
}

TEST_CASE("no text means anything to gnuplot") {
    CHECK(plot::literal("it's") == "'it''s'");
    CHECK(plot::tic_label("100%") == "'100%%'");
    CHECK(plot::printable("a\nb\x7f\xff\xc3", 40) == "a?b???");
    CHECK(plot::printable("\xc3\xb6\xce\xa9\xd0\xaf", 40) == "\xc3\xb6\xce\xa9\xd0\xaf");
    CHECK(plot::printable("\xc2\x85\xc0\x80 \xe6\xbc\xa2\xf0\x9f\x98\x80", 40) == "?? ??");
    CHECK(plot::printable("0123456789", 8) == "01234...");
    CHECK(plot::printable("\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6", 4) == "\xc3\xb6...");
    CHECK(plot::class_label({"x", "\xe6\xbc\xa2", ""}, 0) == "x");
    for (std::size_t const cls : {1, 2, 3})  // nothing to be drawn, no name, not there
        CHECK(plot::class_label({"x", "\xe6\xbc\xa2", ""}, cls) == std::to_string(cls));
}

TEST_CASE("whatever a results.csv holds, its sound lines are read") {
    std::istringstream in("  epoch, a/b \r\n 0, 0.5\r\n1,oops\n2\n3,4,5\n\n 4,-1e-3\n5,0.");
    auto const columns = plot::detail::read_columns(in);
    CHECK(columns.at("epoch") == std::vector<double>{0, 4, 5});
    CHECK(columns.at("a/b") == std::vector<double>{0.5, -1e-3, 0});
    auto const line = plot::detail::smooth_line({1, 2, 3, 4, 5, 6, 7, 8});
    for (std::size_t i = 0; i < line.size(); ++i)
        CHECK(line[i] == doctest::Approx(1.0 + static_cast<double>(i)));
    CHECK(plot::detail::smooth_line({3}) == std::vector<double>{3});

    TemporaryFolder folder;
    for (auto const* text : {"", "epoch,train/box_loss\n", "no,columns\n1,2\n"}) {
        std::ofstream(folder / "r.csv") << text;
        CHECK(contains(plot_results(folder / "r.csv", folder / "r.png"), "r.csv holds no epoch"));
    }
    CHECK(contains(plot_results(folder / "none.csv", folder / "r.png"), "none.csv holds no epoch"));
}

TEST_CASE("without gnuplot, with a slow one or a failing one, one sentence says what to do and an old "
          "picture stays") {
    TemporaryFolder folder, programs;
    std::ofstream(folder / "r.csv") << results_csv(3);
    std::ofstream(folder / "r.png") << "old";
    OnlyIn const path(programs.path());
    auto const why = plot_results(folder / "r.csv", folder / "r.png");
    CHECK(why ==
          (folder / "r.png").string() + " was not drawn, because gnuplot is not there; install gnuplot-nox");
    CHECK(contains(plot_evaluation(evaluation_of(2), ConfusionMatrix(2), {"a", "b"}, folder.path()),
                   "PR_curve.png was not drawn"));

    fake_gnuplot(programs.path(), "exec /bin/sleep 60");
    auto const began = std::chrono::steady_clock::now();
    plot::Figure const figure(100, 100, 1);
    CHECK(contains(figure.write(folder / "r.png", std::chrono::milliseconds(200)), "took longer"));
    CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(20));

    fake_gnuplot(programs.path(),
                 "echo 'gnuplot> set x' >&2; echo '        ^' >&2; echo 'line 3: no such thing' >&2; exit 1");
    CHECK(contains(figure.write(folder / "r.png"),
                   "r.png was not drawn, gnuplot reported an error: line 3: no such thing"));
    fake_gnuplot(programs.path(), "kill -9 $$");
    CHECK(contains(figure.write(folder / "r.png"), "ended by signal 9"));
    fake_gnuplot(programs.path(), "exit 0");
    CHECK(contains(figure.write(folder / "r.png"), "gnuplot wrote nothing"));
    fake_gnuplot(programs.path(),
                 "i=0; while [ $i -lt 9000 ]; do echo 'a long complaint, again and again' >&2; i=$((i+1)); "
                 "done; echo x > plot.png");
    CHECK(contains(figure.write(folder / "none/r.png"), "does its folder exist"));
    CHECK(read_file(folder / "r.png") == "old");
    CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 2);
}

TEST_CASE("results.png has a panel for every column, a third row for quantized runs") {
    if (!have_gnuplot()) return;
    TemporaryFolder folder;
    for (int const epochs : {1, 40}) {
        std::ofstream(folder / "results.csv") << results_csv(epochs, epochs == 40);
        CHECK(plot_results(folder / "results.csv", folder / "results.png") == "");
        auto const picture = drawn(folder / "results.png", 2600, epochs == 40 ? 1800 : 1200);
        for (int row = 0; row < 2; ++row)
            for (int column = 0; column < 5; ++column)  // the points
                CHECK(count(picture(cv::Rect(column * 520, row * 600, 520, 600)), 0x7f, 0xb2, 0xd9) > 10);
    }
    // epochs that were not validated have zeros there, which are no results
    std::ofstream(folder / "results.csv")
        << "epoch,train/box_loss,metrics/recall,val/box_loss\n0,1,0,0\n1,1,0,0\n";
    CHECK(plot_results(folder / "results.csv", folder / "results.png") == "");
    auto const picture = drawn(folder / "results.png", 2600, 1200);
    CHECK(count(picture(cv::Rect(0, 0, 520, 600)), 0x7f, 0xb2, 0xd9) > 10);
    CHECK(count(picture(cv::Rect(0, 600, 520, 600)), 0x7f, 0xb2, 0xd9) == 0);
}

TEST_CASE("a confusion matrix is drawn with its shares, whatever the names and however many") {
    if (!have_gnuplot()) return;
    TemporaryFolder folder;
    auto const png = folder / "confusion_matrix.png";
    for (int const classes : {1, 11, 120}) {
        ConfusionMatrix matrix(classes);
        for (int c = 0; c < classes; ++c)
            matrix.add(std::vector<ScoredBox>{{{c, 0, 0, 10, 10}, 0.9f}},
                       std::vector<ClassBox>{{c, 0, 0, 10, 10}});
        CHECK(plot_confusion_matrix(matrix, odd_names, png) == "");
        auto const picture = drawn(png, 2600, 2250);
        auto const dark = count(picture, 0x08, 0x30, 0x6b);  // the diagonal; a figure is written in each cell
        if (classes == 11) CHECK(dark > 11 * 100 * 100);
        if (classes == 11) CHECK(dark < 11 * 150 * 150);
        CHECK(dark > 1000);
    }
    CHECK_FALSE(fs::exists("broken"));
}

TEST_CASE("the four curves are drawn, whatever the names and however many") {
    if (!have_gnuplot()) return;
    TemporaryFolder folder;
    for (int const classes : {0, 11, 21}) {
        CHECK(plot_curves(evaluation_of(classes), odd_names, folder.path()) == "");
        for (auto const* name : {"PR_curve.png", "P_curve.png", "R_curve.png", "F1_curve.png"}) {
            auto const picture = drawn(folder / name, 2250, 1500);
            CHECK(count(picture, 0, 0, 0xcc) > 3000);  // the mean
            CHECK((count(picture, 0x1f, 0x77, 0xb4) > 50) == (classes == 11));
            fs::remove(folder / name);
        }
    }
    auto without = evaluation_of(3);
    without.curves.clear();
    CHECK(contains(plot_curves(without, odd_names, folder.path()), "KeepCurves::yes"));
    CHECK_FALSE(fs::exists("broken"));
}

TEST_CASE("labels.png shows how many instances a class has") {
    if (!have_gnuplot()) return;
    TemporaryFolder folder;
    std::vector<Box> boxes(30, {0, 0.5f, 0.5f, 0.2f, 0.2f});
    boxes.resize(40, {1, 0.2f, 1, 0.5f, 1});
    CHECK(plot_labels(boxes, {"a", "b"}, folder / "labels.png") == "");
    auto const bars = drawn(folder / "labels.png", 2200, 2200)(cv::Rect(0, 0, 1110, 1100));
    double const many = count(bars, 0x1f, 0x77, 0xb4), few = count(bars, 0xff, 0x7f, 0x0e);
    CHECK(few > 10000);
    CHECK(many / few == doctest::Approx(3).epsilon(0.05));

    for (auto const& [names, some] :
         {std::pair{odd_names, boxes}, std::pair{std::vector<std::string>{}, std::vector<Box>{}},
          std::pair{std::vector<std::string>(80, "name"), boxes},
          std::pair{std::vector<std::string>(400, "name"), boxes}}) {
        CHECK(plot_labels(some, names, folder / "labels.png") == "");
        drawn(folder / "labels.png", 2200, 2200);
    }
    CHECK_FALSE(fs::exists("broken"));
}

TEST_CASE("pictures of a batch show what was found with confidence, sixteen at most, and their names") {
    TemporaryFolder folder;
    Batch batch{torch::full({20, 3, 640, 640}, 114, torch::kUInt8), torch::zeros({0, 6}), {}};
    for (int i = 0; i < 20; ++i) batch.infos.push_back({.path = "images/p\xff" + std::to_string(i) + ".jpg"});
    std::vector<torch::Tensor> found(20, torch::empty({0, 6}));
    auto const place = [&](int picture) {  // without the name and the white frame
        auto const grid = read_image(folder / "val.png");
        CHECK(grid.size() == cv::Size(1920, 1920));
        return grid(cv::Rect(picture % 4 * 480 + 2, picture / 4 * 480 + 30, 476, 440)).clone();
    };

    found[5] = torch::tensor({{64.f, 320.f, 320.f, 480.f, 0.24f, 1.f}});
    write_batch_picture(folder / "val.png", batch, found, {"a", "b"});
    CHECK(is_plain(place(5), 114));
    auto const grid = read_image(folder / "val.png");
    CHECK_FALSE(is_plain(grid(cv::Rect(4, 4, 100, 20)).clone(), 114));  // the name

    found[5] = torch::tensor({{64.f, 320.f, 320.f, 480.f, 0.25f, 1.f}});
    write_batch_picture(folder / "val.png", batch, found, {"a", "b"});
    CHECK(is_plain(place(4), 114));
    auto const drawn_place = place(5);
    auto const colour = class_colour(1);
    auto const at = drawn_place.at<cv::Vec3b>(360 - 30, 100 - 2);  // the lower edge: y = 480 * 480 / 640
    for (int k = 0; k < 3; ++k) CHECK(at[k] == cvRound(colour[k]));

    batch.targets =
        torch::tensor({{5.f, 1.f, 0.3f, 0.625f, 0.4f, 0.25f}, {19.f, 0.f, 0.5f, 0.5f, 0.5f, 0.5f}});
    write_batch_picture(folder / "val.png", batch, {"a", "b"});  // the same box as a label
    CHECK(place(5).at<cv::Vec3b>(360 - 30, 100 - 2) == at);
    found.pop_back();
    CHECK_THROWS_WITH_AS(write_batch_picture(folder / "val.png", batch, found, {}),
                         doctest::Contains("want 20"), std::runtime_error);
}

TEST_CASE("a study is drawn with a curve for each of its files, and an empty one is named") {
    TemporaryFolder const folder;
    std::ofstream(folder / "study_a.txt") << ".5 .4 .5 .3 0 0 0 1 20 .5\n.6 .5 .6 .4 0 0 0 2 40 .6\n";
    std::ofstream(folder / "study_b.txt") << ".4 .3 .4 .2 0 0 0 1 10 .5\n.5 .4 .5 .3 0 0 0 2 30 .6\n";
    std::ofstream(folder / "study_c.txt") << " \n";
    CHECK(contains(plot_study({folder / "study_c.txt"}, folder / "study.png"), "study_c.txt holds no line"));
    if (!have_gnuplot()) return;
    CHECK(plot_study({folder / "study_a.txt", folder / "study_b.txt"}, folder / "study.png") == "");
    auto const picture = drawn(folder / "study.png", 2400, 1200);
    CHECK(count(picture, 0x1f, 0x77, 0xb4) > 1000);
    CHECK(count(picture, 0xff, 0x7f, 0x0e) > 1000);
}
