#pragma once
// An observer's memory that consists of the two ends of a range.

#include <qat/core/quantizer.hpp>
#include <qat/ops/choose_grid.hpp>
#include <qat/ops/cuda/launch.hpp>
#include <qat/ops/range.hpp>
#include <qat/ops/squared_error.hpp>
#include <qat/torch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace qat::nn {
namespace detail {

struct Lesser {
    torch::Tensor operator()(torch::Tensor const& a, torch::Tensor const& b) const {
        return torch::minimum(a, b);
    }
    float operator()(float a, float b) const { return std::min(a, b); }
};
struct Greater {
    torch::Tensor operator()(torch::Tensor const& a, torch::Tensor const& b) const {
        return torch::maximum(a, b);
    }
    float operator()(float a, float b) const { return std::max(a, b); }
};

// A hundred grids follow a hundred ranges in every step, and a torch operator on the CPU costs more than the arithmetic of
// a whole range. The functions below are loops there and torch's operators elsewhere, with the same results.

/// An end of a range by torch's operators: see Extremes::follow. In place.
template <class O, class Extreme>
void follow_by_operators(torch::Tensor const& range, torch::Tensor const& seen, Extreme extreme) {
    torch::NoGradGuard no_grad;
    auto const followed = torch::where(torch::isinf(range), seen, O::follow(range, seen, extreme));
    range.copy_(torch::where(torch::isfinite(seen), followed, range));
}

/// range, seen: [] or [G] each, float32. In place. O::follow takes tensors; if it takes floats as well, they are used.
template <class O, class Extreme>
void follow(torch::Tensor const& range, torch::Tensor const& seen, Extreme extreme) {
    if constexpr (requires(float x) { O::follow(x, x, extreme); }) {
        if (range.is_cpu() && seen.is_cpu()) {
            TORCH_CHECK(range.sizes() == seen.sizes(), "observe: ranges of shape ", seen.sizes(),
                        " for scales of shape ", range.sizes(),
                        "; give the quantizer as many channels as the tensor has");
            auto const values = seen.contiguous();
            auto const* const in = values.template data_ptr<float>();
            auto* const end = range.template data_ptr<float>();
            for (std::int64_t i = 0; i < range.numel(); ++i)
                if (std::isfinite(in[i]))
                    end[i] = std::isinf(end[i]) ? in[i] : O::follow(end[i], in[i], extreme);
            range.unsafeGetTensorImpl()->bump_version();  // as copy_ does
            return;
        }
    }
    follow_by_operators<O>(range, seen, extreme);
}

/// a, b: contiguous, of one shape.                                                                 [] or [G], bool
inline torch::Tensor both_finite(torch::Tensor const& a, torch::Tensor const& b) {
    if (!a.is_cpu()) return torch::isfinite(a) & torch::isfinite(b);
    auto const result = torch::empty(a.sizes(), torch::kBool);
    auto const *x = a.data_ptr<float>(), *y = b.data_ptr<float>();
    auto* const out = result.data_ptr<bool>();
    for (std::int64_t i = 0; i < a.numel(); ++i) out[i] = std::isfinite(x[i]) && std::isfinite(y[i]);
    return result;
}

/// to = known ? from : to, element by element. Of one shape, contiguous; float32 or int32.
inline void adopt(torch::Tensor const& to, torch::Tensor const& from, torch::Tensor const& known) {
    torch::NoGradGuard no_grad;
    if (!to.is_cpu() || !from.is_contiguous() || from.sizes() != to.sizes()) {
        to.copy_(torch::where(known, from, to));
        return;
    }
    auto const* const wanted = known.data_ptr<bool>();
    auto const copy = [&](auto* out, auto const* in) {
        for (std::int64_t i = 0; i < to.numel(); ++i)
            if (wanted[i]) out[i] = in[i];
    };
    if (to.scalar_type() == torch::kInt)
        copy(to.data_ptr<std::int32_t>(), from.data_ptr<std::int32_t>());
    else
        copy(to.data_ptr<float>(), from.data_ptr<float>());
    to.unsafeGetTensorImpl()->bump_version();
}

/// x: contiguous.                                                                                   x's shape
inline torch::Tensor finite_or_zero(torch::Tensor const& x) {
    if (!x.is_cpu()) return torch::where(torch::isfinite(x), x, torch::zeros_like(x));
    auto const result = torch::empty(x.sizes(), torch::kFloat);
    auto const* const in = x.data_ptr<float>();
    auto* const out = result.data_ptr<float>();
    for (std::int64_t i = 0; i < x.numel(); ++i) out[i] = std::isfinite(in[i]) ? in[i] : 0.0f;
    return result;
}
}  // namespace detail

