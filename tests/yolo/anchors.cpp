// AutoAnchor and the evolution of hyper-parameters: what runs before and around a training.

#include <support/doctest.hpp>
#include <support/files.hpp>

#include <yolo/data/auto_anchor.hpp>
#include <yolo/train/evolve.hpp>

namespace {
using namespace yolo;
using support::contains;
using support::message_of;
using support::read_file;
using support::TemporaryFolder;
using support::write_file;

std::vector<BoxSize> random_sizes(std::size_t count, double smallest, double largest, std::uint64_t seed) {
    Random random(seed);
    auto const side = [&] {
        return static_cast<float>(smallest * std::pow(largest / smallest, random.uniform()));
    };
    std::vector<BoxSize> sizes;
    for (std::size_t i = 0; i < count; ++i) sizes.push_back({side(), side()});
    return sizes;
}

bool same(Anchors const& a, Anchors const& b) {
    for (std::size_t l = 0; l < 3; ++l)
        for (std::size_t i = 0; i < 3; ++i)
            if (a[l][i].width != b[l][i].width || a[l][i].height != b[l][i].height) return false;
    return true;
}

std::string all(std::vector<std::string> const& lines) {
    std::string text;
    for (auto const& line : lines) text += line + "\n";
    return text;
}

/// A "training" whose figures are best at lr0 = 0.02, box = 0.1, scale = 0.7.
EvolveResult toy(Hyperparameters const& hyp) {
    auto const off = [](double value, double best) { return std::abs(std::log(value / best)); };
    double const score = std::exp(-off(hyp.lr0, 0.02) - off(hyp.box, 0.1) - off(hyp.scale, 0.7));
    return {score, score / 2, score, score / 1.5, 1 - score, 1.25 - score, 0.125};
}
}  // namespace

// ---- how anchors fit ----

TEST_CASE("recall and anchors per target are those of the obvious loops") {
    auto const boxes = random_sizes(500, 1, 900, 1);
    for (double const threshold : {4.0, 2.0, 2.91}) {
        int reached = 0, fitting = 0;
        double sum = 0;
        for (auto const& box : boxes) {
            bool some = false;
            double best = 0;
            for (auto const& level : coco_anchors)
                for (auto const& anchor : level) {
                    double const rw = box.width / anchor.width, rh = box.height / anchor.height;
                    double const worst = std::max({rw, 1 / rw, rh, 1 / rh});  // as the loss says it
                    best = std::max(best, 1 / worst);
                    if (worst < threshold) ++fitting, some = true;
                }
            reached += some;
            sum += some ? best : 0;
        }
        auto const report = evaluate_anchors(coco_anchors, boxes, threshold);
        CHECK(report.boxes == 500);
        CHECK(report.recall == doctest::Approx(reached / 500.0).epsilon(1e-12));
        CHECK(report.per_target == doctest::Approx(fitting / 500.0).epsilon(1e-12));
        CHECK(reached > 100);
        CHECK(reached < 500);
        // The search's function, which works on blocks of 64: also for what is left over.
        CHECK(AnchorFitness(boxes, threshold)(yolo::detail::in_one_row(coco_anchors)) ==
              doctest::Approx(sum / 500).epsilon(1e-6));
    }
    CHECK(evaluate_anchors(coco_anchors, {}, 4).recall == 0);
    std::vector<BoxSize> const flat{{0, 10}, {10, 0}, {0, 0}};
    CHECK(evaluate_anchors(coco_anchors, flat, 4).per_target == 0);
    CHECK(AnchorFitness(flat, 4)(yolo::detail::in_one_row(coco_anchors)) == 0);
}

TEST_CASE("anchors that shrink with the strides are turned round") {
    Anchors reversed = coco_anchors;
    std::swap(reversed.front(), reversed.back());
    CHECK(same(check_anchor_order(reversed), coco_anchors));
    CHECK(same(check_anchor_order(coco_anchors), coco_anchors));
}

// ---- k-means ----

