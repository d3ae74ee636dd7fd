#pragma once
// What people look at after a validation: the curves and the confusion matrix. No LibTorch.

#include <yolo/plot/confusion_plot.hpp>
#include <yolo/plot/curve_plots.hpp>

namespace yolo {

/// PR_curve.png, P_curve.png, R_curve.png, F1_curve.png and confusion_matrix.png into `folder`. Stops at the first that
/// cannot be drawn, so that a missing gnuplot is said once.
/// Returns why there is a picture missing, in a sentence, or "".
inline std::string plot_evaluation(Evaluation const& evaluation, ConfusionMatrix const& matrix,
                                   std::vector<std::string> const& names,
                                   std::filesystem::path const& folder) {
    auto const why = plot_curves(evaluation, names, folder);
    return why.empty() ? plot_confusion_matrix(matrix, names, folder / "confusion_matrix.png") : why;
}

}  // namespace yolo
