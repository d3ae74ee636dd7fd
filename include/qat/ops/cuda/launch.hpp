#pragma once
// The kernels applied to tensors: what they require is checked, memory is taken, the work is queued. No autograd and no
// policies: plain functions that are compiled once.

#include <qat/ops/cuda/plan.hpp>
#include <qat/ops/cuda/request.hpp>

#include <vector>

namespace qat::cuda {

/// Whether these kernels can take x.
inline bool serves(Kernels const* k, torch::Tensor const& x) {
    return k != nullptr && (k->emulated ? x.is_cpu() : x.is_cuda());
}

namespace detail {

inline Element element(torch::Tensor const& x) {
    auto const type = x.scalar_type();
    TORCH_CHECK(type == torch::kFloat || type == torch::kHalf || type == torch::kBFloat16, "qat::cuda: x is ",
                type, ", want float32, float16 or bfloat16");
    return type == torch::kFloat  ? Element::float32
           : type == torch::kHalf ? Element::float16
                                  : Element::bfloat16;
}

inline void check_place(Kernels const& k, torch::Tensor const& x) {
    TORCH_CHECK(serves(&k, x), "qat::cuda: x is on ", x.device(), ", want a tensor on ",
                k.emulated ? "the CPU" : "a CUDA device");
}

inline torch::Tensor dense(torch::Tensor const& x) {
    return x.is_non_overlapping_and_dense() ? x : x.contiguous();
}

// How the channels along an axis lie in the memory of a dense tensor.
struct Channels {
    std::int64_t count = 1, inner = 1;
};
inline Channels channels(torch::Tensor const& x, std::int64_t axis) {
    if (axis < 0) return {};
    TORCH_CHECK(axis < x.dim(), "qat::cuda: the channels are along axis ", axis, ", and x has ", x.dim(),
                " axes");
    // stride() of an axis with one entry is arbitrary
    return {x.size(axis), x.size(axis) > 1 ? x.stride(axis) : std::max<std::int64_t>(1, x.numel())};
}

inline GridPointers pointers(torch::Tensor const& x, torch::Tensor const& scale,
                             torch::Tensor const& zero_point, Levels levels, std::int64_t axis) {
    auto const c = channels(x, axis);
    TORCH_CHECK(scale.device() == x.device() && scale.scalar_type() == torch::kFloat &&
                    scale.is_contiguous() && scale.numel() == c.count,
                "qat::cuda: the scale is ", scale.toString(), " of ", scale.numel(), " elements, want ",
                c.count, " of float32, contiguous and on x's device");
    TORCH_CHECK(zero_point.device() == x.device() && zero_point.scalar_type() == torch::kInt &&
                    zero_point.is_contiguous() && zero_point.numel() == c.count,
                "qat::cuda: the zero point is ", zero_point.toString(), " of ", zero_point.numel(),
                " elements, want ", c.count, " of int32, contiguous and on x's device");
    TORCH_CHECK(levels.lo <= levels.hi && levels.hi - levels.lo <= 65535, "qat::cuda: the codes are [",
                levels.lo, ", ", levels.hi, "], want at most 16 bits");
    return {
        scale.data_ptr<float>(), zero_point.data_ptr<std::int32_t>(), levels.lo, levels.hi, c.count, c.inner};
}

// A tensor of its own in x's memory, so that autograd does not take it for x.
inline torch::Tensor over(torch::Tensor const& x) {
    auto y = torch::empty({0}, x.options());
    return y.set_(x.storage(), x.storage_offset(), x.sizes(), x.strides());
}
}  // namespace detail

/// The extremes of act(x), or of every channel of x. One pass, nothing else written.                [] or [C] each
inline RangeTensors extremes(Kernels const& k, torch::Tensor const& x, ActivationKind activation,
                             std::int64_t axis = -1) {
    torch::NoGradGuard no_grad;
    detail::check_place(k, x);
    TORCH_CHECK(axis < 0 || activation == ActivationKind::identity,
                "qat::cuda: the range of a channel has no activation; apply the activation before");
    auto const in = detail::dense(x.detach());
    auto const c = detail::channels(in, axis);
    auto const shape = axis < 0 ? std::vector<std::int64_t>{} : std::vector<std::int64_t>{c.count};
    auto const options = in.options().dtype(torch::kFloat);
    RangeTensors const result{torch::empty(shape, options), torch::empty(shape, options)};
    k.extremes({.activation = activation,
                .x = in.data_ptr(),
                .min = result.min.data_ptr<float>(),
                .max = result.max.data_ptr<float>(),
                .count = in.numel(),
                .channels = c.count,
                .inner = c.inner,
                .type = detail::element(in),
                .device = in.device().index()});
    return result;
}

/// One pass, no autograd. want_passes: else passes is undefined; uint8, element 8 b + k of memory is bit k of byte b,
/// [(numel + 7) / 8].
/// requires x float32, float16 or bfloat16 on the kernels' device, any strides; scale float32 and zero_point int32, one
/// element or one a channel. throws c10::Error if a requirement is broken.
inline Forward forward(Kernels const& k, torch::Tensor const& x, torch::Tensor const& scale,
                       torch::Tensor const& zero_point, KernelPlan plan, Request const& request,
                       bool want_passes) {
    torch::NoGradGuard no_grad;
    detail::check_place(k, x);
    auto const type = detail::element(x);
    auto const in = detail::dense(x.detach());
    auto const grid = detail::pointers(in, scale, zero_point, plan.levels, plan.axis);
    TORCH_CHECK(
        plan.axis < 0 || plan.activation == ActivationKind::identity,
        "qat::cuda: an activation and one grid a channel do not go together; apply the activation before");
    TORCH_CHECK(!request.codes || plan.levels.hi - plan.levels.lo <= 255, "qat::cuda: codes of ",
                plan.levels.hi - plan.levels.lo + 1, " levels do not fit a byte; want 256 levels at most");
    auto const options = in.options();
    Forward result;
    // A copy that was made for this call may be overwritten as well.
    bool const in_place = type == Element::float32 && (request.reuse || !in.is_alias_of(x));
    result.y = in_place ? detail::over(in) : torch::empty_like(in, options.dtype(torch::kFloat));
    auto const bytes = options.dtype(torch::kByte);
    if (want_passes) result.passes = torch::empty({(in.numel() + 7) / 8}, bytes);
    if (request.codes) result.codes = torch::empty_like(in, bytes);
    bool const sees = request.seen && plan.axis < 0;
    if (request.seen && !sees) *request.seen = extremes(k, in, ActivationKind::identity, plan.axis);
    if (sees) {
        *request.seen = {torch::empty({}, options.dtype(torch::kFloat)),
                         torch::empty({}, options.dtype(torch::kFloat))};
    }
    auto const bytes_of = [](torch::Tensor const& t) {
        return t.defined() ? t.data_ptr<std::uint8_t>() : nullptr;
    };
    k.forward({.plan = plan,
               .grid = grid,
               .x = in.data_ptr(),
               .y = result.y.data_ptr<float>(),
               .passes = bytes_of(result.passes),
               .codes = bytes_of(result.codes),
               .min = sees ? request.seen->min.data_ptr<float>() : nullptr,
               .max = sees ? request.seen->max.data_ptr<float>() : nullptr,
               .count = in.numel(),
               .type = type,
               .device = in.device().index()});
    return result;
}

/// dx = bit ? dy : 0, in x's type. strides: of the forward's y, whose memory the bits follow.           dy's shape
inline torch::Tensor backward(Kernels const& k, torch::Tensor const& dy, torch::Tensor const& passes,
                              torch::IntArrayRef strides, torch::ScalarType type) {
    torch::NoGradGuard no_grad;
    detail::check_place(k, dy);
    TORCH_CHECK(passes.device() == dy.device() && passes.scalar_type() == torch::kByte &&
                    passes.is_contiguous() && passes.numel() == (dy.numel() + 7) / 8,
                "qat::cuda: the mask is ", passes.toString(), " of ", passes.numel(), " elements, want ",
                (dy.numel() + 7) / 8, " bytes on the gradient's device");
    auto in = dy.detach();
    if (in.scalar_type() != torch::kFloat || in.strides() != strides)
        in = torch::empty_strided(dy.sizes(), strides, dy.options().dtype(torch::kFloat)).copy_(in);
    auto const dx = torch::empty_strided(dy.sizes(), strides, dy.options().dtype(type));
    k.backward({.dy = in.data_ptr<float>(),
                .passes = passes.data_ptr<std::uint8_t>(),
                .dx = dx.data_ptr(),
                .count = in.numel(),
                .type = detail::element(dx),
                .device = in.device().index()});
    return dx;
}

/// y = s * (code + lo - z): the tensor again that a forward gave these codes.                        codes' shape
inline torch::Tensor decode(Kernels const& k, torch::Tensor const& codes, torch::Tensor const& scale,
                            torch::Tensor const& zero_point, Levels levels, std::int64_t axis = -1) {
    torch::NoGradGuard no_grad;
    detail::check_place(k, codes);
    TORCH_CHECK(codes.scalar_type() == torch::kByte, "qat::cuda: the codes are ", codes.scalar_type(),
                ", want uint8");
    auto const in = detail::dense(codes);
    auto const grid = detail::pointers(in, scale, zero_point, levels, axis);
    auto const y = torch::empty_like(in, in.options().dtype(torch::kFloat));
    k.decode({.grid = grid,
              .codes = in.data_ptr<std::uint8_t>(),
              .y = y.data_ptr<float>(),
              .count = in.numel(),
              .device = in.device().index()});
    return y;
}

/// The backward pass of an estimator that learns its range. clip: where PACT clips, one float32 on x's device; undefined
/// for other estimators. x, dy: float32. The sums are added in a fixed order: equal sizes give equal bits.
inline LearnedGradients learned_backward(Kernels const& k, torch::Tensor const& x, torch::Tensor const& dy,
                                         torch::Tensor const& scale, torch::Tensor const& zero_point,
                                         torch::Tensor const& clip, LearnedKind estimator, KernelPlan plan) {
    torch::NoGradGuard no_grad;
    detail::check_place(k, x);
    TORCH_CHECK(x.scalar_type() == torch::kFloat && dy.scalar_type() == torch::kFloat &&
                    x.sizes() == dy.sizes() && x.device() == dy.device(),
                "qat::cuda: x is ", x.toString(), x.sizes(), " and its gradient ", dy.toString(), dy.sizes(),
                ", want float32, one shape and one device");
    TORCH_CHECK(plan.activation == ActivationKind::identity && plan.rounding != RoundingKind::stochastic,
                "qat::cuda: a learned range wants its activation applied before, and rounding without noise");
    TORCH_CHECK(estimator != LearnedKind::clip || plan.axis < 0,
                "qat::cuda: PACT clips a whole tensor; want one grid a tensor");
    TORCH_CHECK(estimator != LearnedKind::clip || (clip.defined() && clip.device() == x.device() &&
                                                   clip.scalar_type() == torch::kFloat && clip.numel() == 1),
                "qat::cuda: PACT wants where it clips, one float32 on x's device");
    auto const in = detail::dense(x.detach());
    auto gradient = dy.detach();
    if (gradient.strides() != in.strides())
        gradient = torch::empty_strided(in.sizes(), in.strides(), in.options()).copy_(gradient);
    auto const grid = detail::pointers(in, scale, zero_point, plan.levels, plan.axis);
    auto const dx = torch::empty_like(in);
    auto const sums = torch::empty({2, grid.channels}, in.options().dtype(torch::kDouble));
    auto const partial = torch::empty({2 * grid.channels * parts(in.numel(), grid.channels)},
                                      in.options().dtype(torch::kDouble));
    k.learned({.plan = plan,
               .estimator = estimator,
               .grid = grid,
               .clip = estimator == LearnedKind::clip ? clip.data_ptr<float>() : nullptr,
               .x = in.data_ptr<float>(),
               .dy = gradient.data_ptr<float>(),
               .dx = dx.data_ptr<float>(),
               .partial = partial.data_ptr<double>(),
               .sums = sums.data_ptr<double>(),
               .count = in.numel(),
               .device = in.device().index()});
    auto const of = [&](std::int64_t i) { return plan.axis < 0 ? sums[i][0] : sums[i]; };
    return {dx, of(0), of(1)};
}

namespace detail {
// Pointers to grids that are written, and what is wrong with them.
struct Written {
    float* scale;
    std::int32_t* zero_point;
};
inline Written written(torch::Tensor const& scale, torch::Tensor const& zero_point,
                       torch::Tensor const& like) {
    auto const fits = [&](torch::Tensor const& t, torch::ScalarType type) {
        return t.device() == like.device() && t.scalar_type() == type && t.is_contiguous() &&
               t.numel() == like.numel();
    };
    TORCH_CHECK(fits(scale, torch::kFloat) && fits(zero_point, torch::kInt), "qat::cuda: the grids are ",
                scale.toString(), scale.sizes(), " and ", zero_point.toString(), zero_point.sizes(),
                ", want ", like.numel(), " of float32 and of int32, contiguous and on the ranges' device");
    for (auto const& t : {scale, zero_point}) t.unsafeGetTensorImpl()->bump_version();
    return {scale.data_ptr<float>(), zero_point.data_ptr<std::int32_t>()};
}
}  // namespace detail

/// The range takes in what was seen, by the observer's rule; where it is known, scale and zero point become those of the
/// grid that covers it. All [] or [G]; ranges float32, contiguous. throws c10::Error if a requirement is broken.
inline void move(Kernels const& k, FollowRule observer, GridRule rule, Levels levels,
                 RangeTensors const& seen, RangeTensors const& range, torch::Tensor const& scale,
                 torch::Tensor const& zero_point) {
    detail::check_place(k, range.min);
    TORCH_CHECK(seen.min.sizes() == range.min.sizes() && seen.max.sizes() == range.max.sizes(),
                "observe: ranges of shape ", seen.min.sizes(), " for scales of shape ", range.min.sizes(),
                "; give the quantizer as many channels as the tensor has");
    auto const min = seen.min.contiguous(), max = seen.max.contiguous();
    auto const grid = detail::written(scale, zero_point, range.min);
    k.move({.follow = observer,
            .rule = rule,
            .levels = levels,
            .seen_min = min.data_ptr<float>(),
            .seen_max = max.data_ptr<float>(),
            .min = range.min.data_ptr<float>(),
            .max = range.max.data_ptr<float>(),
            .scale = grid.scale,
            .zero_point = grid.zero_point,
            .count = range.min.numel(),
            .device = range.min.device().index()});
    for (auto const& t : {range.min, range.max}) t.unsafeGetTensorImpl()->bump_version();
}

/// The grids of learned parameters, [] or [G] each, float32 and contiguous; offset: undefined where none is learned.
inline void learned_grids(Kernels const& k, ParameterRule rule, torch::Tensor const& parameter,
                          torch::Tensor const& offset, Levels levels, torch::Tensor const& scale,
                          torch::Tensor const& zero_point) {
    detail::check_place(k, parameter);
    auto const grid = detail::written(scale, zero_point, parameter);
    k.learned_grids({.rule = rule,
                     .levels = levels,
                     .parameter = parameter.data_ptr<float>(),
                     .offset = offset.defined() ? offset.data_ptr<float>() : nullptr,
                     .scale = grid.scale,
                     .zero_point = grid.zero_point,
                     .count = parameter.numel(),
                     .device = parameter.device().index()});
}

}  // namespace qat::cuda