TEST_CASE("k-means finds nine separated clusters, however different their sizes") {
    Random random(3);
    std::vector<PlanePoint> points;
    for (int cluster = 0; cluster < 9; ++cluster)
        for (int i = 0; i < 20 + 60 * cluster; ++i)
            points.push_back({static_cast<float>(cluster % 3 * 10 + 0.3 * random.normal()),
                              static_cast<float>(cluster / 3 * 10 + 0.3 * random.normal())});
    random.shuffle(std::span(points));
    Random draws(0);
    auto const found = k_means(points, 9, 30, draws);
    REQUIRE(found.centres.size() == 9);
    CHECK(std::abs(found.distortion / (2 * 0.3 * 0.3) - 1) < 0.1);
    for (int cluster = 0; cluster < 9; ++cluster)
        CHECK(std::count_if(found.centres.begin(), found.centres.end(), [&](PlanePoint const& c) {
                  return std::hypot(c.x - static_cast<float>(cluster % 3 * 10),
                                    c.y - static_cast<float>(cluster / 3 * 10)) < 0.3f;
              }) == 1);
}

TEST_CASE("k-means returns the best run's centres, with their distortion") {
    std::vector<PlanePoint> points;
    for (auto const& size : random_sizes(1000, 1, 10, 6)) points.push_back({size.width, size.height});
    Random random(0), again(0);
    auto const found = k_means(points, 9, 10, random);
    double sum = 0, least = 1e9, last = 0;
    for (auto const& p : points) {
        double nearest = 1e9;
        for (auto const& c : found.centres)
            nearest = std::min(nearest, std::pow(p.x - c.x, 2.0) + std::pow(p.y - c.y, 2.0));
        sum += nearest;
    }
    CHECK(std::abs(found.distortion * static_cast<double>(points.size()) / sum - 1) < 1e-5);
    for (int run = 0; run < 10; ++run)
        last = k_means(points, 9, 1, again).distortion, least = std::min(least, last);
    CHECK(found.distortion == least);
    CHECK(last > least);
}

TEST_CASE("k-means has no more centres than there are different points") {
    std::vector<PlanePoint> points(50, {1, 2});
    points.resize(70, {3, 4});
    Random random(0);
    auto const found = k_means(points, 9, 3, random);
    CHECK(found.centres.size() == 2);
    CHECK(found.distortion == 0);
}

// ---- AutoAnchor ----

TEST_CASE("anchors that fit stay, with YOLOv5's message") {
    auto const sizes = random_sizes(300, 12, 300, 2);
    auto const found = auto_anchor(sizes, sizes, 4, coco_anchors, 0);
    CHECK_FALSE(found.changed);
    CHECK(same(found.anchors, coco_anchors));
    REQUIRE(found.messages.size() == 1);
    auto const report = evaluate_anchors(coco_anchors, sizes, 4);
    REQUIRE(report.recall > 0.98);
    char line[160];
    std::snprintf(line, sizeof line,
                  "AutoAnchor: %.2f anchors/target, %.3f Best Possible Recall (BPR). "
                  "Current anchors are a good fit to dataset",
                  report.per_target, report.recall);
    CHECK(found.messages[0] == line);
}

TEST_CASE("tiny boxes get anchors of their own, the same for the same seed") {
    auto const sizes = random_sizes(1500, 2, 12, 4);
    REQUIRE(evaluate_anchors(coco_anchors, sizes, 4).recall < 0.98);
    auto const found = auto_anchor(sizes, sizes, 4, coco_anchors, 7);
    INFO(all(found.messages));
    CHECK(found.changed);
    CHECK(found.before.recall < 0.98);
    CHECK(found.after.recall > 0.99);
    CHECK(found.after.recall == evaluate_anchors(found.anchors, sizes, 4).recall);
    auto const row = yolo::detail::in_one_row(found.anchors);
    for (std::size_t i = 1; i < row.size(); ++i)
        CHECK(row[i - 1].width * row[i - 1].height <= row[i].width * row[i].height);
    for (auto const& anchor : row) CHECK(std::min(anchor.width, anchor.height) >= 2);
    auto const text = all(found.messages);
    CHECK(contains(text, "Anchors are a poor fit to dataset, attempting to improve..."));
    CHECK(contains(text, "WARNING Extremely small objects found: "));
    CHECK(contains(text, "labels are <3 pixels in size"));
    CHECK(contains(text, "Running kmeans for 9 anchors on 1500 points..."));
    CHECK(contains(text, "AutoAnchor: Done"));
    CHECK(same(auto_anchor(sizes, sizes, 4, coco_anchors, 7).anchors, found.anchors));
    CHECK_FALSE(same(auto_anchor(sizes, sizes, 4, coco_anchors, 8).anchors, found.anchors));
}

