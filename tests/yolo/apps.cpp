// The command lines without their networks: what --help says, which values are refused, what a run writes down.

#include "support/doctest.hpp"

#include "commands.hpp"

#include <yolo/apps/train_arguments.hpp>
#include <yolo/io/results_json.hpp>
#include <yolo/model/typed_detector.hpp>

namespace {
namespace apps = yolo::apps;

struct Said {
    int status;
    std::string out, err;
};

Said call(std::string const& app, std::vector<std::string> const& arguments) {
    std::vector<char const*> argv{app.c_str()};
    for (auto const& argument : arguments) argv.push_back(argument.c_str());
    auto const argc = static_cast<int>(argv.size());
    yolo::Catalogue const none(qat::catalogue<>);
    std::ostringstream out, err;
    auto* const old_out = std::cout.rdbuf(out.rdbuf());
    auto* const old_err = std::cerr.rdbuf(err.rdbuf());
    int const status = app == "yolo-train"       ? commands::train(none, argc, argv.data())
                       : app == "yolo-val"       ? commands::val(none, argc, argv.data())
                       : app == "yolo-detect"    ? commands::detect(none, argc, argv.data())
                       : app == "yolo-describe"  ? commands::describe(none, argc, argv.data())
                       : app == "yolo-calibrate" ? commands::calibrate(none, argc, argv.data())
                                                 : commands::shapes(argc, argv.data());
    std::cout.rdbuf(old_out), std::cerr.rdbuf(old_err);
    return {status, out.str(), err.str()};
}

// The line of the help that begins with this option.
std::string line_of(std::string const& help, std::string const& option) {
    auto const begin = help.find("  " + option);
    REQUIRE_MESSAGE(begin != help.npos, option);
    return help.substr(begin, help.find('\n', begin) - begin);
}

// Every option of yolo-train at a value that is not its default.
std::vector<std::string> unusual() {
    return {"--data",
            "d.yaml",
            "--weights",
            "w.pt",
            "--experiment",
            "relu",
            "--hyp",
            "h.yaml",
            "--set",
            "lr0=1",
            "lrf=2",
            "--epochs",
            "7",
            "--batch-size",
            "3",
            "--imgsz",
            "96",
            "--model",
            "s",
            "--device",
            "cpu",
            "--workers",
            "5",
            "--threads",
            "6",
            "--project",
            "p",
            "--name",
            "n",
            "--seed",
            "8",
            "--optimizer",
            "AdamW",
            "--patience",
            "9",
            "--freeze",
            "1",
            "4",
            "--resume",
            "r.pt",
            "--save-period",
            "10",
            "--stop-after-epoch",
            "11",
            "--amp",
            "off",
            "--json",
            "j.json",
            "--exist-ok",
            "--cos-lr",
            "--noval",
            "--nosave",
            "--half",
            "--no-cache",
            "--cache",
            "disk",
            "--rect",
            "--image-weights",
            "--single-cls",
            "--multi-scale",
            "--mosaic-tiles",
            "9",
            "--label-smoothing",
            "0.1",
            "--noautoanchor",
            "--noplots",
            "--tensorboard",
            "--evolve",
            "2",
            "--no-ema"};
}
nlohmann::ordered_json options_of(std::vector<std::string> arguments) {
    CLI::App app;
    apps::TrainArguments a;
    a.declare(app);
    std::reverse(arguments.begin(), arguments.end());
    app.parse(arguments);
    return apps::to_json(a, a.experiment, a.epochs);
}
}  // namespace

TEST_CASE("--help says the defaults") {
    auto const says = [](std::string const& help, std::string const& option, std::string const& value) {
        auto const line = line_of(help, option);  // CLI11 before 2.4: INT=16, then INT [16]
        CHECK_MESSAGE((line.find("=" + value + " ") != line.npos || line.ends_with("=" + value) ||
                       line.find("[" + value + "]") != line.npos),
                      line);
    };
    auto const help = call("yolo-train", {"--help"}).out;
    says(help, "--epochs INT", "the experiment's");
    says(help, "--batch-size,--batch INT", "16");
    says(help, "--imgsz,--img,--img-size INT", "640");
    says(help, "--optimizer TEXT", "SGD");
    says(help, "--project TEXT", "runs/train");
    CHECK(help.find("[]") == help.npos);  // an empty list is no default worth printing
    says(call("yolo-val", {"--help"}).out, "--conf-thres,--conf FLOAT", "0.001");
    says(call("yolo-detect", {"--help"}).out, "--max-det INT", "1000");
    says(call("yolo-describe", {"--help"}).out, "--classes INT", "80");
    says(call("yolo-calibrate", {"--help"}).out, "--batches INT", "16");
    says(call("yolo-shapes", {"--help"}).out, "--train INT", "400");
}

