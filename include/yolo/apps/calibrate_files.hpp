#pragma once
// What yolo-calibrate writes down: results of the post-training tools as JSON, and the plot.

#include <qat/calibrate/correct_bias.hpp>
#include <qat/calibrate/equalize.hpp>
#include <qat/calibrate/report_text.hpp>
#include <qat/calibrate/round_weights.hpp>
#include <yolo/io/results_json.hpp>
#include <yolo/model/typed_detector.hpp>
#include <yolo/plot/gnuplot.hpp>

#include <sstream>

namespace yolo::apps {

// Numbers that are not finite become null.
inline nlohmann::ordered_json to_json(qat::calibrate::Equalization const& e) {
    nlohmann::ordered_json json{{"passes", e.passes}, {"converged", e.converged}};
    json["pairs"] = nlohmann::ordered_json::array(), json["skipped"] = nlohmann::ordered_json::array();
    for (auto const& p : e.pairs)
        json["pairs"].push_back({{"from", p.from}, {"to", p.to}, {"before", p.before}, {"after", p.after}});
    for (auto const& s : e.skipped) json["skipped"].push_back({{"layer", s.path}, {"why", s.why}});
    return json;
}

inline nlohmann::ordered_json to_json(std::vector<qat::calibrate::RoundedWeights> const& layers) {
    auto json = nlohmann::ordered_json::array();
    for (auto const& l : layers)
        json.push_back({{"layer", l.path},
                        {"error_nearest", l.nearest},
                        {"error_chosen", l.chosen},
                        {"changed", l.changed}});
    return json;
}

inline nlohmann::ordered_json to_json(std::vector<qat::calibrate::CorrectedBias> const& layers) {
    auto json = nlohmann::ordered_json::array();
    for (auto const& l : layers)
        json.push_back({{"layer", l.path}, {"largest", l.largest}, {"relative", l.relative}});
    return json;
}

inline nlohmann::ordered_json to_json(std::vector<qat::calibrate::Sensitivity> const& ranked) {
    auto json = nlohmann::ordered_json::array();
    for (auto const& s : ranked) {
        auto& row =
            json.emplace_back(nlohmann::ordered_json{{"quantizer", s.path}, {"snr_db", s.signal_to_noise}});
        if (s.metric) row["metric"] = *s.metric;
    }
    return json;
}

inline nlohmann::ordered_json to_json(std::vector<qat::calibrate::QuantizerReport> const& reports) {
    auto json = nlohmann::ordered_json::array();
    for (auto const& r : reports) {
        nlohmann::ordered_json row{
            {"quantizer", r.path},
            {"of", r.of == qat::calibrate::QuantizerReport::Of::weights ? "weights" : "output"},
            {"policy", r.quantizer}};
        if (!r.shared_with.empty()) row["shared_with"] = r.shared_with;
        if (r.finding != qat::calibrate::Finding::none) row["finding"] = text(r.finding);
        if (r.values > 0)
            row.update({{"values", r.values},
                        {"snr_db", r.signal_to_noise},
                        {"cosine", r.cosine},
                        {"clip_rate", r.clip_rate},
                        {"range", {r.min, r.max}},
                        {"grid_range", {r.grid_min, r.grid_max}},
                        {"scale", {r.scale_min, r.scale_max}},
                        {"zero_point", {r.zero_point_min, r.zero_point_max}},
                        {"codes", r.codes},
                        {"codes_used", r.codes_used},
                        {"bits_used", r.bits_used()}});
        json.push_back(std::move(row));
    }
    return json;
}

namespace detail {

/// A sentence if the checkpoint was trained with another activation than the experiment's.
inline std::string other_activation(Catalogue const& catalogue, ExperimentInfo const& info,
                                    std::string const& trained_by) {
    auto const activation = [](ExperimentInfo const& e) -> std::string {
        for (auto const& [about, choice] : e.description)
            if (about == "activation") return choice;
        return {};
    };
    for (auto const& other : catalogue.all())
        if (other.name == trained_by && activation(other) != activation(info))
            return "the checkpoint was trained with " + activation(other) + " and " + info.name +
                   " computes " + activation(info) +
                   ": without training this is another network; train it in float with " + activation(info) +
                   " first";
    return {};
}

/// Writes IMAGE's script (.gp) and data (.dat) beside it and lets gnuplot draw. What went wrong as a sentence, or nothing.
inline std::string draw(std::vector<qat::calibrate::QuantizerReport> const& reports,
                        std::filesystem::path const& image, std::string const& title) {
    auto const beside = [&](char const* extension) {
        return std::filesystem::path(image).replace_extension(extension);
    };
    auto const drawn =
        std::count_if(reports.begin(), reports.end(), [](auto const& r) { return r.values > 0; });
    std::ostringstream data, script;
    qat::calibrate::write_plot_data(data, reports);
    qat::calibrate::write_plot_script(script, beside(".dat").string(), image.string(), title,
                                      static_cast<std::size_t>(drawn));
    write_atomically(beside(".dat"), data.str());
    write_atomically(beside(".gp"), script.str());
    auto const why = plot::run_gnuplot(beside(".gp"));
    return why.empty()
               ? why
               : image.string() + " was not drawn, " + why + ", and run: gnuplot " + beside(".gp").string();
}
}  // namespace detail

}  // namespace yolo::apps
