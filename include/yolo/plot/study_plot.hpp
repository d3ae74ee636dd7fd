#pragma once
// study.png: what the image size does to precision, recall and time. No LibTorch.

#include <yolo/plot/gnuplot.hpp>

namespace yolo {

/// The image sizes of yolo-val --task study.                                                                pixels
inline constexpr int study_first = 256, study_last = 1536, study_step = 128;

/// Draws studies, a curve each: text files with a line an image size, as yolo-val writes them (P, R, mAP50, mAP50-95, three
/// losses, ms for pre-process, inference and NMS of an image). The last panel is mAP against the time of inference.
/// Returns why there is no picture, in a sentence, or "".
inline std::string plot_study(std::vector<std::filesystem::path> const& studies,
                              std::filesystem::path const& png) {
    struct Panel {
        std::string title, x, y;  // columns; $0 counts lines
    };
    auto const side = "(" + std::to_string(study_first) + " + " + std::to_string(study_step) + " * $0)";
    std::array const panels{
        Panel{"precision", side, "1"},       Panel{"recall", side, "2"},
        Panel{"mAP50", side, "3"},           Panel{"mAP50-95", side, "4"},
        Panel{"pre-process, ms", side, "8"}, Panel{"inference, ms", side, "9"},
        Panel{"NMS, ms", side, "10"},        Panel{"mAP50-95 at ms of inference", "9", "4"}};
    plot::Figure figure(2400, 1200, 1.7);
    figure.script
        << "set multiplot layout 2,4 margins screen 0.035,0.98,0.07,0.95 spacing screen 0.04,0.11\n"
           "set grid lw 0.3 lc rgb '#dddddd'\nset tics font ',9'\nset xrange [0:*]\nset yrange [0:*]\n"
           "set offsets 0, graph 0.05, graph 0.05, 0\nset xtics 400\n";
    std::vector<std::string> tables;
    for (auto const& study : studies) {
        std::ifstream in(study);
        std::string const rows((std::istreambuf_iterator<char>(in)), {});
        if (rows.find_first_not_of(" \n") == rows.npos)
            return png.string() + " was not drawn, because " + study.string() +
                   " holds no line; want a file of yolo-val --task study";
        tables.push_back(figure.add_table(rows));
    }
    for (std::size_t i = 0; i < panels.size(); ++i) {
        auto const& panel = panels[i];
        figure.script << "set title " << plot::literal(panel.title) << " offset 0,-0.6\n"
                      << (i == 0 ? "set key bottom right samplen 1.5 spacing 1.1\n" : "unset key\n")
                      << (panel.x == side ? "set xlabel 'pixels'" : "set xtics auto\nset xlabel 'ms'")
                      << " offset 0,0.6\nplot ";
        for (std::size_t k = 0; k < tables.size(); ++k)
            figure.script << (k == 0 ? "" : ", ") << tables[k] << " using " << panel.x << ':' << panel.y
                          << " with linespoints lw 1.2 pt 7 ps 0.6 lc rgb '" << plot::colour(k) << "' title "
                          << plot::literal(studies[k].stem().string(), 40);
        figure.script << '\n';
    }
    figure.script << "unset multiplot\n";
    return figure.write(png);
}

}  // namespace yolo
