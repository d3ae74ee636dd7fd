#pragma once
// Memories that decide on the exponent of a power-of-two scale: by the squared error of what was seen, or by votes.
// Each adds its own state to a memory of ranges.

#include <qat/nn/extremes.hpp>
#include <qat/ops/finite_range.hpp>

#include <functional>

namespace qat::nn {
namespace detail {

/// max|x| that a symmetric grid has to reach, at least what the smallest scale covers; `otherwise` where it is not finite.
template <class Spec>
torch::Tensor reach(RangeTensors const& range, Levels levels, torch::Tensor const& otherwise = {}) {
    auto const min = range.min.clamp_max(0), max = range.max.clamp_min(0);
    auto const reach = Spec::format::is_signed ? torch::maximum(-min, max) : max;
    auto const safe = torch::where(torch::isfinite(reach), reach,
                                   otherwise.defined() ? otherwise : torch::zeros_like(reach));
    return safe.clamp_min(smallest_scale * static_cast<double>(levels.hi + 1));
}

/// The grid with s = 2^k / (hi + 1).                                                                [] or [G] each
inline GridTensors grid_of(torch::Tensor const& k, Levels levels) {
    auto const scale =
        torch::ldexp(torch::ones_like(k), k.to(torch::kInt)) / static_cast<double>(levels.hi + 1);
    return {scale.clamp_min(smallest_scale), torch::zeros_like(k, k.options().dtype(torch::kInt))};
}

}  // namespace detail

/// PowerOfTwo<LeastError> where ends are remembered. The errors of the candidates follow as the observer's range does: sums
/// of everything seen with MinMax, moving averages with MovingAverageMinMax, the last tensor's with MeanSquaredError.
/// The candidates move along with the range. Where the range grows, what earlier tensors would have cost on the new,
/// coarser grids is taken as four times the error on the next finer one, which is how rounding errors grow.
/// State: Memory's; errors [K] or [G, K], of exponents top, top - 1, ...; top, exponent [] or [G] (the choice).
/// Nobody waits for a device.
template <QuantizerSpec Spec, class Memory> class LeastErrors : public Memory {
    using O = typename Spec::observer;
    static constexpr std::int64_t candidates = Spec::scale::candidates;

public:
    static constexpr bool wants_values = true;

    LeastErrors(torch::nn::Module& owner, std::vector<std::int64_t> shape) : Memory(owner, shape) {
        top_ = owner.register_buffer("top", torch::zeros(shape));
        exponent_ = owner.register_buffer("exponent", torch::zeros(shape));
        shape.push_back(candidates);
        errors_ = owner.register_buffer("errors", torch::full(shape, unknown));
    }

    /// values: of which these are the extremes; not finite: ignored. group_of: of every channel, for PerRole.
    void see(RangeTensors const& extremes, torch::Tensor const& values, torch::Tensor const& group_of = {}) {
        torch::NoGradGuard no_grad;
        if (values.numel() == 0) return;
        auto const seen = Spec::scheme::per_channel ? extremes : finite_range(values.detach(), extremes);
        if constexpr (Memory::wants_values)
            Memory::see(seen, values, group_of);
        else
            Memory::see(seen);
        auto const known = detail::reach<Spec>(Memory::range(), levels_);  // of earlier steps
        auto top = exponent(torch::maximum(known, detail::reach<Spec>(seen, levels_, known)), Ceil) + 1;
        if (seen_errors_.defined()) top = torch::maximum(top, seen_top_);
        auto const k = top.unsqueeze(-1) - torch::arange(candidates, top.options());  // [K] or [G, K]
        auto const grids = detail::grid_of(k.to(torch::kFloat), levels_);
        auto const group = detail::group_of<typename Spec::scheme>(values, group_of);
        auto const errors = detail::errors_by_scale<Spec>(values, grids, levels_, group).to(torch::kFloat);
        seen_errors_ = seen_errors_.defined() ? moved(seen_errors_, top - seen_top_) + errors : errors;
        seen_top_ = top;
    }

    bool follow() {
        if (!Memory::follow()) return false;
        torch::NoGradGuard no_grad;
        auto const seen = std::exchange(seen_errors_, {}), top = std::exchange(seen_top_, {});
        auto const old = moved(errors_, (top - top_).to(torch::kInt));
        // An exponent that is new at the lower end starts with what it costs now, as ranges do.
        auto const errors = torch::where(torch::isinf(old), seen, O::follow(old, seen, std::plus<>()));
        errors_.copy_(errors);
        top_.copy_(top);
        auto const rank = torch::arange(candidates, errors.options());
        auto const best =
            torch::where(errors == errors.amin(-1, true), rank, torch::zeros_like(rank)).amax(-1);
        exponent_.copy_(top_ - best);  // the finest of the best
        return true;
    }

    GridTensors choose(Levels levels) const { return detail::grid_of(exponent_, levels); }
    void use(Levels levels, bool anew) {
        Memory::use(levels, anew);
        levels_ = levels;
        if (anew) errors_.fill_(unknown);  // errors on other integers say nothing
    }
    void forget() { Memory::forget(), seen_errors_.reset(), seen_top_.reset(); }
    void widen(torch::Tensor const& ratio) {
        Memory::widen(ratio);
        auto const octaves = torch::round(torch::log2(ratio));
        top_.add_(octaves), exponent_.add_(octaves);
    }

private:
    static constexpr float unknown = std::numeric_limits<float>::infinity();
    torch::Tensor errors_, top_, exponent_;
    torch::Tensor seen_errors_, seen_top_;  // since the last follow; undefined: nothing
    Levels levels_ = levels_of<typename Spec::format>;

    // Errors whose candidates begin `up` exponents higher.                                        errors' shape
    static torch::Tensor moved(torch::Tensor const& errors, torch::Tensor const& up) {
        auto const from = torch::arange(candidates, up.options()) - up.unsqueeze(-1);  // where it was before
        auto const old = errors.gather(-1, from.clamp(0, candidates - 1).to(torch::kLong));
        auto const coarser =
            torch::ldexp(torch::ones_like(old), (from.clamp_max(0) * -2).clamp_max(120).to(torch::kInt));
        return torch::where(from >= candidates, torch::full_like(old, unknown), old * coarser);
    }
};

/// PowerOfTwo<Mode>: every step votes for the exponent that Ceil gives to the observer's range.
/// State: Memory's; votes [64] or [G, 64], of exponents -32 ... 31; exponent [] or [G] (the choice).
/// Nobody waits for a device but where Memory does.
template <QuantizerSpec Spec, class Memory> class Votes : public Memory {
public:
    Votes(torch::nn::Module& owner, std::vector<std::int64_t> shape) : Memory(owner, shape) {
        exponent_ = owner.register_buffer("exponent", torch::zeros(shape));
        shape.push_back(count);
        votes_ = owner.register_buffer("votes", torch::zeros(shape));
    }

    bool follow() {
        if (!Memory::follow()) return false;
        torch::NoGradGuard no_grad;
        auto const known = Memory::known();
        auto const k = exponent(detail::reach<Spec>(Memory::range(levels_), levels_), Ceil);
        auto const place = (k - lowest).clamp(0, count - 1).to(torch::kLong).unsqueeze(-1);
        votes_.scatter_add_(-1, place, known.to(torch::kFloat).unsqueeze(-1));
        auto const in_use = (exponent_ - lowest).clamp(0, count - 1).to(torch::kLong).unsqueeze(-1);
        auto const overtaken =
            votes_.gather(-1, place) > votes_.gather(-1, in_use);  // only this step's can be
        exponent_.copy_(torch::where(overtaken, place, in_use).squeeze(-1) + lowest);
        return true;
    }

    GridTensors choose(Levels levels) const { return detail::grid_of(exponent_, levels); }
    void use(Levels levels, bool anew) {
        Memory::use(levels, anew);
        levels_ = levels;
        if (anew && Memory::wants_values)
            votes_.zero_();  // a search's range depends on them; the winner stays
    }
    /// The next votes are about the wider range; of those that were cast only the winner is kept.
    void widen(torch::Tensor const& ratio) {
        Memory::widen(ratio);
        exponent_.add_(torch::round(torch::log2(ratio)));
        votes_.zero_();
    }

private:
    static constexpr std::int64_t count = 64, lowest = -32;
    torch::Tensor votes_, exponent_;
    Levels levels_ = levels_of<typename Spec::format>;
};

}  // namespace qat::nn
