#pragma once
// Evolution of hyper-parameters: YOLOv5's train.py --evolve. Every generation is a training; its result and its
// hyper-parameters are a line of evolve.csv, and all that a generation depends on is that file, the seed and its number, so
// that an evolution which was interrupted goes on as if it had not been.

#include <yolo/io/evolution_csv.hpp>

#include <yolo/data/random.hpp>

#include <algorithm>
#include <functional>
#include <optional>

namespace yolo {

/// How a hyper-parameter evolves. gain: of its mutations, 0: it stays.
struct Gene {
    std::string_view name;
    double gain, lower, upper;
};

/// YOLOv5's genes, but for `anchors` (a network here has three a level), lrf's lower limit (0.01 there; quantized training
/// starts from 0.001), label_smoothing (an option there), and quantizer_lr, which is ours.
inline constexpr std::array<Gene, hyperparameter_table.size()> genes{{
    {"lr0", 1, 1e-5, 1e-1},       {"lrf", 1, 0.001, 1.0},     {"momentum", 0.3, 0.6, 0.98},
    {"weight_decay", 1, 0, 1e-3}, {"warmup_epochs", 1, 0, 5}, {"warmup_momentum", 1, 0, 0.95},
    {"warmup_bias_lr", 1, 0, .2}, {"box", 1, 0.02, 0.2},      {"cls", 1, 0.2, 4},
    {"cls_pw", 1, 0.5, 2},        {"obj", 1, 0.2, 4},         {"obj_pw", 1, 0.5, 2},
    {"iou_t", 0, 0.1, 0.7},       {"anchor_t", 1, 2, 8},      {"fl_gamma", 0, 0, 2},
    {"label_smoothing", 0, 0, 1}, {"hsv_h", 1, 0, 0.1},       {"hsv_s", 1, 0, 0.9},
    {"hsv_v", 1, 0, 0.9},         {"degrees", 1, 0, 45},      {"translate", 1, 0, 0.9},
    {"scale", 1, 0, 0.9},         {"shear", 1, 0, 10},        {"perspective", 0, 0, 1e-3},
    {"flipud", 1, 0, 1},          {"fliplr", 0, 0, 1},        {"mosaic", 1, 0, 1},
    {"mixup", 1, 0, 1},           {"copy_paste", 1, 0, 1},    {"quantizer_lr", 1, 0.001, 1},
}};

namespace detail {
consteval bool genes_follow_the_table() {
    for (std::size_t i = 0; i < genes.size(); ++i)
        if (genes[i].name != hyperparameter_table[i].first) return false;
    return true;
}
static_assert(genes_follow_the_table(),
              "genes and hyperparameter_table differ: one line for each, in the same order");

/// As evolve.csv keeps it.
inline double to_5_digits(double value) {
    auto const text = csv_number(value);
    double rounded = value;
    std::from_chars(text.data(), text.data() + text.size(), rounded);
    return rounded;
}
}  // namespace detail

/// Inside the limits of the genes, in five significant digits.
inline Hyperparameters constrained(Hyperparameters hyp) {
    for (std::size_t i = 0; i < genes.size(); ++i) {
        double& value = hyp.*hyperparameter_table[i].second;
        value = detail::to_5_digits(std::clamp(value, genes[i].lower, genes[i].upper));
    }
    return hyp;
}

/// One of the five best generations, with a probability in proportion to its fitness above the fifth's.
/// requires: at least one generation. Returns its place.
inline std::size_t select_parent(std::vector<Generation> const& generations, Random& random) {
    constexpr std::size_t most = 5;
    std::vector<std::size_t> order(generations.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    auto const fitness = [&](std::size_t i) { return generations[i].result.fitness(); };
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return fitness(a) > fitness(b); });
    order.resize(std::min(order.size(), most));
    auto const weight = [&](std::size_t i) { return fitness(i) - fitness(order.back()) + 1e-6; };
    double rest = 0;
    for (auto const i : order) rest += weight(i);
    rest *= random.uniform();
    for (auto const i : order)
        if ((rest -= weight(i)) < 0) return i;
    return order.back();
}

/// Each of `names` times a factor in [0.3, 3] with probability 0.8; at least one changes, a 0 stays 0.
inline Hyperparameters mutated(Hyperparameters const& parent, std::vector<std::string> const& names,
                               Random& random) {
    constexpr double probability = 0.8, sigma = 0.2, least = 0.3, most = 3.0;
    auto const evolves = [&](std::string_view name) {
        return std::find(names.begin(), names.end(), name) != names.end();
    };
    Hyperparameters child = parent;
    for (bool changed = false; !changed;) {
        double const reach = random.uniform() * sigma;
        for (std::size_t i = 0; i < genes.size(); ++i) {
            bool const moves = random.bernoulli(probability);
            double const step = genes[i].gain * random.normal() * reach;
            if (!moves || !evolves(genes[i].name)) continue;
            double const factor = std::clamp(step + 1, least, most);
            auto const member = hyperparameter_table[i].second;
            child.*member = parent.*member * factor;
            changed = changed || factor != 1;
        }
    }
    return child;
}

/// What generation number `generations.size()` trains with. The first is `start` itself.
inline Hyperparameters next_generation(Evolution const& evolution, Hyperparameters const& start,
                                       std::uint64_t seed) {
    auto const& done = evolution.generations;
    if (done.empty()) return constrained(start);
    Random random(seed, done.size());
    auto const& parent = done[select_parent(done, random)].hyp;
    return constrained(mutated(parent, evolution.hyperparameters(), random));
}

struct EvolveOptions {
    std::filesystem::path
        folder;  // of evolve.csv and hyp_evolve.yaml; what an evolve.csv there holds is gone on with
    int generations = 300;  // to train now, after those that evolve.csv has
    std::uint64_t seed = 0;
    std::function<void(std::string const&)> message{};  // told the result of each generation; may be empty
};

/// Trains a generation; nothing: it was interrupted, and the evolution ends without it. A training that diverged returns
/// EvolveResult{}, the worst there is.
using TrainGeneration = std::function<std::optional<EvolveResult>(Hyperparameters const&, int generation)>;

/// Returns all generations, those of earlier runs first.
/// throws std::runtime_error where evolve.csv is damaged (before anything is trained) or a file cannot be written, and
/// what `train` throws; the generations before are kept.
inline Evolution evolve(EvolveOptions const& options, Hyperparameters const& start,
                        TrainGeneration const& train) {
    auto const csv = options.folder / "evolve.csv";
    auto evolution = read_evolution(csv, start);
    for (int i = 0; i < options.generations; ++i) {
        auto const hyp = next_generation(evolution, start, options.seed);
        auto const result = train(hyp, static_cast<int>(evolution.generations.size()));
        if (!result) break;
        // Read again: the next generation must see what a later run would see.
        append_generation(csv, evolution, {*result, hyp});
        evolution = read_evolution(csv, start);
        write_atomically(options.folder / "hyp_evolve.yaml", best_hyperparameters_yaml(evolution));
        if (options.message)
            options.message("evolve: " + std::to_string(evolution.generations.size()) +
                            " generations finished, current fitness " +
                            detail::csv_number(evolution.generations.back().result.fitness()) + ", best " +
                            detail::csv_number(evolution.generations[evolution.best()].result.fitness()) +
                            " of generation " + std::to_string(evolution.best()));
    }
    return evolution;
}

}  // namespace yolo
