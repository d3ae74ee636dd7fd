// Post-training quantization of a YOLOv5 by yolo-calibrate: what it refuses, what it writes, what it costs in mAP.

#include "support/doctest.hpp"

#include "commands.hpp"

#include <yolo/apps/calibrate.hpp>
#include <yolo/data/shapes.hpp>

namespace {
namespace apps = yolo::apps;
namespace tools = qat::calibrate;

struct Said {
    int status;
    std::string out, err;
};

template <class App> Said call(App app, std::vector<std::string> const& arguments) {
    std::vector<char const*> argv{"app"};
    for (auto const& argument : arguments) argv.push_back(argument.c_str());
    std::ostringstream out, err;
    auto* const old_out = std::cout.rdbuf(out.rdbuf());
    auto* const old_err = std::cerr.rdbuf(err.rdbuf());
    int const status = app(commands::reference(), static_cast<int>(argv.size()), argv.data());
    std::cout.rdbuf(old_out), std::cerr.rdbuf(old_err);
    return {status, out.str(), err.str()};
}

void write(std::filesystem::path const& file, std::string const& text) { std::ofstream(file) << text; }

// A data set of some images of coco128.
std::filesystem::path some_of_coco128(support::TemporaryFolder const& folder, std::size_t count) {
    std::vector<std::string> images;
    for (auto const& entry :
         std::filesystem::recursive_directory_iterator(support::shared("data/coco128/images")))
        if (entry.path().extension() == ".jpg") images.push_back(entry.path().string());
    std::sort(images.begin(), images.end());
    std::string list;
    for (std::size_t i = 0; i < std::min(count, images.size()); ++i) list += images[i] + "\n";
    write(folder / "some.txt", list);
    std::ifstream original(support::shared("data/coco128/coco128.yaml"));
    std::string yaml = "train: some.txt\nval: some.txt\n", line;
    for (bool names = false; std::getline(original, line);) {
        names |= line.starts_with("names:");
        if (names) yaml += line + "\n";
    }
    write(folder / "some.yaml", yaml);
    return folder / "some.yaml";
}

std::vector<tools::QuantizerReport> two_reports() {
    tools::QuantizerReport good, bad;
    good.path = "a.weight_grid", good.of = tools::QuantizerReport::Of::weights, good.values = 9,
    good.codes_used = 8;
    good.signal_to_noise = std::numeric_limits<double>::infinity();
    bad.path = "b.output", bad.finding = tools::Finding::never_ran;
    return {good, bad};
}
}  // namespace

TEST_CASE("a report as JSON names what was found; an infinite ratio is null") {
    auto const json = nlohmann::json::parse(apps::to_json(two_reports()).dump());
    REQUIRE(json.size() == 2);
    CHECK(json[0]["snr_db"].is_null());
    CHECK(json[0]["bits_used"] == 3.0);
    CHECK(json[0]["of"] == "weights");
    CHECK_FALSE(json[0].contains("finding"));
    CHECK(json[1]["finding"].get<std::string>().find("did not quantize") != std::string::npos);
    CHECK_FALSE(json[1].contains("snr_db"));
}

TEST_CASE("without gnuplot the script and the data are there, and one sentence says how to draw them") {
    support::TemporaryFolder folder;
    std::string const path = std::getenv("PATH");
    setenv("PATH", folder.path().c_str(), 1);
    auto const said = apps::detail::draw(two_reports(), folder / "plot.png", "it's a title");
    setenv("PATH", path.c_str(), 1);
    CHECK(said.find("install gnuplot-nox") != std::string::npos);
    CHECK(said.find("gnuplot " + (folder / "plot.gp").string()) != std::string::npos);
    CHECK(std::filesystem::exists(folder / "plot.dat"));
    if (std::system("gnuplot --version > /dev/null 2>&1") != 0) return;
    CHECK(apps::detail::draw(two_reports(), folder / "plot.png", "it's a title") == "");
    CHECK(std::filesystem::file_size(folder / "plot.png") > 1000);
}

TEST_CASE("every unfit request is refused in one sentence") {
    support::TemporaryFolder folder;
    write(folder / "d.yaml", "train: .\nval: .\nnames: [a, b]\n");
    auto const ask = [&](std::string const& experiment) {
        return call(commands::calibrate,
                    {"--experiment", experiment, "--weights", (folder / "no.pt").string(), "--data",
                     (folder / "d.yaml").string()});
    };
    CHECK(ask("silu").status == 1);
    CHECK(ask("silu").err.find("silu is a float experiment") != std::string::npos);
    CHECK(ask("stock").err.find("no.pt") != std::string::npos);
    CHECK(ask("other").err.find("known are") != std::string::npos);
    CHECK(call(commands::calibrate, {"--experiment", "stock"}).status == 2);
    CHECK(call(commands::calibrate, {"--help"}).out.find("--adaround-steps") != std::string::npos);
}

TEST_CASE("a checkpoint of another activation is another network, and that is said") {
    auto const& catalogue = commands::reference();
    auto const said = [&](char const* experiment) {
        return apps::detail::other_activation(catalogue, catalogue.find(experiment), "silu");
    };
    CHECK(said("stock").find("trained with silu and stock computes relu") != std::string::npos);
    CHECK(said("stock-silu") == "");
}

