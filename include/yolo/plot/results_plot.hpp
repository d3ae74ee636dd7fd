#pragma once
// results.png: what the columns of results.csv did over the epochs. No LibTorch.

#include <yolo/plot/gnuplot.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

namespace yolo {
namespace plot::detail {

/// The columns of a CSV file of numbers, by name. A line that is damaged or not whole is left out.
inline std::map<std::string, std::vector<double>> read_columns(std::istream& in) {
    auto const cells = [](std::string const& line) {
        std::vector<std::string> found;
        std::string cell;
        for (std::istringstream rest(line); std::getline(rest, cell, ',');) {
            auto const first = cell.find_first_not_of(" \t\r"), last = cell.find_last_not_of(" \t\r");
            found.push_back(first == cell.npos ? "" : cell.substr(first, last + 1 - first));
        }
        return found;
    };
    std::string line;
    std::getline(in, line);
    auto const names = cells(line);
    std::map<std::string, std::vector<double>> columns;
    while (std::getline(in, line)) {
        auto const row = cells(line);
        std::vector<double> values;
        for (auto const& cell : row) {
            double value = 0;
            auto const [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
            if (error != std::errc{} || end != cell.data() + cell.size()) break;
            values.push_back(value);
        }
        if (values.size() != names.size()) continue;
        for (std::size_t i = 0; i < names.size(); ++i) columns[names[i]].push_back(values[i]);
    }
    return columns;
}

/// At every point a straight line fitted to its neighbours, which count less with distance (Gaussian; a few points, the
/// more the longer the curve is).
inline std::vector<double> smooth_line(std::vector<double> const& y) {
    double const sigma = std::clamp(static_cast<double>(y.size()) / 25, 0.5, 6.0);
    auto const size = static_cast<std::ptrdiff_t>(y.size()), reach = static_cast<std::ptrdiff_t>(4 * sigma);
    std::vector<double> result(y.size());
    for (std::ptrdiff_t i = 0; i < size; ++i) {
        double w = 0, wx = 0, wxx = 0, wy = 0, wxy = 0;
        for (auto j = std::max<std::ptrdiff_t>(0, i - reach); j < std::min(size, i + reach + 1); ++j) {
            auto const x = static_cast<double>(j - i), value = y[static_cast<std::size_t>(j)];
            double const weight = std::exp(-0.5 * x * x / (sigma * sigma));
            w += weight, wx += weight * x, wxx += weight * x * x, wy += weight * value,
                wxy += weight * x * value;
        }
        double const spread = w * wxx - wx * wx;
        result[static_cast<std::size_t>(i)] = spread > 1e-9 ? (wxx * wy - wx * wxy) / spread : wy / w;
    }
    return result;
}

}  // namespace plot::detail

/// Draws results.csv: YOLOv5's ten panels, each with its points and a smoothed line; below them what quantized runs
/// add. Epochs that were not validated are left out of the panels that validation gives.
/// Returns why there is no picture, in a sentence, or "".
inline std::string plot_results(std::filesystem::path const& csv, std::filesystem::path const& png) {
    static constexpr std::array panels{
        "train/box_loss", "train/obj_loss", "train/cls_loss", "metrics/precision", "metrics/recall",
        "val/box_loss",   "val/obj_loss",   "val/cls_loss",   "metrics/mAP_0.5",   "metrics/mAP_0.5:0.95"};
    std::ifstream in(csv);
    auto columns = plot::detail::read_columns(in);
    auto const epochs = columns["epoch"];
    if (epochs.empty())
        return png.string() + " was not drawn, because " + csv.string() +
               " holds no epoch; want the results.csv of a run";
    std::vector<std::string> names(panels.begin(), panels.end());
    for (auto const& [name, values] : columns)
        if (name.starts_with("qat/")) names.push_back(name);

    auto const rows = (names.size() + 4) / 5;
    auto const height = static_cast<double>(600 * rows);
    plot::Figure figure(2600, static_cast<int>(height), 1.7);
    figure.script << "set multiplot layout " << rows << ",5 margins screen 0.037,0.992," << 95 / height << ','
                  << 1 - 60 / height << " spacing screen 0.042," << 125 / height
                  << "\nset grid lw 0.3 lc rgb '#dddddd'\nset tics font ',9'\n";
    auto const range = [&](char const* axis, std::vector<double> const& v, double share, double alone) {
        auto const [low, high] = std::minmax_element(v.begin(), v.end());
        double const spare = *high > *low ? (*high - *low) * share : alone;
        figure.script << "set " << axis << "range [" << *low - spare << ':' << *high + spare << "]\n";
    };
    range("x", epochs, 0.03, 1);
    if (epochs.back() - epochs.front() < 8) figure.script << "set xtics 1\n";
    for (std::size_t i = 0; i < names.size(); ++i) {
        auto const& values = columns[names[i]];
        bool const of_validation = names[i].starts_with("val/") || names[i].starts_with("metrics/");
        std::vector<double> x, y;
        for (std::size_t row = 0; row < values.size(); ++row) {
            bool validated = false;
            for (auto const* name : {"val/box_loss", "val/obj_loss", "val/cls_loss", "metrics/recall"})
                if (auto const column = columns.find(name); column != columns.end())
                    validated |= row < column->second.size() && column->second[row] != 0;
            if (std::isfinite(values[row]) && (validated || !of_validation))
                x.push_back(epochs[row]), y.push_back(values[row]);
        }
        std::ostringstream table;
        auto const smooth = plot::detail::smooth_line(y);
        for (std::size_t row = 0; row < x.size(); ++row)
            table << x[row] << ' ' << y[row] << ' ' << smooth[row] << '\n';
        figure.script << "set title " << plot::literal(names[i]) << " offset 0,-0.6\n"
                      << (i == 1 ? "set key top right samplen 1.5 spacing 1.1\n" : "unset key\n")
                      << (i + 5 >= names.size() ? "set xlabel 'epoch' offset 0,0.6\n" : "unset xlabel\n");
        if (x.empty()) {  // keeps its place
            figure.script << "plot [0:1][0:1] NaN notitle\n";
            continue;
        }
        auto const name = figure.add_table(table.str());
        range("y", y, 0.05, std::max(std::abs(y[0]) / 2, 1e-3));
        figure.script << "plot " << name << " using 1:2 with linespoints lw 0.8 pt 7 ps "
                      << (x.size() > 100 ? 0.2 : 0.5) << " lc rgb '#7fb2d9' title 'results', " << name
                      << " using 1:3 with lines lw 1.3 lc rgb '" << plot::colour(1) << "' title 'smoothed'\n";
    }
    figure.script << "unset multiplot\n";
    return figure.write(png);
}

}  // namespace yolo