TEST_CASE("boxes without width or height get anchors with both") {
    std::vector<BoxSize> sizes = random_sizes(40, 20, 60, 6);
    for (int i = 0; i < 30; ++i)
        sizes.push_back({0, 20.0f + static_cast<float>(i)}),
            sizes.push_back({30.0f + static_cast<float>(i), 1e-9f});
    Random random(0);
    for (auto const& anchor : yolo::detail::first_anchors(sizes, random))
        CHECK(std::min(anchor.width, anchor.height) >= 2);
    auto const found = auto_anchor(sizes, sizes, 4, coco_anchors, 7);
    for (auto const& anchor : yolo::detail::in_one_row(found.anchors))
        CHECK(std::min(anchor.width, anchor.height) >= 2);
}

TEST_CASE("the search makes the fit of k-means better") {
    auto const sizes = random_sizes(800, 2, 12, 5);
    Random random(0);
    auto anchors = yolo::detail::first_anchors(sizes, random);
    AnchorFitness const fitness(sizes, 4);
    double const before = fitness(anchors);
    yolo::detail::mutate_anchors(anchors, fitness, 300, random);
    CHECK(fitness(anchors) > before + 0.002);
    std::vector<BoxSize> const dust(100, {1.2f, 1.2f});
    yolo::detail::mutate_anchors(anchors, AnchorFitness(dust, 4), 300, random);
    float smallest = 100;
    for (auto const& anchor : anchors) smallest = std::min({smallest, anchor.width, anchor.height});
    CHECK(smallest == 2);  // pixels; not less, though these boxes would like that
}

TEST_CASE("without enough labels the anchors stay and a sentence says so") {
    std::vector<BoxSize> const few(8, {3, 2});
    auto found = auto_anchor(few, few, 4, coco_anchors, 0);
    CHECK_FALSE(found.changed);
    CHECK(same(found.anchors, coco_anchors));
    CHECK(contains(all(found.messages), "WARNING 8 labels of at least 2 pixels are too few for 9 anchors, "
                                        "proceeding with original anchors"));
    std::vector<BoxSize> const dust(100, {1, 1});
    found = auto_anchor(dust, dust, 4, coco_anchors, 0);
    CHECK(contains(all(found.messages), "WARNING 0 labels of at least 2 pixels"));
    CHECK(contains(all(found.messages), "100 of 100 labels are <3 pixels"));
    found = auto_anchor({}, {}, 4, coco_anchors, 0);
    CHECK(same(found.anchors, coco_anchors));
    CHECK(contains(all(found.messages), "WARNING no labels found"));
    // Enough, but all alike: one cluster, no spread to whiten by.
    std::vector<BoxSize> const alike(20, {2, 2});
    found = auto_anchor(alike, alike, 4, coco_anchors, 0);
    CHECK(found.changed);
    CHECK(found.after.recall == 1);
}

TEST_CASE("worse anchors are not taken") {
    // Half of the boxes have no width at all: nothing fits them, and recall cannot rise above that of one that all else
    // reaches already.
    std::vector<BoxSize> sizes(40, {20, 20});
    sizes.resize(80, {0, 20});
    auto const found = auto_anchor(sizes, sizes, 4, coco_anchors, 0);
    CHECK_FALSE(found.changed);
    CHECK(same(found.anchors, coco_anchors));
    CHECK(contains(all(found.messages), "original anchors better than new anchors"));
}

