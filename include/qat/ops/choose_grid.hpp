#pragma once
// From ranges to grids, for tensors of ranges on any device, without waiting for the device.
// The scalar rule is choose_grid in core/arithmetic.hpp; tests hold the two together bit for bit.

#include <qat/core/arithmetic.hpp>
#include <qat/core/quantizer.hpp>
#include <qat/torch.hpp>

namespace qat {

/// Of a tensor, or of every channel of one.
struct GridTensors {
    torch::Tensor scale;       // real units per integer step    [] or [C], float32
    torch::Tensor zero_point;  // the integer that means 0.0     [] or [C], int32
};

/// log2 x rounded up, to the nearest or down, exactly. requires x > 0.
inline torch::Tensor exponent(torch::Tensor const& x, Toward way) {
    auto const [mantissa, power] = torch::frexp(x);  // x = mantissa * 2^power, 1/2 <= mantissa < 1
    auto const down = power - 1;
    if (way == Toward::down) return down;
    constexpr float half = 0.5f, root = 0.70710678f;  // up unless x = 2^down; up from 2^(down + 1/2)
    return down + (way == Toward::up ? mantissa > half : mantissa >= root).to(torch::kInt);
}

namespace detail {
// By torch's operators. Divisors are tensors: by a number CUDA multiplies with its rounded reciprocal.
inline GridTensors choose_grid_on_device(GridRule const& rule, torch::Tensor min, torch::Tensor max,
                                         Levels levels) {
    bool const is_signed = rule.is_signed;
    auto const lo = static_cast<double>(levels.lo), hi = static_cast<double>(levels.hi);
    min = min.clamp_max(0), max = max.clamp_min(0);
    auto const by = [](torch::Tensor const& t, double divisor) { return t / torch::full_like(t, divisor); };
    if (rule.symmetric) {
        auto const reach = is_signed ? torch::maximum(-min, max) : max;
        auto const zero = torch::zeros(reach.sizes(), reach.options().dtype(torch::kInt));
        if (!rule.power_of_two)
            return {by(reach, is_signed ? (hi - lo) / 2 : hi).clamp_min(smallest_scale), zero};
        auto const k = exponent(reach.clamp_min(smallest_scale * (hi + 1)), rule.way);
        return {torch::ldexp(torch::ones_like(reach), k) / (hi + 1), zero};
    }
    auto const scale = by(max - min, hi - lo).clamp_min(smallest_scale);
    auto const zero = lo - torch::round(min / scale);
    return {scale, zero.clamp(lo, hi).to(torch::kInt)};
}

inline GridTensors choose_grid(GridRule const& rule, torch::Tensor const& min, torch::Tensor const& max,
                               Levels levels) {
    torch::NoGradGuard no_grad;
    if (!min.is_cpu()) return choose_grid_on_device(rule, min, max, levels);
    GridTensors const grid{
        torch::empty_like(min, torch::MemoryFormat::Contiguous),
        torch::empty_like(min, min.options().dtype(torch::kInt), torch::MemoryFormat::Contiguous)};
    auto const lower = min.contiguous(), upper = max.contiguous();
    auto const *low = lower.data_ptr<float>(), *high = upper.data_ptr<float>();
    auto* scale = grid.scale.data_ptr<float>();
    auto* zero = grid.zero_point.data_ptr<std::int32_t>();
    for (std::int64_t c = 0; c < min.numel(); ++c) {
        auto const g = qat::choose_grid(rule, low[c], high[c], levels);
        scale[c] = g.scale, zero[c] = g.zero_point;
    }
    return grid;
}
}  // namespace detail

/// The grids of this specification that cover [min, max] and zero.                                [] or [C] each
/// requires float32 on one device.
template <class Spec>
GridTensors choose_grid(torch::Tensor const& min, torch::Tensor const& max,
                        Levels levels = levels_of<typename Spec::format>) {
    return detail::choose_grid(grid_rule<Spec>(), min, max, levels);
}

}  // namespace qat