/// What is seen is collected until follow(), which lets the range take it in once, as the observer says; so a grid that
/// several producers share sees the union of a step.
/// State: min, max ([] or [G] each). min > max: nothing was seen yet.
template <QuantizerSpec Spec> class Extremes {
    using O = typename Spec::observer;

public:
    static constexpr bool wants_values = false;  // the ends are enough: kernels find them while they quantize

    /// owner: where the buffers are registered. shape: of a scale.
    Extremes(torch::nn::Module& owner, std::vector<std::int64_t> const& shape) {
        constexpr auto inf = std::numeric_limits<float>::infinity();
        min_ = owner.register_buffer("min", torch::full(shape, inf));
        max_ = owner.register_buffer("max", torch::full(shape, -inf));
        if constexpr (requires { O::reaches; }) {
            for (std::int64_t g = 0; g < max_.numel(); ++g) max_[g] = O::reaches[g % O::count];
            min_.copy_(-max_);
        } else if constexpr (O::fixed) {
            min_.fill_(O::lo), max_.fill_(O::hi);
        }
    }

    /// only_largest: of all that is seen before the next follow() the widest range counts, not their union.
    void see(RangeTensors const& seen, bool only_largest = false) {
        if (only_largest && seen_min_.defined()) {
            auto const wider = torch::maximum(-seen.min, seen.max) > torch::maximum(-seen_min_, seen_max_);
            seen_min_ = torch::where(wider, seen.min, seen_min_);
            seen_max_ = torch::where(wider, seen.max, seen_max_);
            return;
        }
        seen_min_ = seen_min_.defined() ? torch::minimum(seen_min_, seen.min) : seen.min;
        seen_max_ = seen_max_.defined() ? torch::maximum(seen_max_, seen.max) : seen.max;
    }

    /// The range takes in what was seen since the last time: all of it at first, then as the observer says. Ends that are
    /// not finite are ignored, so that one bad batch cannot poison the scale. False if nothing was seen.
    bool follow() {
        if constexpr (O::fixed) {
            return false;
        } else {
            if (!seen_min_.defined()) return false;
            auto const min = std::exchange(seen_min_, {}), max = std::exchange(seen_max_, {});
            detail::follow<O>(min_, min, detail::Lesser{});
            detail::follow<O>(max_, max, detail::Greater{});
            return true;
        }
    }

    /// follow(), and where the range is known grid becomes choose(levels): on a device one kernel instead of forty
    /// operators. (Memories that choose otherwise have a follow() of their own, which hides this one.)
    bool follow(GridTensors const& grid, Levels levels) {
        torch::NoGradGuard no_grad;
        if constexpr (!O::fixed && requires { O::rule; }) {
            auto const* k = cuda::kernels();
            if (seen_min_.defined() && cuda::serves(k, min_)) {
                cuda::move(*k, O::rule, grid_rule<Spec>(), levels,
                           {std::exchange(seen_min_, {}), std::exchange(seen_max_, {})}, {min_, max_},
                           grid.scale, grid.zero_point);
                return true;
            }
        }
        if (!follow()) return false;
        auto const seen = known();
        auto const chosen = choose(levels);
        detail::adopt(grid.scale, chosen.scale, seen),
            detail::adopt(grid.zero_point, chosen.zero_point, seen);
        return true;
    }

    torch::Tensor known() const { return detail::both_finite(min_, max_); }  // [] or [G], bool
    RangeTensors range(Levels = levels_of<typename Spec::format>) const { return {min_, max_}; }
    GridTensors choose(Levels levels) const {  // meaningful where known()
        return choose_grid<Spec>(detail::finite_or_zero(min_), detail::finite_or_zero(max_), levels);
    }
    void forget() { seen_min_.reset(), seen_max_.reset(); }  // what was seen since the last follow
    void widen(torch::Tensor const& ratio) { min_.mul_(ratio), max_.mul_(ratio); }
    void use(Levels, bool) {}

private:
    torch::Tensor min_, max_;            // the range over all steps so far
    torch::Tensor seen_min_, seen_max_;  // since the last follow, over all producers; undefined: nothing
};