TEST_CASE("a value that cannot work is one sentence that names the option, and exit status 2") {
    support::TemporaryFolder const folder;
    auto const output = (folder / "shapes").string();
    struct Case {
        std::string app, option, value;
    };
    for (auto const& c : std::initializer_list<Case>{
             {"yolo-train", "--imgsz", "0"},         {"yolo-train", "--imgsz", "-32"},
             {"yolo-train", "--imgsz", "31"},        {"yolo-train", "--imgsz", "x"},
             {"yolo-train", "--batch-size", "0"},    {"yolo-train", "--epochs", "-1"},
             {"yolo-train", "--epochs", "0"},        {"yolo-train", "--workers", "-1"},
             {"yolo-train", "--threads", "-1"},      {"yolo-train", "--patience", "-1"},
             {"yolo-train", "--freeze", "-1"},       {"yolo-train", "--seed", "-1"},
             {"yolo-train", "--optimizer", "LBFGS"}, {"yolo-train", "--batch-size", "99999999999"},
             {"yolo-val", "--imgsz", "0"},           {"yolo-val", "--batch-size", "0"},
             {"yolo-val", "--workers", "-1"},        {"yolo-val", "--threads", "-1"},
             {"yolo-val", "--max-det", "0"},         {"yolo-val", "--conf-thres", "1.5"},
             {"yolo-val", "--iou-thres", "-0.1"},    {"yolo-val", "--conf-thres", "nan"},
             {"yolo-detect", "--imgsz", "0"},        {"yolo-detect", "--imgsz", "31"},
             {"yolo-detect", "--max-det", "-1"},     {"yolo-detect", "--classes", "-1"},
             {"yolo-detect", "--conf-thres", "2"},   {"yolo-detect", "--threads", "-1"},
             {"yolo-describe", "--imgsz", "0"},      {"yolo-describe", "--classes", "0"},
             {"yolo-describe", "--images", "-1"},    {"yolo-describe", "--batch-size", "0"},
             {"yolo-describe", "--epochs", "-1"},    {"yolo-shapes", "--imgsz", "0"},
             {"yolo-shapes", "--imgsz", "31"},       {"yolo-shapes", "--train", "-1"},
             {"yolo-shapes", "--val", "-1"},         {"yolo-shapes", "--seed", "-1"},
             {"yolo-shapes", "--classes", "0"},      {"yolo-calibrate", "--batches", "0"},
             {"yolo-calibrate", "--imgsz", "0"},     {"yolo-calibrate", "--batch-size", "0"},
             {"yolo-calibrate", "--workers", "-1"},  {"yolo-calibrate", "--adaround-steps", "-1"},
             {"yolo-calibrate", "--threads", "-1"},  {"yolo-calibrate", "--calibrate-on", "x"}}) {
        std::vector<std::string> arguments{c.option, c.value};
        if (c.app == "yolo-shapes") arguments.insert(arguments.end(), {"--output", output});
        if (c.app == "yolo-calibrate")
            arguments.insert(arguments.end(),
                             {"--data", "d.yaml", "--weights", "w.pt", "--experiment", "stock"});
        if (c.app == "yolo-val") arguments.insert(arguments.end(), {"--data", "d.yaml", "--weights", "w.pt"});
        if (c.app == "yolo-detect") arguments.insert(arguments.end(), {"--source", "s", "--weights", "w.pt"});
        auto const said = call(c.app, arguments);
        INFO(c.app, " ", c.option, " ", c.value, ": ", said.err);
        CHECK(said.status == 2);
        CHECK(said.err.find(c.option) != std::string::npos);
        CHECK((said.err.find(c.value) != std::string::npos || c.option == "--classes"));
        CHECK(std::count(said.err.begin(), said.err.end(), '\n') == 1);
    }
    CHECK_FALSE(std::filesystem::exists(output));
}

TEST_CASE("yolo-val wants a data set and a checkpoint, or two of COCO's files; yolo-detect counts from 1") {
    struct Case {
        std::string app;
        std::vector<std::string> arguments;
        std::string option;
    };
    for (auto const& c : std::initializer_list<Case>{
             {"yolo-val", {"--weights", "w.pt"}, "--data"},
             {"yolo-val", {"--data", "d.yaml"}, "--weights"},
             {"yolo-val", {"--predictions", "p.json"}, "--annotations"},
             {"yolo-val",
              {"--data", "d.yaml", "--weights", "w.pt", "--annotations", "a.json"},
              "--save-json"},
             {"yolo-val", {"--data", "d.yaml", "--weights", "w.pt", "--task", "all"}, "--task"},
             {"yolo-detect", {"--source", "s", "--weights", "w.pt", "--vid-stride", "0"}, "--vid-stride"},
             {"yolo-detect",
              {"--source", "s", "--weights", "w.pt", "--line-thickness", "0"},
              "--line-thickness"},
             {"yolo-detect", {"--source", "s", "--weights", "w.pt", "--imgsz", "64", "31"}, "--imgsz"}}) {
        auto const said = call(c.app, c.arguments);
        INFO(c.app, " ", c.option, ": ", said.err);
        CHECK(said.status == 2);
        CHECK(said.err.find(c.option) != std::string::npos);
        CHECK(std::count(said.err.begin(), said.err.end(), '\n') == 1);
    }
}

TEST_CASE("--cache without a word means memory, as in YOLOv5") {
    CHECK(options_of({"--cache", "--rect"})["cache"] == "ram");
    CHECK(options_of({"--cache", "disk"})["cache"] == "disk");
    CHECK(options_of({"--rect"})["cache"] == "");
}

TEST_CASE("opt.json has every option of yolo-train") {
    CLI::App app;
    apps::TrainArguments a;
    a.declare(app);
    auto const written = apps::to_json(a, "relu", 3);
    for (auto const* option : app.get_options()) {
        auto const name = option->get_lnames().front();
        CAPTURE(name);
        CHECK((name == "help" || written.contains(name)));
    }
}

TEST_CASE("a run that is described by another run's opt.json has that run's options") {
    support::TemporaryFolder const folder;
    auto const wanted = options_of(unusual());
    auto const defaults = options_of({"--experiment", "silu", "--epochs", "1"});
    CHECK(defaults["ema"].is_null());  // the experiment says
    CHECK(wanted["ema"] == false);
    for (auto const& item : wanted.items()) {
        CAPTURE(item.key());
        CHECK(item.value() != defaults[item.key()]);
    }
    for (auto const& json : {wanted, defaults}) {
        yolo::write_json(folder / "opt.json", json);
        CLI::App app;
        apps::TrainArguments a;
        a.declare(app);
        CHECK(options_of(apps::arguments_of(folder / "opt.json", app)) == json);
    }
}
