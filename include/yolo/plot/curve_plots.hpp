#pragma once
// P_curve.png, R_curve.png, F1_curve.png over confidence, PR_curve.png: precision over recall. No LibTorch.

#include <yolo/metrics/curve.hpp>
#include <yolo/metrics/evaluation.hpp>
#include <yolo/plot/gnuplot.hpp>

namespace yolo {
namespace plot {

/// Curves on the grid of curve_points from 0 to 1: one a class, and one of all.
struct CurvePlot {
    std::string x_label, y_label, title;
    std::vector<std::vector<double>> classes;
    std::vector<std::string> names;  // of the classes, for the legend
    std::vector<double> all;
    std::string all_name;
};

/// Classes are thin lines, coloured and named while there are at most 20 of them.
/// Returns why there is no picture, in a sentence, or "".
inline std::string plot_curves(CurvePlot const& p, std::filesystem::path const& png) {
    bool const named = p.classes.size() <= 20;
    std::string table;
    char cell[32];
    for (std::size_t i = 0; i < p.all.size(); ++i) {
        std::snprintf(cell, sizeof cell, "%.4f",
                      static_cast<double>(i) / static_cast<double>(p.all.size() - 1));
        table += cell;
        for (auto const& curve : p.classes)
            std::snprintf(cell, sizeof cell, " %.4f", curve[i]), table += cell;
        std::snprintf(cell, sizeof cell, " %.4f\n", p.all[i]), table += cell;
    }
    Figure figure(2250, 1500, 2.2);
    auto const data = figure.add_table(std::move(table));
    auto& script = figure.script;
    script << "set title " << literal(p.title) << "\nset xlabel " << literal(p.x_label) << "\nset ylabel "
           << literal(p.y_label) << "\nset xrange [0:1]\nset yrange [0:1]\nset xtics 0.2\nset ytics 0.2\n"
           << "set grid lw 0.3 lc rgb '#e4e4e4'\nset key outside right top Left reverse samplen 1.5 spacing "
              "1.15 "
              "font ',8'\nplot ";
    for (std::size_t c = 0; c < p.classes.size(); ++c)
        script << data << " using 1:" << c + 2 << " with lines lw " << (named ? 0.8 : 0.5) << " lc rgb '"
               << (named ? colour(c) : "#bbbbbb") << "' "
               << (named ? "title " + literal(p.names[c]) : std::string("notitle")) << ", ";
    script << data << " using 1:" << p.classes.size() + 2 << " with lines lw 2.6 lc rgb '#0000cc' title "
           << literal(p.all_name) << '\n';
    return figure.write(png);
}

}  // namespace plot

/// Draws the four pictures into `folder`. Wants an evaluation with curves (KeepCurves::yes); without a labelled class
/// the curves are zero.
/// Returns why there is a picture missing, in a sentence, or "".
inline std::string plot_curves(Evaluation const& e, std::vector<std::string> const& names,
                               std::filesystem::path const& folder) {
    if (e.curves.size() != e.per_class.size())
        return folder.string() +
               " gets no curves, because they were not kept; compute them with KeepCurves::yes";
    auto const text = [](char const* format, auto... values) {
        char line[96];
        std::snprintf(line, sizeof line, format, values...);
        return std::string(line);
    };
    auto const draw = [&](char const* file, char const* x, char const* y, auto const& curve) {
        plot::CurvePlot p{
            x, y, std::string(y) + "-" + x + " curve", {}, {}, std::vector<double>(curve_points), {}};
        bool const over_recall = std::string_view(x) == "Recall";
        for (std::size_t i = 0; i < e.curves.size(); ++i) {
            auto const& values = p.classes.emplace_back(curve(e.curves[i]));
            for (std::size_t k = 0; k < curve_points; ++k)
                p.all[k] += values[k] / static_cast<double>(e.curves.size());
            auto const ap = over_recall ? text(" %.3f", e.per_class[i].map50) : std::string();
            p.names.push_back(plot::class_label(names, static_cast<std::size_t>(e.per_class[i].cls)) + ap);
        }
        if (over_recall) {
            p.all_name = text("all classes %.3f mAP@0.5", e.map50);
        } else {
            p.all = smoothed(p.all, curve_points / 20 + 1);
            auto const best = std::max_element(p.all.begin(), p.all.end());
            p.all_name =
                text("all classes %.2f at %.3f", *best,
                     static_cast<double>(best - p.all.begin()) / static_cast<double>(curve_points - 1));
        }
        return plot::plot_curves(p, folder / file);
    };
    for (auto const& why :
         {draw("PR_curve.png", "Recall", "Precision", [](auto const& c) { return c.envelope; }),
          draw("P_curve.png", "Confidence", "Precision", [](auto const& c) { return c.precision; }),
          draw("R_curve.png", "Confidence", "Recall", [](auto const& c) { return c.recall; }),
          draw("F1_curve.png", "Confidence", "F1", [](auto const& c) {
              std::vector<double> f1(curve_points);
              for (std::size_t k = 0; k < curve_points; ++k) f1[k] = f1_score(c.precision[k], c.recall[k]);
              return f1;
          })})
        if (!why.empty()) return why;
    return {};
}

}  // namespace yolo
