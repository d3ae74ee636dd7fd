#pragma once
// evolve.csv and hyp_evolve.yaml of an evolution of hyper-parameters, as YOLOv5 writes them: a column for each figure of
// the validation, then one for each hyper-parameter.

#include <yolo/io/atomic_file.hpp>
#include <yolo/io/hyperparameters.hpp>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace yolo {

/// The last validation of a training. All 0: it came to nothing.
struct EvolveResult {
    double precision = 0, recall = 0, map50 = 0, map = 0;
    double box = 0, obj = 0, cls = 0;  // losses

    /// 0.1 mAP50 + 0.9 mAP50-95; 0 where these are no numbers.
    double fitness() const {
        double const value = 0.1 * map50 + 0.9 * map;
        return std::isfinite(value) ? value : 0;
    }
};

inline constexpr std::array<std::pair<std::string_view, double EvolveResult::*>, 7> evolve_result_table{{
    {"metrics/precision", &EvolveResult::precision},
    {"metrics/recall", &EvolveResult::recall},
    {"metrics/mAP_0.5", &EvolveResult::map50},
    {"metrics/mAP_0.5:0.95", &EvolveResult::map},
    {"val/box_loss", &EvolveResult::box},
    {"val/obj_loss", &EvolveResult::obj},
    {"val/cls_loss", &EvolveResult::cls},
}};

struct Generation {
    EvolveResult result;
    Hyperparameters hyp;
};

struct Evolution {
    std::vector<std::string>
        columns;  // of the file, in its order: results, then the hyper-parameters that evolve
    std::vector<Generation> generations;

    std::vector<std::string> hyperparameters() const {
        return {columns.begin() + evolve_result_table.size(), columns.end()};
    }
    /// The first of those with the largest fitness. requires: at least one.
    std::size_t best() const {
        std::size_t best = 0;
        for (std::size_t i = 1; i < generations.size(); ++i)
            if (generations[i].result.fitness() > generations[best].result.fitness()) best = i;
        return best;
    }
};

namespace detail {

inline std::string csv_number(double value) {
    std::array<char, 32> text;
    std::snprintf(text.data(), text.size(), "%.5g", value);
    return text.data();
}
inline std::string csv_cell(std::string const& text) {
    return std::string(text.size() < 20 ? 20 - text.size() : 0, ' ') + text;
}

/// The texts between commas, without the blanks around them.
inline std::vector<std::string> csv_cells(std::string_view line) {
    std::vector<std::string> cells;
    for (std::size_t at = 0;;) {
        auto const end = std::min(line.find(',', at), line.size());
        auto const cell = line.substr(at, end - at);
        auto const first = cell.find_first_not_of(" \t\r"), last = cell.find_last_not_of(" \t\r");
        cells.emplace_back(first == cell.npos ? std::string_view() : cell.substr(first, last - first + 1));
        if (end == line.size()) return cells;
        at = end + 1;
    }
}

inline double* evolution_value(Generation& generation, std::string_view column) {
    for (auto const& [name, member] : evolve_result_table)
        if (name == column) return &(generation.result.*member);
    for (auto const& [name, member] : hyperparameter_table)
        if (name == column) return &(generation.hyp.*member);
    return nullptr;
}

constexpr char const* start_anew = "move the file away to start a new evolution";

/// The results in their order, then hyper-parameters, each once. YOLOv5's `anchors` is a column that is written as 3, the
/// anchors a level, and otherwise ignored.
inline void check_evolution_columns(std::vector<std::string> const& columns, std::string const& where) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
        bool const result = i < evolve_result_table.size();
        if (result && columns[i] != evolve_result_table[i].first)
            throw std::runtime_error(where + ": column " + std::to_string(i + 1) + " is '" +
                                     columns[i].substr(0, 40) + "', want " +
                                     std::string(evolve_result_table[i].first) + "; " + start_anew);
        Generation any;
        if (!result && columns[i] != "anchors" &&
            (!evolution_value(any, columns[i]) || std::count(columns.begin(), columns.end(), columns[i]) > 1))
            throw std::runtime_error(where + ": '" + columns[i].substr(0, 40) +
                                     "' is no hyper-parameter, or is there twice; " + start_anew);
    }
    if (columns.size() <= evolve_result_table.size())
        throw std::runtime_error(where + ": no hyper-parameter has a column; " + start_anew);
}

