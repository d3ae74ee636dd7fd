#pragma once
// How near a quantized tensor is to the one in float, summed over many tensors.

#include <qat/torch.hpp>

#include <cmath>
#include <limits>
#include <vector>

namespace qat::calibrate {

/// Sums in float64, so that the order of batches hardly matters.
class Similarity {
public:
    /// requires the same shape.
    void add(torch::Tensor const& wanted, torch::Tensor const& found) {
        torch::NoGradGuard no_grad;
        auto const x = wanted.detach().to(torch::kDouble), y = found.detach().to(torch::kDouble);
        signal_ += sum_of(x * x), found_ += sum_of(y * y), both_ += sum_of(x * y);
        auto const d = x - y;
        noise_ += sum_of(d * d), values_ += wanted.numel();
    }
    void add(std::vector<torch::Tensor> const& wanted, std::vector<torch::Tensor> const& found) {
        TORCH_CHECK(wanted.size() == found.size(), "similarity: ", found.size(), " results, want ",
                    wanted.size());
        for (std::size_t i = 0; i < wanted.size(); ++i) add(wanted[i], found[i]);
    }

    /// 10 log10 (sum x^2 / sum (x - y)^2), decibel. +inf: no difference; NaN: nothing was added, or not finite.
    double signal_to_noise() const {
        if (values_ == 0) return std::numeric_limits<double>::quiet_NaN();
        if (noise_ == 0) return std::numeric_limits<double>::infinity();
        return 10 * std::log10(signal_ / noise_);
    }
    /// sum x y / sqrt(sum x^2 sum y^2), 1 if both are zero.
    double cosine() const {
        double const norm = std::sqrt(signal_ * found_);
        return norm > 0 ? both_ / norm : signal_ == found_ ? 1.0 : 0.0;
    }
    std::int64_t values() const { return values_; }

private:
    static double sum_of(torch::Tensor const& t) { return t.sum().item<double>(); }

    double signal_ = 0, found_ = 0, both_ = 0, noise_ = 0;
    std::int64_t values_ = 0;
};

}  // namespace qat::calibrate