TEST_SUITE("shared") {
    // wh: boxes in pixels of images whose longer side has 640, float32; a: the nine anchors (numpy 1.24.4):
    //   r = wh[:, None] / a[None]; x = np.minimum(r, 1 / r).min(2); fits = x > 1 / thr
    //   print(len(wh), fits.any(1).sum(), fits.sum(), x.mean(), x.max(1).mean(), x[fits].mean())
    TEST_CASE("COCO's anchors fit coco128 and the blood cells as numpy says") {
        NEEDS_SHARED("data/coco128");
        NEEDS_SHARED("data/bccd");
        Random random(0);
        auto const sizes_of = [&](std::string const& folder, double spread = 0) {
            return box_sizes(Dataset({support::shared(folder)}, 0), 640, spread, random);
        };
        auto const coco = sizes_of("data/coco128/images/train2017");
        REQUIRE(coco.size() == 929);
        auto report = evaluate_anchors(coco_anchors, coco, 4);
        CHECK(report.recall == doctest::Approx(924 / 929.0).epsilon(1e-12));
        CHECK(report.per_target == doctest::Approx(3956 / 929.0).epsilon(1e-12));
        CHECK(report.mean_fit == doctest::Approx(0.2892853252).epsilon(1e-6));
        CHECK(report.best_fit == doctest::Approx(0.6843278808).epsilon(1e-6));
        CHECK(report.past_fit == doctest::Approx(0.4721736904).epsilon(1e-6));
        report = evaluate_anchors(coco_anchors, coco, 2);
        CHECK(report.recall == doctest::Approx(833 / 929.0).epsilon(1e-12));
        CHECK(report.per_target == doctest::Approx(1483 / 929.0).epsilon(1e-12));

        auto const cells = sizes_of("data/bccd/images/train");
        REQUIRE(cells.size() == 2804);
        report = evaluate_anchors(coco_anchors, cells, 4);
        CHECK(report.recall == 1);
        CHECK(report.per_target == doctest::Approx(16199 / 2804.0).epsilon(1e-12));

        // Images of varying size: each box of an image by the same factor.
        auto const varied = sizes_of("data/coco128/images/train2017", 0.1);
        double least = 2, most = 0;
        for (std::size_t i = 0; i < coco.size(); ++i) {
            double const gain = varied[i].width / coco[i].width;
            least = std::min(least, gain), most = std::max(most, gain);
            REQUIRE(varied[i].height / coco[i].height == doctest::Approx(gain).epsilon(1e-5));
        }
        CHECK(least < 0.91);
        CHECK(least >= 0.9);
        CHECK(most > 1.09);
        CHECK(most <= 1.1);

        auto const found = auto_anchor(Dataset({support::shared("data/coco128/images/train2017")}, 0), 640, 4,
                                       coco_anchors, 0);
        CHECK_FALSE(found.changed);
        CHECK(found.before.recall == doctest::Approx(0.994).epsilon(0.003));
        CHECK(contains(found.messages.at(0), "Current anchors are a good fit to dataset"));
        CHECK(auto_anchor(Dataset({support::shared("data/coco128/images/train2017")}, 0), 160, 4,
                          coco_anchors,
                          0)
                  .changed);  // at 160 pixels COCO's boxes want smaller anchors
    }
}

// ---- evolution ----