inline Generation evolution_row(std::vector<std::string> const& columns, std::string_view line,
                                Hyperparameters const& start, std::string const& where) {
    auto const cells = csv_cells(line);
    if (cells.size() != columns.size())
        throw std::runtime_error(where + ": " + std::to_string(cells.size()) + " values, want " +
                                 std::to_string(columns.size()) + "; remove the line");
    Generation generation{{}, start};
    for (std::size_t i = 0; i < cells.size(); ++i) {
        double value = 0;
        auto const* const end = cells[i].data() + cells[i].size();
        auto const [stop, error] = std::from_chars(cells[i].data(), end, value);
        bool const hyperparameter = i >= evolve_result_table.size();
        if (error != std::errc{} || stop != end || (hyperparameter && !(std::isfinite(value) && value >= 0)))
            throw std::runtime_error(where + ": '" + cells[i].substr(0, 24) + "' is no value of " +
                                     columns[i] + "; correct or remove the line");
        if (double* const place = evolution_value(generation, columns[i])) *place = value;
    }
    return generation;
}

}  // namespace detail

/// What evolve.csv holds; where it does not exist, the columns it would have. Hyper-parameters without a column are those
/// of `start`: they do not evolve.
/// throws std::runtime_error: file, line, what is wrong, remedy.
inline Evolution read_evolution(std::filesystem::path const& file, Hyperparameters const& start) {
    Evolution evolution;
    std::error_code ignored;
    if (!std::filesystem::exists(file, ignored)) {
        for (auto const& row : evolve_result_table) evolution.columns.emplace_back(row.first);
        for (auto const& row : hyperparameter_table) evolution.columns.emplace_back(row.first);
        return evolution;
    }
    std::ifstream in(file, std::ios::binary);
    if (!in) throw std::runtime_error(file.string() + " cannot be opened; may you read it?");
    std::string line;
    for (int number = 1; std::getline(in, line); ++number) {
        auto const where = file.string() + ":" + std::to_string(number);
        if (number == 1)
            evolution.columns = detail::csv_cells(line),
            detail::check_evolution_columns(evolution.columns, where);
        else if (line.find_first_not_of(" \t\r") != line.npos)
            evolution.generations.push_back(detail::evolution_row(evolution.columns, line, start, where));
    }
    if (evolution.columns.empty())
        throw std::runtime_error(file.string() + ":1: the file is empty; " + detail::start_anew);
    return evolution;
}

/// One line more, below the header in a new file. The file is replaced as a whole: it never holds half a line.
inline void append_generation(std::filesystem::path const& file, Evolution const& evolution,
                              Generation generation) {
    auto const line = [&](auto const& cell) {
        std::string text;
        for (auto const& column : evolution.columns)
            text += (text.empty() ? "" : ",") + detail::csv_cell(cell(column));
        return text + "\n";
    };
    std::ifstream in(file, std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(in)), {});
    if (text.empty()) text = line([](std::string const& column) { return column; });
    if (text.back() != '\n') text += '\n';
    text += line([&](std::string const& column) {
        double const* const value = detail::evolution_value(generation, column);
        return value ? detail::csv_number(*value) : "3";
    });
    write_atomically(file, text);
}

/// hyp_evolve.yaml: the best generation's hyper-parameters, its results as comments above.
/// requires: at least one generation.
inline std::string best_hyperparameters_yaml(Evolution const& evolution) {
    auto best = evolution.generations[evolution.best()];
    std::string names, values;
    for (auto const& [name, member] : evolve_result_table) {
        names += (names.empty() ? "# " : ", ") + detail::csv_cell(std::string(name));
        values += (values.empty() ? "# " : ", ") + detail::csv_cell(detail::csv_number(best.result.*member));
    }
    return "# YOLOv5 Hyperparameter Evolution Results\n# Best generation: " +
           std::to_string(evolution.best()) +
           "\n# Last generation: " + std::to_string(evolution.generations.size() - 1) + "\n" + names + "\n" +
           values + "\n\n" + to_yaml(best.hyp);
}

}  // namespace yolo