namespace detail {
/// Sums over channels become sums over groups.                                              [C, K] -> [G, K]
inline torch::Tensor by_group(torch::Tensor const& channels, torch::Tensor const& group_of,
                              std::int64_t groups) {
    if (!group_of.defined()) return channels;
    return torch::zeros({groups, channels.size(1)}, channels.options()).index_add(0, group_of, channels);
}

/// Of every group the value that its channels use.                                          [G, K] -> [C, K]
inline torch::Tensor of_channels(torch::Tensor const& groups, torch::Tensor const& group_of) {
    return group_of.defined() ? groups.index_select(0, group_of) : groups;
}

/// Which group a channel belongs to, on the values' device; undefined where every channel has a scale of its own. [C]
template <class Scheme> torch::Tensor group_of(torch::Tensor const& values, torch::Tensor const& given) {
    if constexpr (!Scheme::grouped) {
        return {};
    } else if constexpr (Scheme::roles) {
        TORCH_CHECK(given.defined(),
                    "observe: channels that play roles, but nobody said which; pass group_of to see()");
        return given.to(values.device());
    } else {
        auto const whole = values.options().dtype(torch::kLong);
        return torch::arange(values.size(Scheme::axis), whole).div(Scheme::group_size, "floor");
    }
}

/// The squared errors on K candidate grids for every scale.      grids: [K] or [G, K] each; result likewise, float64
template <class Spec>
torch::Tensor errors_by_scale(torch::Tensor const& values, GridTensors const& grids, Levels levels,
                              torch::Tensor const& group) {
    if constexpr (!Spec::scheme::per_channel) {
        return squared_errors<Spec>(values, grids, levels);
    } else {
        GridTensors const channels{of_channels(grids.scale, group), of_channels(grids.zero_point, group)};
        return by_group(squared_errors<Spec>(values, channels, levels), group, grids.scale.size(0));
    }
}
}  // namespace detail

/// The ends of the shrunk range whose grid has the least squared error on the values: MeanSquaredError per channel.
/// 100 grids for every channel, in one pass; meant for weights. State: min, max, the shrunk ends of the last step.
template <QuantizerSpec Spec> class ShrunkExtremes : public Extremes<Spec> {
    using O = typename Spec::observer;

public:
    static constexpr bool wants_values = true;
    using Extremes<Spec>::Extremes;

    /// values: of which `seen` are the extremes; not finite: ignored. group_of: of every channel, for PerRole.
    void see(RangeTensors const& seen, torch::Tensor const& values, torch::Tensor const& group_of = {}) {
        torch::NoGradGuard no_grad;
        if (values.numel() == 0) return;
        auto const group = detail::group_of<typename Spec::scheme>(values, group_of);
        auto const finite = [](torch::Tensor const& t) { return t.nan_to_num(0, 0, 0).unsqueeze(-1); };
        auto const factors = torch::arange(O::factors, 0, -1, seen.min.options()) / O::factors;
        auto const min = finite(seen.min) * factors,
                   max = finite(seen.max) * factors;  // [G, K], widest first
        auto const errors =
            detail::errors_by_scale<Spec>(values, choose_grid<Spec>(min, max, levels_), levels_, group);
        auto const rank = torch::arange(O::factors, errors.options());
        auto const least = torch::where(errors == errors.amin(-1, true), rank,
                                        torch::full_like(rank, static_cast<double>(O::factors - 1)))
                               .amin(-1, true)
                               .to(torch::kLong);  // the widest of the best
        auto const end = [&](torch::Tensor const& ends, torch::Tensor const& given) {
            return torch::where(torch::isfinite(given), ends.gather(-1, least).squeeze(-1), given);
        };
        Extremes<Spec>::see({end(min, seen.min), end(max, seen.max)});
    }

    void use(Levels levels, bool) { levels_ = levels; }

private:
    Levels levels_ = levels_of<typename Spec::format>;
};

}  // namespace qat::nn