TEST_CASE("parents are drawn from the best five by their fitness above the fifth's") {
    std::vector<Generation> generations(7);
    std::array<double, 7> const map{0.10, 0.50, 0.20, 0.40, 0.05, 0.30, 0.60};  // best five: 6, 1, 3, 5, 2
    for (std::size_t i = 0; i < map.size(); ++i) generations[i].result.map = map[i];
    std::array<int, 7> drawn{};
    int const n = 20000;
    Random random(5);
    for (int i = 0; i < n; ++i) ++drawn[select_parent(generations, random)];
    std::array<double, 7> const wanted{0, 0.3, 0, 0.2, 0, 0.1, 0.4};  // of weights 0.4, 0.3, 0.2, 0.1, 1e-6
    for (std::size_t i = 0; i < map.size(); ++i)
        CHECK(std::abs(static_cast<double>(drawn[i]) / n - wanted[i]) < 0.015);

    for (auto& generation : generations) generation.result.map = 0.5;  // alike: the first five, alike
    drawn = {};
    for (int i = 0; i < n; ++i) ++drawn[select_parent(generations, random)];
    for (std::size_t i = 0; i < 5; ++i) CHECK(std::abs(drawn[i] / static_cast<double>(n) - 0.2) < 0.015);
    generations[2].result.map = std::nan("");
    CHECK(generations[2].result.fitness() == 0);
    CHECK(select_parent({generations[2]}, random) == 0);
}

TEST_CASE("a mutation changes most hyper-parameters somewhat and stays in the limits") {
    Hyperparameters const parent;
    Evolution evolution = read_evolution("/nowhere/evolve.csv", parent);
    evolution.generations.push_back({{}, parent});
    std::map<std::string, int> changes;
    double squares = 0;
    int const n = 3000;
    for (int seed = 0; seed < n; ++seed) {
        auto const child = next_generation(evolution, parent, static_cast<std::uint64_t>(seed));
        bool some = false;
        for (std::size_t i = 0; i < genes.size(); ++i) {
            auto const& [name, member] = hyperparameter_table[i];
            double const value = child.*member;
            REQUIRE(value >= genes[i].lower);
            REQUIRE(value <= genes[i].upper);
            REQUIRE(value == yolo::detail::to_5_digits(value));
            changes[std::string(name)] += value != parent.*member;
            some = some || value != parent.*member;
        }
        squares += std::pow(child.hsv_v / parent.hsv_v - 1, 2);
        REQUIRE(some);
    }
    CHECK(std::abs(changes["lr0"] / static_cast<double>(n) - 0.8) < 0.03);
    CHECK(changes["fliplr"] == 0);   // gain 0
    CHECK(changes["degrees"] == 0);  // a factor of 0
    CHECK(changes["label_smoothing"] == 0);
    // Of a normal variate times a uniform one times 0.2, in 8 of 10 cases: variance 0.8 * 0.04 / 3.
    CHECK(std::abs(squares / n / (0.8 * 0.04 / 3) - 1) < 0.15);

    // The parent is one of the best, not the latest.
    evolution.generations[0].result.map = 0.5;
    evolution.generations[0].hyp.cls = 3.9;
    evolution.generations.push_back({{}, parent});
    for (std::uint64_t seed = 0; seed < 5; ++seed) CHECK(next_generation(evolution, parent, seed).cls > 1);
    evolution.generations.push_back(evolution.generations[0]);
    CHECK(evolution.best() == 0);

    Hyperparameters wild;
    wild.lr0 = 7, wild.momentum = 0.1, wild.cls = 1.23456789;
    auto const tamed = constrained(wild);
    CHECK(tamed.lr0 == 0.1);
    CHECK(tamed.momentum == 0.6);
    CHECK(tamed.cls == 1.2346);
    evolution.generations.clear();
    CHECK(to_yaml(next_generation(evolution, wild, 0)) == to_yaml(tamed));  // the first: what it starts from
    auto const quantized = constrained(quantized_hyperparameters());
    CHECK(to_yaml(quantized) == to_yaml(quantized_hyperparameters()));  // both defaults are inside
    CHECK(to_yaml(constrained({})) == to_yaml(Hyperparameters{}));
}

