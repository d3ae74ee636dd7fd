#pragma once
// Learned quantization with torch's operators, for devices without loops of their own: the same values, and the same
// gradients up to the order of the sums. Nothing waits for the device.

#include <qat/core/rounding/floor.hpp>
#include <qat/core/rounding/half_away_from_zero.hpp>
#include <qat/core/rounding/half_even.hpp>
#include <qat/core/rounding/half_up.hpp>
#include <qat/core/rounding/stochastic.hpp>
#include <qat/ops/learned/loops.hpp>

#include <tuple>

namespace qat {

// A rounding policy applied to a tensor of codes; for one of your own put the overload into its namespace.
inline torch::Tensor round_codes(HalfEven, torch::Tensor const& t) { return (t + 12582912.0f) - 12582912.0f; }
inline torch::Tensor round_codes(Stochastic, torch::Tensor const& t) { return round_codes(HalfEven{}, t); }
inline torch::Tensor round_codes(HalfUp, torch::Tensor const& t) {
    auto const even = round_codes(HalfEven{}, t);
    return even + (t - even == 0.5f);
}
inline torch::Tensor round_codes(HalfAwayFromZero, torch::Tensor const& t) {
    auto const even = round_codes(HalfEven{}, t), rest = t - even;
    return even + ((rest == 0.5f) & (t > 0)) - ((rest == -0.5f) & (t < 0)).to(torch::kFloat);
}
inline torch::Tensor round_codes(RoundDown, torch::Tensor const& t) {
    auto const even = round_codes(HalfEven{}, t);
    return even - (even > t).to(torch::kFloat);
}

namespace detail {

// A grid in x's shape, but for broadcasting.
template <LearningSpec Spec> struct Spread {
    torch::Tensor scale, zero_point, low, high, t, rounded, code;  // rounded: up to one beyond either end

    Spread(torch::Tensor const& x, GridTensors const& grid, Levels levels)
        : scale(over(x, grid.scale)), zero_point(over(x, grid.zero_point.to(torch::kFloat))),
          low(static_cast<double>(levels.lo) - zero_point), high(static_cast<double>(levels.hi) - zero_point),
          t(x * scale.reciprocal()) {
        auto const near = torch::minimum(torch::maximum(torch::where(t == t, t, low), low - 1), high + 1);
        rounded = round_codes(typename Spec::rounding{}, near);
        code = torch::minimum(torch::maximum(rounded, low), high);
    }
    static torch::Tensor over(torch::Tensor const& x, torch::Tensor const& parameter) {
        std::vector<std::int64_t> shape(static_cast<std::size_t>(x.dim()), 1);
        if (Spec::scheme::per_channel) shape[Spec::scheme::axis] = -1;
        return parameter.view(shape);
    }
};

template <LearningSpec Spec>
torch::Tensor learned_forward_composite(torch::Tensor const& x, GridTensors const& grid, Levels levels) {
    Spread<Spec> const g(x, grid, levels);
    return g.code * g.scale;
}

template <LearningSpec Spec>
LearnedGradients learned_backward_composite(torch::Tensor const& x, torch::Tensor const& dy,
                                            GridTensors const& grid, torch::Tensor const& parameter,
                                            Levels levels, bool wants_input) {
    constexpr auto learns = Spec::estimator::learns;
    Spread<Spec> const g(x, grid, levels);
    auto const zero = torch::zeros_like(dy);
    auto const total = [&](torch::Tensor const& v) {
        auto const wide = v.to(torch::kDouble);
        return Spec::scheme::per_channel ? wide.transpose(0, Spec::scheme::axis).flatten(1).sum(1)
                                         : wide.sum().view(grid.scale.sizes());
    };
    torch::Tensor inside, slope, offset;
    auto const known = g.t == g.t;
    if constexpr (learns == Learns::clip) {
        auto const hi = static_cast<float>(levels.hi);
        auto const clip = Spread<Spec>::over(x, torch::where(parameter > smallest_scale * hi, parameter,
                                                             torch::full_like(parameter, smallest_scale * hi))
                                                    .clamp_max(largest_scale * hi));
        inside = (g.t >= g.low) & (x < clip);
        slope = torch::where(x >= clip, dy, zero);
    } else if constexpr (learns == Learns::log2_threshold) {
        inside = known & (g.rounded == g.code);
        slope = dy * torch::where(inside, g.code - g.t, torch::where(known, g.code, zero));
    } else {
        inside = (g.t > g.low) & (g.t < g.high);
        slope = dy * torch::where(inside, g.code - g.t, torch::where(known, g.code + g.zero_point, zero));
        if constexpr (learns == Learns::step_and_offset)
            offset = total(torch::where(known & ~inside, dy, zero));
    }
    return {wants_input ? torch::where(inside, dy, zero) : torch::Tensor(), total(slope), offset};
}

}  // namespace detail
}  // namespace qat
