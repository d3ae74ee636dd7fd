#pragma once
// labels.png: what a data set's labels are like. No LibTorch.

#include <yolo/data/dataset.hpp>
#include <yolo/plot/gnuplot.hpp>

#include <span>

namespace yolo {
namespace plot::detail {

/// How often points fall into the cells of a grid on [0, 1] x [0, 1]: rows of x, y and the count's square root, with
/// which rare places are seen, too.
template <class Point> std::string histogram(std::span<Box const> boxes, Point const& point) {
    constexpr int bins = 50;
    std::vector<int> counts(bins * bins);
    auto const bin = [](float value) {
        return std::clamp(static_cast<int>(value * static_cast<float>(bins)), 0, bins - 1);
    };
    for (auto const& box : boxes) {
        auto const [x, y] = point(box);
        ++counts[static_cast<std::size_t>(bin(y) * bins + bin(x))];
    }
    std::ostringstream table;
    for (int y = 0; y < bins; ++y)
        for (int x = 0; x < bins; ++x)
            table << (x + 0.5) / bins << ' ' << (y + 0.5) / bins << ' '
                  << std::sqrt(counts[static_cast<std::size_t>(y * bins + x)]) << '\n';
    return table.str();
}

}  // namespace plot::detail

/// Draws instances per class, the outlines of the boxes (1000 at most) over each other, and where centres and sides
/// gather.
/// Returns why there is no picture, in a sentence, or "".
inline std::string plot_labels(std::span<Box const> boxes, std::vector<std::string> const& names,
                               std::filesystem::path const& png) {
    std::vector<std::int64_t> counts(names.size());
    for (auto const& box : boxes) {
        auto const cls = static_cast<std::size_t>(box.cls);
        if (cls >= counts.size()) counts.resize(cls + 1);
        ++counts[cls];
    }
    auto const rgb = [](std::size_t cls) { return "0x" + plot::colour(cls).substr(1); };
    std::ostringstream bars, outlines;
    for (std::size_t c = 0; c < counts.size(); ++c) bars << c << ' ' << counts[c] << ' ' << rgb(c) << '\n';
    auto const step = std::max<std::size_t>(1, (boxes.size() + 999) / 1000);  // evenly out of all
    for (std::size_t i = 0; i < boxes.size(); i += step)
        outlines << "0.5 0.5 " << boxes[i].w / 2 << ' ' << boxes[i].h / 2 << ' '
                 << rgb(static_cast<std::size_t>(boxes[i].cls)) << '\n';

    double const side = 2200, scale = 2;  // pixels, and of text
    double const font = counts.size() <= 20 ? 7.5 : counts.size() <= 40 ? 6 : 3.6;
    std::size_t longest = 3;
    for (std::size_t c = 0; c < counts.size(); ++c)
        longest = std::max(longest, plot::class_label(names, c).size());
    auto const room = static_cast<double>(longest) * 0.78 * font * scale + 30;  // for the names
    plot::Figure figure(static_cast<int>(side), static_cast<int>(side), scale);
    auto& script = figure.script;
    script << plot::blues << "set multiplot\nunset key\nset border 3\nset tmargin at screen 0.985\n"
           << "set lmargin at screen 0.075\nset rmargin at screen 0.5\nset bmargin at screen "
           << 0.51 + room / side
           << "\nset ylabel 'instances' offset 1,0\nset style fill solid 1 noborder\nset boxwidth 0.8\n"
           << "set xrange [-0.7:" << static_cast<double>(counts.size()) - 0.3 << "]\nset yrange [0:*]\n";
    if (counts.size() <= 100) {
        script << "set xtics rotate by 90 right scale 0 font ',"
               << (counts.size() <= 20   ? 9
                   : counts.size() <= 40 ? 6
                                         : 3.6)
               << "' (";
        for (std::size_t c = 0; c < counts.size(); ++c)
            script << (c ? ", " : "") << plot::tic_label(plot::class_label(names, c)) << ' ' << c;
        script << ")\n";
    } else {
        script << "set xlabel 'class'\n";
    }
    if (counts.empty())
        script << "plot [0:1][0:1] NaN\n";
    else
        script << "plot " << figure.add_table(bars.str()) << " using 1:2:3 with boxes lc rgb variable\n";

    script << "set border 15\nunset xlabel\nunset ylabel\nunset tics\nset xrange [0:1]\nset yrange [0:1]\n"
           << "set lmargin at screen 0.56\nset rmargin at screen 0.985\nset bmargin at screen 0.56\n";
    if (boxes.empty())
        script << "plot NaN\n";
    else
        script << "plot " << figure.add_table(outlines.str())
               << " using 1:2:3:4:5 with boxxyerror fs empty lw 0.5 lc rgb variable\n";
    script << "set tics nomirror scale 0.5\nset xtics 0.2\nset ytics 0.2\nset bmargin at screen 0.07\n"
           << "set tmargin at screen 0.495\nunset colorbox\nset cbrange [0:1<*]\n";
    auto const heat = [&](double left, double right, char const* x, char const* y, auto const& point) {
        script << "set lmargin at screen " << left << "\nset rmargin at screen " << right << "\nset xlabel '"
               << x << "' offset 0,0.5\nset ylabel '" << y << "' offset 1,0"
               << "\nplot " << figure.add_table(plot::detail::histogram(boxes, point))
               << " using 1:2:3 with image pixels\n";
    };
    heat(0.075, 0.5, "x", "y", [](Box const& b) { return std::array{b.cx, b.cy}; });
    heat(0.56, 0.985, "width", "height", [](Box const& b) { return std::array{b.w, b.h}; });
    script << "unset multiplot\n";
    return figure.write(png);
}

inline std::string plot_labels(Dataset const& dataset, std::vector<std::string> const& names,
                               std::filesystem::path const& png) {
    std::vector<Box> boxes;
    for (auto const& item : dataset.items()) boxes.insert(boxes.end(), item.boxes.begin(), item.boxes.end());
    return plot_labels(std::span<Box const>(boxes), names, png);
}

}  // namespace yolo