TEST_CASE("evolve.csv has YOLOv5's columns and gives back what was written") {
    TemporaryFolder const folder;
    auto const csv = folder / "evolve.csv";
    auto evolution = read_evolution(csv, {});
    CHECK(evolution.generations.empty());
    Generation first{{0.1, 0.2, 0.12345, 0.4, 1e-5, std::nan(""), 123450}, {}};
    first.hyp.lr0 = 0.012346, first.hyp.weight_decay = 1.2346e-05;
    append_generation(csv, evolution, first);
    append_generation(csv, evolution, {{}, constrained({})});
    evolution = read_evolution(csv, {});
    REQUIRE(evolution.generations.size() == 2);
    auto const& again = evolution.generations[0];
    CHECK(to_yaml(again.hyp) == to_yaml(first.hyp));
    CHECK(again.result.map50 == 0.12345);
    CHECK(again.result.box == 1e-5);
    CHECK(std::isnan(again.result.obj));
    CHECK(again.result.cls == 123450);
    auto const text = read_file(csv);
    CHECK(text.starts_with(
        "   metrics/precision,      metrics/recall,     metrics/mAP_0.5,metrics/mAP_0.5:0.95,"
        "        val/box_loss,        val/obj_loss,        val/cls_loss,                 lr0,"));
    CHECK(contains(text, "\n                 0.1,                 0.2,             0.12345,"));

    auto const yaml = best_hyperparameters_yaml(evolution);
    CHECK(yaml.starts_with(
        "# YOLOv5 Hyperparameter Evolution Results\n# Best generation: 0\n# Last generation: 1\n"
        "#    metrics/precision,"));
    write_file(folder / "hyp.yaml", yaml);
    CHECK(to_yaml(load_hyperparameters(folder / "hyp.yaml")) == to_yaml(first.hyp));
}

TEST_CASE("a file of YOLOv5's is gone on with: its columns evolve, the others stay") {
    TemporaryFolder const folder;
    auto const csv = folder / "evolve.csv";
    write_file(csv, "metrics/precision, metrics/recall, metrics/mAP_0.5, metrics/mAP_0.5:0.95, val/box_loss, "
                    "val/obj_loss, val/cls_loss, anchors, cls, lr0\r\n.1,.2,.3,.4,1,2,3,3.4,0.5,0.01\r\n");
    Hyperparameters start;
    start.box = 0.07;
    auto const done = evolve({.folder = folder.path(), .generations = 3}, start,
                             [](Hyperparameters const& hyp, int) { return toy(hyp); });
    REQUIRE(done.generations.size() == 4);
    CHECK(done.columns.size() == 10);
    for (auto const& generation : done.generations) CHECK(generation.hyp.box == 0.07);
    CHECK(done.generations[0].hyp.cls == 0.5);
    CHECK(done.generations[3].hyp.lr0 != 0.01);
    CHECK(contains(read_file(csv), ",                   3,"));
}

TEST_CASE("a damaged evolve.csv is refused before anything is trained, by line and remedy") {
    TemporaryFolder const folder;
    auto const csv = folder / "evolve.csv";
    append_generation(csv, read_evolution(csv, {}), {{}, constrained({})});
    auto const good = read_file(csv);
    auto const message = [&](std::string const& text) {
        write_file(csv, text);
        return message_of([&] {
            evolve({.folder = folder.path(), .generations = 1}, {},
                   [](auto const&, int) -> EvolveResult { throw std::runtime_error("it was trained"); });
        });
    };
    auto const with = [&](std::string const& from, std::string const& to) {
        auto text = good;
        return text.replace(text.find(from), from.size(), to);
    };
    CHECK(message(good) == "it was trained");
    CHECK(message(good.substr(0, good.size() - 1)) == "it was trained");  // without the last line's end
    append_generation(csv, read_evolution(csv, {}), {});
    CHECK(read_evolution(csv, {}).generations.size() == 2);
    CHECK(message(good.substr(0, good.size() - 30)) ==
          csv.string() + ":2: 36 values, want 37; remove the line");
    CHECK(message(with("0.937", "0,937")) == csv.string() + ":2: 38 values, want 37; remove the line");
    CHECK(message(with("0.937", "fast!")) ==
          csv.string() + ":2: 'fast!' is no value of momentum; correct or remove the line");
    CHECK(contains(message(with("0.937", "-0.93")), ":2: '-0.93' is no value of momentum"));
    CHECK(contains(message(with("0.937", "  nan")), ":2: 'nan' is no value of momentum"));
    CHECK(contains(message(with("      lr0", "learnrate")), ":1: 'learnrate' is no hyper-parameter"));
    CHECK(contains(message(with("      lrf", "      lr0")),
                   ":1: 'lr0' is no hyper-parameter, or is there twice"));
    CHECK(contains(message(with("metrics/recall", "metrics/recoil")),
                   ":1: column 2 is 'metrics/recoil', want metrics/recall; move the file away"));
    CHECK(contains(message(""), ":1: the file is empty"));
    CHECK(contains(message("metrics/precision\n"), ":1: no hyper-parameter has a column"));
    CHECK(contains(message(std::string("\0\xff\n\n", 4)), ":1: column 1 is"));
}

