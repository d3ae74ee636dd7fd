#pragma once
// A report as a table, and as a plot: a script for gnuplot and its data.

#include <qat/calibrate/report.hpp>
#include <qat/calibrate/sensitivity.hpp>

#include <algorithm>
#include <cstdio>
#include <ostream>

namespace qat::calibrate {

namespace detail {
inline std::string range_text(double low, double high, char const* format) {
    char text[64];
    int const length = std::snprintf(text, sizeof text, format, low);
    if (low != high) {
        auto const at = static_cast<std::size_t>(length);
        text[at] = ':';
        std::snprintf(text + at + 1, sizeof text - at - 1, format, high);
    }
    return text;
}
// gnuplot's text in single quotes: a quote is doubled
inline std::string quoted(std::string_view text) {
    std::string q = "'";
    for (char c : text) {
        if (c == '\'') q += '\'';
        q += c;
    }
    return q + "'";
}
}  // namespace detail

/// One row a quantizer: signal-to-noise ratio, cosine, share of clipped values, range of the data, range of the grid, scale
/// and zero point (lowest:highest of the channels), codes that occur. Then what was found, one sentence each.
inline void write_table(std::ostream& out, std::vector<QuantizerReport> const& reports) {
    std::size_t width = 9;
    for (auto const& r : reports) width = std::max(width, r.path.size());
    auto const name_width = static_cast<int>(width);
    char line[512];
    std::snprintf(line, sizeof line, "%-*s %8s %9s %8s %21s %21s %19s %9s %9s\n", name_width, "quantizer",
                  "SNR dB", "cosine", "clipped", "data", "grid", "scale", "zero", "codes");
    out << line;
    for (auto const& r : reports) {
        if (r.values == 0) continue;
        std::snprintf(line, sizeof line, "%-*s %8.2f %9.6f %7.3f%% %21s %21s %19s %9s %9s\n", name_width,
                      r.path.c_str(), r.signal_to_noise, r.cosine, 100 * r.clip_rate,
                      detail::range_text(r.min, r.max, "%.4g").c_str(),
                      detail::range_text(r.grid_min, r.grid_max, "%.4g").c_str(),
                      detail::range_text(r.scale_min, r.scale_max, "%.3g").c_str(),
                      detail::range_text(static_cast<double>(r.zero_point_min),
                                         static_cast<double>(r.zero_point_max), "%.0f")
                          .c_str(),
                      (std::to_string(r.codes_used) + "/" + std::to_string(r.codes)).c_str());
        out << line;
    }
    for (auto const& r : reports)
        if (r.finding != Finding::none) out << r.path << ": " << text(r.finding) << "\n";
}

/// The most sensitive first.
inline void write_table(std::ostream& out, std::vector<Sensitivity> const& rows, std::size_t most = 20) {
    char line[256];
    for (std::size_t i = 0; i < std::min(most, rows.size()); ++i) {
        std::snprintf(line, sizeof line, "%8.2f dB  %s", rows[i].signal_to_noise, rows[i].path.c_str());
        out << line;
        if (rows[i].metric) out << "  metric " << *rows[i].metric;
        out << "\n";
    }
}

/// Columns: number, path, weights or output, signal-to-noise ratio (dB, 100 at most), clipped values (%), bits used.
inline void write_plot_data(std::ostream& out, std::vector<QuantizerReport> const& reports) {
    int number = 0;
    for (auto const& r : reports) {
        if (r.values == 0) continue;
        bool const weights = r.of == QuantizerReport::Of::weights;
        out << number++ << " \"" << r.path << "\" " << (weights ? "weights" : "output") << ' '
            << std::min(r.signal_to_noise, 100.0) << ' ' << 100 * r.clip_rate << ' ' << r.bits_used() << '\n';
    }
}

/// gnuplot SCRIPT draws the data as an image: signal-to-noise ratio of every quantizer, clip rate below.
inline void write_plot_script(std::ostream& out, std::string const& data, std::string const& image,
                              std::string const& title, std::size_t quantizers) {
    auto const file = detail::quoted(data);
    out << "set terminal pngcairo size " << std::max<std::size_t>(900, 12 * quantizers) << ",900\n"
        << "set output " << detail::quoted(image) << "\n"
        << "set multiplot layout 2,1 title " << detail::quoted(title) << " noenhanced\n"
        << "set lmargin 10\nset style fill solid 0.8\nset boxwidth 0.8\nset grid y\nset xrange [-1:"
        << quantizers << "]\n"
        << "set xtics rotate by -90 font ',7' noenhanced\nset key top right\n"
        << "set ylabel 'signal to noise, dB'\nset yrange [0:*]\nunset xtics\n"
        << "plot " << file
        << " using 1:(stringcolumn(3) eq 'weights' ? $4 : 1/0) with boxes title 'weights', \\\n     " << file
        << " using 1:(stringcolumn(3) eq 'output' ? $4 : 1/0) with boxes title 'outputs'\n"
        << "set ylabel 'clipped, %'\nset yrange [0:0.1<*]\nset xtics rotate by -90 font ',7' noenhanced\n"
        << "plot " << file << " using 1:5:xtic(2) with boxes notitle\n"
        << "unset multiplot\n";
}

}  // namespace qat::calibrate
