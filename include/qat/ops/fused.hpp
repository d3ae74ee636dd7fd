#pragma once
// Activation, range, grid, gradient mask and codes of a tensor in one pass over memory.
//     y = s * clamp(round(act(x) / s), lo - z, hi - z) ;  dy/dx = 1 where act passes and the code was inside, else 0
// The estimator may let the gradient pass outside the range as well. Saved for the backward pass: one bit an element.

#include <qat/ops/activate.hpp>
#include <qat/ops/cuda/fused.hpp>
#include <qat/ops/masked_gradient.hpp>
#include <qat/ops/range.hpp>

namespace qat {

/// reuse: the result may overwrite x's memory, because x is a temporary that nobody reads again, such as the result of
/// a convolution, a sum or batch norm. The memory is taken only if no other tensor shares it and nothing saved it (a
/// view, a leaf, what autograd keeps), else this is `fresh`. Not for memory that LibTorch does not own (from_blob).
enum class Storage { reuse, fresh };

struct FusedOptions {
    Storage storage = Storage::fresh;
    RangeTensors* seen = nullptr;  // if not null, gets the extremes of act(x)
    bool codes = false;            // the result carries its codes (ops/codes.hpp), if they fit 8 bits
    bool noise = false;  // stochastic rounding with noise, from torch's generator of the CPU; else without
};

namespace detail {

inline std::uint64_t draw_seed() {
    constexpr auto most = std::numeric_limits<std::int64_t>::max();
    return static_cast<std::uint64_t>(torch::randint(0, most, {1}, torch::kLong).item<std::int64_t>());
}

/// Policies as values: what uses it is compiled once.
struct FusedRule {
    QuantizeBlock quantize;
    EndsOfBlock ends;
    bool passes_outside, stochastic;
    std::int64_t axis;                    // of the channels; -1: one grid for the tensor
    std::optional<cuda::Rule> elsewhere;  // none: the activation is applied before
};
template <class Activation, QuantizerSpec Spec> constexpr FusedRule fused_rule() {
    using S = typename Spec::scheme;
    using R = typename Spec::rounding;
    FusedRule rule{&quantize_block<Activation, R, S::per_channel>,
                   &ends_of_block<Activation>,
                   Spec::estimator::passes_outside,
                   R::stochastic,
                   axis_of<S>(),
                   {}};
    if constexpr (fallback::fuses<Activation>) rule.elsewhere = cuda::rule<Activation, Spec>();
    return rule;
}

inline torch::Tensor quantize_on_cpu(FusedRule const& rule, torch::Tensor const& x, GridTensors const& grid,
                                     Levels levels, FusedOptions const& o) {
    TORCH_CHECK(x.scalar_type() == torch::kFloat, "quantize: x is ", x.scalar_type(), ", want float32");
    auto const axis = rule.axis;
    auto const ends = o.seen && axis < 0 ? rule.ends : nullptr;
    if (o.seen && axis >= 0) *o.seen = range_on_cpu(x, axis, rule.ends);
    bool const may_differentiate = torch::GradMode::is_enabled();
    bool const differentiates = may_differentiate && x.requires_grad();
    bool const carries = may_differentiate && o.codes && Codes::fit(levels);
    torch::Tensor y, mask;
    std::optional<Codes> codes;
    {
        torch::NoGradGuard no_grad;
        bool const takes = !x.is_non_overlapping_and_dense() || (o.storage == Storage::reuse && exclusive(x));
        auto const in = dense(x);
        // tensor_data: a tensor of its own in the same memory, which autograd does not take for x
        y = takes ? in.tensor_data() : torch::empty_like(in);
        auto const bytes = in.options().dtype(torch::kByte);
        if (differentiates) mask = torch::empty({mask_bytes(in.numel())}, bytes);
        if (carries)
            codes = Codes{torch::empty_like(in, bytes), grid.scale.detach().clone(), grid.zero_point.clone(),
                          levels, axis};
        Pass pass;
        pass.x = in.data_ptr<float>(), pass.y = y.data_ptr<float>(), pass.n = in.numel();
        if (mask.defined()) pass.mask = mask.data_ptr<std::uint8_t>();
        if (codes) pass.codes = codes->values.data_ptr<std::uint8_t>();
        pass.quantize = rule.quantize, pass.passes_outside = rule.passes_outside, pass.ends = ends;
        if (rule.stochastic && o.noise) pass.seed = draw_seed();
        auto const [min, max] = perform(pass, grids_of(in, grid, levels, axis)).range();
        if (ends) *o.seen = {scalar(min), scalar(max)};
    }
    if (!differentiates && !carries) return y;
    return MaskedGradient::record(y, x, std::move(mask), std::move(codes));
}

inline torch::Tensor quantize_elsewhere(FusedRule const& rule, torch::Tensor const& x,
                                        GridTensors const& grid, Levels levels, FusedOptions const& o) {
    bool const noise = rule.stochastic && o.noise;
    bool const carries = o.codes && Codes::fit(levels) && torch::GradMode::is_enabled();
    auto const result = cuda::activate_and_quantize(*rule.elsewhere, x, grid, levels,
                                                    {.reuse = o.storage == Storage::reuse && exclusive(x),
                                                     .seen = o.seen,
                                                     .codes = carries,
                                                     .noise = noise,
                                                     .seed = noise ? draw_seed() : 0});
    if (!carries) return result.y;
    return MaskedGradient::record(
        result.y.tensor_data(), result.y, {},
        Codes{result.codes, grid.scale.detach().clone(), grid.zero_point.clone(), levels, rule.axis});
}
}  // namespace detail

/// act(x) on the grid.                                                                                       x's shape
/// requires x float32 (other devices: also float16 and bfloat16); grid on x's device, scale > 0 float32 [] or [C],
/// zero_point int32 [] or [C]; C: size of the scheme's axis. levels: at most 16 bits, within Spec's format.
/// Any strides; y is dense, in x's layout if x is. Empty tensors are fine. NaN becomes the lowest value and, unless
/// the estimator passes outside, has no gradient. An activation that does not mask (SiLU) runs before, on its own.
template <class Activation, QuantizerSpec Spec>
torch::Tensor activate_and_quantize(torch::Tensor const& x, GridTensors const& grid,
                                    Levels levels = levels_of<typename Spec::format>,
                                    FusedOptions const& o = {}) {
    if constexpr (!Activation::masks) {
        auto before = o;
        before.storage = Storage::reuse;  // if nobody saved it
        return activate_and_quantize<Identity, Spec>(activate(Activation{}, x), grid, levels, before);
    } else {
        if (x.is_cpu())
            return detail::quantize_on_cpu(detail::fused_rule<Activation, Spec>(), x, grid, levels, o);
        if constexpr (!fallback::fuses<Activation>)  // a masking activation of a user's own
            return activate_and_quantize<Identity, Spec>(activate(Activation{}, x), grid, levels, o);
        else
            return detail::quantize_elsewhere(detail::fused_rule<Activation, Spec>(), x, grid, levels, o);
    }
}

/// The extremes of act(x), NaN if there is one. One pass, nothing written.                            [] or [C] each
template <class Activation, class Scheme> RangeTensors activated_range(torch::Tensor const& x) {
    torch::NoGradGuard no_grad;
    if constexpr (!Activation::masks) {
        return range<Scheme>(activate(Activation{}, x));
    } else {
        if (x.is_cpu() && x.scalar_type() == torch::kFloat)
            return detail::range_on_cpu(x, axis_of<Scheme>(), &detail::ends_of_block<Activation>);
        if (x.is_cpu()) return range<Scheme>(activate(Activation{}, x));
        return cuda::activated_range<Activation, Scheme>(x);
    }
}

}  // namespace qat