TEST_CASE("equalization, sensitivity and rounding by data run on drawn shapes, and what is idle is said") {
    torch::manual_seed(1);
    torch::set_num_threads(1);
    support::TemporaryFolder folder;
    yolo::write_shapes(folder / "shapes", {.train = 4, .val = 1, .size_px = 64, .smallest_px = 8});
    yolo::Manifest manifest;
    manifest.experiment = "relu", manifest.size = {0.33, 0.0625};
    manifest.classes = static_cast<std::int64_t>(yolo::data::Shapes::names.size());
    auto const network =
        commands::reference().find("relu").make({.size = manifest.size, .classes = manifest.classes});
    yolo::save_checkpoint(folder / "float.pt", {yolo::state_of(*network), manifest});
    auto const run = [&](std::vector<std::string> const& more) {
        std::vector<std::string> arguments{"--experiment",
                                           "stock",
                                           "--weights",
                                           (folder / "float.pt").string(),
                                           "--data",
                                           (folder / "shapes" / "shapes.yaml").string(),
                                           "--batches",
                                           "1",
                                           "--batch-size",
                                           "2",
                                           "--imgsz",
                                           "64",
                                           "--workers",
                                           "0",
                                           "--threads",
                                           "1",
                                           "--device",
                                           "cpu",
                                           "--noval",
                                           "--json",
                                           (folder / "result.json").string()};
        arguments.insert(arguments.end(), more.begin(), more.end());
        auto const said = call(commands::calibrate, arguments);
        REQUIRE_MESSAGE(said.status == 0, said.err);
        return yolo::load_json(folder / "result.json");
    };
    auto const alone = run({"--equalize", "--adaround", "--adaround-steps", "2", "--sensitivity", "alone",
                            "--report", (folder / "report.json").string()});
    CHECK_FALSE(alone["equalize"]["pairs"].empty());
    CHECK(alone["adaround"].size() == 60);  // every convolution
    for (auto const& layer : alone["adaround"])
        CHECK(layer["error_chosen"].get<double>() <= layer["error_nearest"].get<double>());
    CHECK(alone["logits_snr_db"].contains("rounding"));
    auto const& ranked = alone["sensitivity"];
    REQUIRE(ranked.size() > 120);
    CHECK(ranked.front()["snr_db"].get<double>() <= ranked[100]["snr_db"].get<double>());

    auto const layers = run({"--sensitivity", "alone", "--by-layer"})["sensitivity"];
    CHECK((layers.size() >= 60 && layers.size() < ranked.size()));

    auto const left_out = run({"--sensitivity", "all-but-one"});
    CHECK(left_out["sensitivity_of"] == "all-but-one");
    auto const& gains = left_out["sensitivity"];
    REQUIRE(gains.size() == ranked.size());
    CHECK(gains.front()["snr_db"].get<double>() >= gains.back()["snr_db"].get<double>());
    // All but one quantize: a little better than all, and far worse than one alone.
    CHECK(gains.front()["snr_db"].get<double>() >= left_out["logits_snr_db"]["calibration"].get<double>());
    CHECK(gains.front()["snr_db"].get<double>() < ranked[100]["snr_db"].get<double>());
    CHECK(call(commands::calibrate, {"--sensitivity", "some"}).status == 2);
}

TEST_SUITE("shared") {
    TEST_CASE(
        "yolov5n quantized after training loses little on coco128, and its checkpoint validates alike") {
        NEEDS_SHARED("data/weights/yolov5n.pt");
        NEEDS_SHARED("data/coco128");
        torch::set_num_threads(1);
        support::TemporaryFolder folder;
        auto const data = some_of_coco128(folder, 48).string();
        auto const file = [&](char const* name) { return (folder / name).string(); };
        auto const said = call(commands::calibrate, {"--experiment",
                                                     "stock-silu",
                                                     "--weights",
                                                     support::shared("data/weights/yolov5n.pt").string(),
                                                     "--data",
                                                     data,
                                                     "--batches",
                                                     "4",
                                                     "--batch-size",
                                                     "8",
                                                     "--imgsz",
                                                     "320",
                                                     "--workers",
                                                     "0",
                                                     "--threads",
                                                     "1",
                                                     "--correct-bias",
                                                     "--report",
                                                     file("report.json"),
                                                     "--plot",
                                                     file("plot.png"),
                                                     "--save",
                                                     file("quantized.pt"),
                                                     "--json",
                                                     file("result.json"),
                                                     "--device",
                                                     "cpu"});
        std::cout << said.out;
        REQUIRE_MESSAGE(said.status == 0, said.err);
        auto const result = yolo::load_json(folder / "result.json");
        double const before = result["float"]["map"], after = result["quantized"]["map"];
        CHECK(before > 0.25);
        CHECK(after > before - 0.03);
        CHECK(result["logits_snr_db"]["calibration"].get<double>() > 15);
        CHECK(result["logits_snr_db"]["bias correction"].get<double>() >
              result["logits_snr_db"]["calibration"].get<double>());
        CHECK(std::filesystem::exists(folder / "plot.gp"));

        auto const report = nlohmann::json::parse(std::ifstream(folder / "report.json"));
        CHECK(report.size() > 2 * 60);
        for (auto const& row : report) {
            CAPTURE(row["quantizer"]);
            CHECK_FALSE(row.contains("finding"));
        }
        // yolo-val of what was saved finds the same.
        auto const val = call(commands::val, {"--weights", file("quantized.pt"), "--data", data, "--imgsz",
                                              "320", "--batch-size", "8", "--workers", "0", "--threads", "1",
                                              "--json", file("val.json"), "--device", "cpu"});
        REQUIRE_MESSAGE(val.status == 0, val.err);
        CHECK(yolo::load_json(folder / "val.json")["map"] == after);
    }
}
