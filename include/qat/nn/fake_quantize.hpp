#pragma once
// A module that puts tensors on a grid: observer, scale and fake quantization together. torch.ao: FakeQuantize.

#include <qat/core/describe.hpp>
#include <qat/nn/grid.hpp>
#include <qat/nn/handle.hpp>
#include <qat/ops/choose_grid.hpp>
#include <qat/ops/fake_quantize.hpp>
#include <qat/ops/range.hpp>

#include <limits>

namespace qat::nn {

/// State: scale, zero_point, min, max ([] or [C] each); none at all if the format is Float.
/// min > max: nothing was seen yet, and the scale is 1.
template <QuantizerSpec Spec> class FakeQuantizeImpl final : public Grid {
    using F = typename Spec::format;
    using S = typename Spec::scheme;
    using O = typename Spec::observer;

    torch::Tensor min_, max_;  // the range over all steps so far
    torch::Tensor step_min_,
        step_max_;  // what was seen since the last refresh, over all producers; undefined: nothing
    bool each_step_ = Spec::movement::when == each_step;

public:
    /// channels: size of the scheme's axis; not used by per-tensor schemes.
    explicit FakeQuantizeImpl(std::int64_t channels = 1) {
        if constexpr (F::quantized) {
            std::vector<std::int64_t> shape;
            if (S::per_channel) shape.push_back(channels);
            constexpr auto inf = std::numeric_limits<float>::infinity();
            scale = register_buffer("scale", torch::ones(shape));
            zero_point = register_buffer("zero_point", torch::zeros(shape, torch::kInt));
            min_ = register_buffer("min", torch::full(shape, inf));
            max_ = register_buffer("max", torch::full(shape, -inf));
            if constexpr (O::fixed) adopt(torch::full(shape, O::lo), torch::full(shape, O::hi));
        }
    }

    bool quantized() const override { return F::quantized; }
    bool fixed() const override { return F::quantized && O::fixed; }
    std::string describe() const override { return qat::describe<Spec>(); }
    void share() override { each_step_ = true; }

    /// x on the grid, in float32; in training mode the range takes it in before.                              x's shape
    torch::Tensor forward(torch::Tensor const& x) override {
        if constexpr (!F::quantized) {
            return x;
        } else {
            // Autocast may hand in half precision: ranges and grids are float32 always.
            auto const value = x.scalar_type() == torch::kFloat ? x : x.to(torch::kFloat);
            if constexpr (!O::fixed)
                if (is_training() && observing) observe(value);
            if (mode == GridMode::observe) return value;
            return fake_quantize<Spec>(value, scale, zero_point);
        }
    }

    void refresh() override {
        if constexpr (!O::fixed) {
            if (!step_min_.defined()) return;
            auto const min = std::exchange(step_min_, {}), max = std::exchange(step_max_, {});
            follow(min, max);
        }
    }

private:
    void observe(torch::Tensor const& x) {
        torch::NoGradGuard no_grad;
        if (mode == GridMode::observe && !each_step_) return;  // would count the first batch twice
        auto const [min, max] = range<S>(x);
        if (!each_step_) return follow(min, max);
        step_min_ = step_min_.defined() ? torch::minimum(step_min_, min) : min;
        step_max_ = step_max_.defined() ? torch::maximum(step_max_, max) : max;
    }

    // The range takes in what was seen: all of it at first, then as the observer says. Ends that are not finite are
    // ignored, so that one bad batch cannot poison the scale.
    void follow(torch::Tensor const& min, torch::Tensor const& max) {
        torch::NoGradGuard no_grad;
        auto const next = [](torch::Tensor const& old, torch::Tensor const& seen, auto extreme) {
            auto const followed = torch::where(torch::isinf(old), seen, O::follow(old, seen, extreme));
            return torch::where(torch::isfinite(seen), followed, old);
        };
        adopt(next(min_, min, [](auto const& a, auto const& b) { return torch::minimum(a, b); }),
              next(max_, max, [](auto const& a, auto const& b) { return torch::maximum(a, b); }));
    }

    void adopt(torch::Tensor const& min, torch::Tensor const& max) {
        torch::NoGradGuard no_grad;
        min_.copy_(min), max_.copy_(max);
        auto const finite = torch::isfinite(min_) & torch::isfinite(max_);
        auto const grid = choose_grid<Spec>(torch::where(finite, min_, torch::zeros_like(min_)),
                                            torch::where(finite, max_, torch::zeros_like(max_)));
        scale.copy_(torch::where(finite, grid.scale, scale));
        zero_point.copy_(torch::where(finite, grid.zero_point, zero_point));
    }
};
template <QuantizerSpec Spec> using FakeQuantize = Handle<FakeQuantizeImpl<Spec>>;

}  // namespace qat::nn
