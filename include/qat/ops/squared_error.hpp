#pragma once
// The squared error of a tensor on many candidate grids at once. CPU: one pass over the tensor, every block of it visits all
// candidates while it is in the first-level cache. Elsewhere: torch's operators, one candidate after the other, without
// waiting for the device.

#include <qat/core/squared_error.hpp>
#include <qat/ops/choose_grid.hpp>
#include <qat/ops/instruction_set.hpp>
#include <qat/ops/range.hpp>

#include <algorithm>
#include <limits>
#include <vector>

namespace qat {
namespace detail {

// One entry for each grid. A rounding with noise is judged without it.
struct Candidates {
    std::vector<float> scale, inverse;
    std::vector<Bounds> bounds;
};

template <class Rounding> struct SquaredErrorKernel {
    [[gnu::always_inline]] static float run(float const* x, std::int64_t n, float scale, float inverse,
                                            Bounds b) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t i = 0; i < n; ++i) sum += squared_error<Rounding>(x[i], scale, inverse, b);
        return sum;
    }
};

// errors[k] += of `count` values on candidate k. Single precision within a block only.
template <class Rounding>
void add_squared_errors(float const* x, std::int64_t count, Candidates const& grids, std::size_t first,
                        std::size_t candidates, InstructionSet set, double* errors) {
    constexpr std::int64_t at_once = 512;
    for (std::int64_t start = 0; start < count; start += at_once) {
        auto const n = std::min(at_once, count - start);
        for (std::size_t k = 0; k < candidates; ++k) {
            errors[k] += static_cast<double>(
                run_with<SquaredErrorKernel<Rounding>>(set, x + start, n, grids.scale[first + k],
                                                       grids.inverse[first + k], grids.bounds[first + k]));
        }
    }
}

using AddSquaredErrors = void (*)(float const*, std::int64_t, Candidates const&, std::size_t, std::size_t,
                                  InstructionSet, double*);

// axis: of the channels; -1: one grid for the tensor.
inline torch::Tensor squared_errors_on_cpu(torch::Tensor const& input, GridTensors const& grids,
                                           Levels levels, std::int64_t axis, AddSquaredErrors add) {
    bool const per_channel = axis >= 0;
    auto const x = !per_channel && input.is_non_overlapping_and_dense() ? input : input.contiguous();
    auto const scale = grids.scale.contiguous(), zero = grids.zero_point.contiguous();
    Candidates all;
    for (std::int64_t i = 0; i < scale.numel(); ++i) {
        all.scale.push_back(scale.data_ptr<float>()[i]);
        all.inverse.push_back(1.0f / all.scale.back());
        all.bounds.push_back(bounds(levels.lo, levels.hi, zero.data_ptr<std::int32_t>()[i]));
    }
    auto errors = torch::zeros(scale.sizes(), torch::kDouble);
    auto* const out = errors.data_ptr<double>();
    auto const* const in = x.data_ptr<float>();
    auto const candidates = static_cast<std::size_t>(scale.size(-1));
    auto const set = best_instruction_set();
    if (per_channel) {
        auto const channels = x.size(axis);
        std::int64_t run = 1;  // elements in a row that share a channel
        for (std::int64_t d = axis + 1; d < x.dim(); ++d) run *= x.size(d);
        auto const runs = x.numel() / std::max<std::int64_t>(run * channels, 1);
        auto const grain_size =
            std::max<std::int64_t>(1, (1 << 14) * channels / std::max<std::int64_t>(x.numel(), 1));
        at::parallel_for(0, channels, grain_size, [&](std::int64_t from, std::int64_t to) {
            for (auto c = from; c < to; ++c) {
                auto const first = static_cast<std::size_t>(c) * candidates;
                for (std::int64_t r = 0; r < runs; ++r)
                    add(in + (r * channels + c) * run, run, all, first, candidates, set, out + first);
            }
        });
    } else {  // pieces of a fixed size, summed in order: the number of threads does not matter
        constexpr std::int64_t piece = 1 << 14;
        auto const pieces = (x.numel() + piece - 1) / piece;
        std::vector<double> sums(static_cast<std::size_t>(pieces) * candidates);
        at::parallel_for(0, pieces, 1, [&](std::int64_t from, std::int64_t to) {
            for (auto p = from; p < to; ++p)
                add(in + p * piece, std::min(piece, x.numel() - p * piece), all, 0, candidates, set,
                    sums.data() + static_cast<std::size_t>(p) * candidates);
        });
        for (std::size_t i = 0; i < sums.size(); ++i) out[i % candidates] += sums[i];
    }
    return errors;
}

// Rounds half to even, whatever the rounding: ties do not decide which grid is better.
inline torch::Tensor squared_errors_on_device(torch::Tensor const& input, GridTensors const& grids,
                                              Levels levels, std::int64_t axis) {
    bool const per_channel = axis >= 0;
    auto const x = torch::where(torch::isfinite(input), input, torch::zeros_like(input));
    std::vector<std::int64_t> shape(static_cast<std::size_t>(per_channel ? x.dim() : 0), 1), others;
    if (per_channel) shape[static_cast<std::size_t>(axis)] = -1;
    for (std::int64_t d = 0; d < x.dim(); ++d)
        if (d != axis) others.push_back(d);
    std::vector<torch::Tensor> errors;
    for (std::int64_t k = 0; k < grids.scale.size(-1); ++k) {
        auto const scale = grids.scale.select(-1, k).reshape(shape);
        auto const zero = grids.zero_point.select(-1, k).reshape(shape);
        auto const low = (levels.lo - zero).to(torch::kFloat), high = (levels.hi - zero).to(torch::kFloat);
        auto const code = torch::minimum(torch::maximum(torch::round(x * scale.reciprocal()), low), high);
        auto const error = (code * scale - x).square();
        errors.push_back(others.empty() ? error.to(torch::kDouble)
                                        : error.sum(others, false, torch::kDouble));
    }
    return torch::stack(errors, -1);
}

}  // namespace detail

/// sum over x of (Q(x) - x)^2 for K grids; values that are not finite are left out.
/// x: float32, any strides. grids: [K] each, or [C, K] if the scheme is per channel. Deterministic on the CPU.
///                                                                                       [K] or [C, K], float64
template <class Spec>
torch::Tensor squared_errors(torch::Tensor const& x, GridTensors const& grids, Levels levels) {
    torch::NoGradGuard no_grad;
    if (x.numel() == 0) return torch::zeros(grids.scale.sizes(), grids.scale.options().dtype(torch::kDouble));
    constexpr auto axis = axis_of<typename Spec::scheme>();
    if (!x.is_cpu()) return detail::squared_errors_on_device(x.detach(), grids, levels, axis);
    return detail::squared_errors_on_cpu(x.detach(), grids, levels, axis,
                                         &detail::add_squared_errors<typename Spec::rounding>);
}

}  // namespace qat