TEST_CASE("evolution improves a toy, and what was interrupted goes on as if it had not been") {
    TemporaryFolder const whole, parts;
    int const generations = 25;
    std::vector<int> numbers;
    std::vector<std::string> messages;
    EvolveOptions options{.folder = whole.path(), .generations = generations, .seed = 3};
    options.message = [&](std::string const& text) { messages.push_back(text); };
    auto const done = evolve(options, {}, [&](Hyperparameters const& hyp, int generation) {
        numbers.push_back(generation);
        return toy(hyp);
    });
    REQUIRE(done.generations.size() == 25);
    CHECK(to_yaml(done.generations[0].hyp) == to_yaml(Hyperparameters{}));
    double const first = done.generations[0].result.fitness();
    double const best = done.generations[done.best()].result.fitness();
    INFO(first << " to " << best);
    CHECK(best > 1.5 * first);
    for (int i = 0; i < generations; ++i) CHECK(numbers[static_cast<std::size_t>(i)] == i);
    REQUIRE(messages.size() == 25);
    CHECK(contains(messages[24], "evolve: 25 generations finished"));
    CHECK(to_yaml(load_hyperparameters(whole / "hyp_evolve.yaml")) ==
          to_yaml(done.generations[done.best()].hyp));

    options = {.folder = parts.path(), .generations = 9, .seed = 3};
    auto const train = [](Hyperparameters const& hyp, int) { return toy(hyp); };
    evolve(options, {}, train);
    // Stopped in the middle of a training, and by an exception in the middle of another.
    auto const stopped = evolve(options, {}, [](Hyperparameters const& hyp, int generation) {
        return generation < 15 ? std::optional(toy(hyp)) : std::nullopt;
    });
    CHECK(stopped.generations.size() == 15);
    CHECK(message_of([&] {
              evolve(options, {}, [](Hyperparameters const& hyp, int generation) {
                  return generation < 16 ? toy(hyp) : throw std::runtime_error("disk full");
              });
          }) == "disk full");
    options.generations = generations - 16;
    evolve(options, {}, train);
    CHECK(read_file(whole / "evolve.csv") == read_file(parts / "evolve.csv"));
    CHECK(read_file(whole / "hyp_evolve.yaml") == read_file(parts / "hyp_evolve.yaml"));

    // Differences that the file does not keep have no influence.
    TemporaryFolder const fine, halves;
    auto const nearly = [](Hyperparameters const&, int generation) {
        return EvolveResult{.map = 0.5 + 1e-7 * generation};
    };
    evolve({.folder = fine.path(), .generations = 12}, {}, nearly);
    evolve({.folder = halves.path(), .generations = 6}, {}, nearly);
    evolve({.folder = halves.path(), .generations = 6}, {}, nearly);
    CHECK(read_file(fine / "evolve.csv") == read_file(halves / "evolve.csv"));

    TemporaryFolder const other;
    options = {.folder = other.path(), .generations = 3, .seed = 4};
    auto const different = evolve(options, {}, train);
    CHECK(to_yaml(different.generations[1].hyp) != to_yaml(done.generations[1].hyp));
}
