#pragma once
// confusion_matrix.png: which class is taken for which. No LibTorch.

#include <yolo/metrics/confusion.hpp>
#include <yolo/plot/gnuplot.hpp>

namespace yolo {

/// Draws the matrix, every column as shares of its labels (the last one: of the detections without one). Cells are
/// written out with fewer than 30 classes, classes named with fewer than 100.
/// Returns why there is no picture, in a sentence, or "".
inline std::string plot_confusion_matrix(ConfusionMatrix const& matrix, std::vector<std::string> const& names,
                                         std::filesystem::path const& png) {
    int const classes = matrix.classes();
    std::ostringstream cells, figures;
    for (int row = 0; row <= classes; ++row)
        for (int column = 0; column <= classes; ++column) {
            double const share = matrix.share(row, column);
            cells << column << ' ' << row << ' ' << share << '\n';
            if (share < 0.005 || classes >= 30) continue;
            char text[16];
            std::snprintf(text, sizeof text, "%.2f", share);
            figures << column << ' ' << row << ' ' << text << ' ' << (share > 0.55 ? 0xFFFFFF : 0x222222)
                    << '\n';
        }

    double const width = 2600, height = 2250, scale = 2.3;  // pixels, and of text
    double const font = classes < 12 ? 10 : classes < 30 ? 7 : classes < 60 ? 5 : 4;
    std::string tics;
    std::size_t longest = 3;
    for (int c = 0, step = classes < 100 ? 1 : classes / 20; c <= classes; c += step) {
        auto const label =
            c == classes ? "background" : plot::class_label(names, static_cast<std::size_t>(c));
        longest = std::max(longest, label.size());
        tics += (c ? ", " : "") + plot::tic_label(label) + ' ' + std::to_string(c);
    }
    double const beside = static_cast<double>(longest) * 0.78 * font * scale + 120,  // room for the names
        side = std::min(width - beside - 330, height - beside - 130);
    plot::Figure figure(static_cast<int>(width), static_cast<int>(height), scale);
    auto& script = figure.script;
    auto const end = std::to_string(classes) + ".5";
    script << plot::blues
           << "set title 'Confusion matrix, shares of each column' font ',12'\nset label 'True' at screen "
           << (beside + side / 2) / width << ",0.02 center font ',12'\nset label 'Predicted' at screen 0.018,"
           << (beside + side / 2) / height << " center rotate by 90 font ',12'\n"
           << "set tics scale 0\nset cbrange [0:1]\nset cbtics 0.2\n"
           << "set lmargin at screen " << beside / width << "\nset rmargin at screen "
           << (beside + side) / width << "\nset bmargin at screen " << beside / height
           << "\nset tmargin at screen " << (beside + side) / height << "\nset xrange [-0.5:" << end
           << "]\nset yrange [" << end << ":-0.5]\nset xtics rotate by 90 right font '," << font << "' ("
           << tics << ")\nset ytics font '," << font << "' (" << tics << ")\n";
    script << "plot " << figure.add_table(cells.str()) << " using 1:2:3 with image pixels notitle";
    if (auto const text = figures.str(); !text.empty())
        script << ", " << figure.add_table(text)
               << " using 1:2:(sprintf('%.2f', $3)):4 with labels tc rgb variable font ',"
               << (classes < 12 ? 9 : 5) << "' notitle";
    script << '\n';
    return figure.write(png);
}

}  // namespace yolo
