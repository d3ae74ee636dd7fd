#pragma once
// Activation, range, fake quantization, gradient mask and codes of a tensor on a device, in one pass over memory, without
// waiting for the device: scales and zero points stay there. The kernels of qat::cuda where the program has them, else
// torch's operators (device_fallback.hpp): the same values either way.
//     y = s * clamp(round(act(x) / s), lo - z, hi - z) ;  dy/dx = 1 where act passes and the code was inside, else 0

#include <qat/core/estimator/learned_step.hpp>
#include <qat/core/estimator/pact.hpp>
#include <qat/core/estimator/trained_threshold.hpp>
#include <qat/core/quantizer.hpp>
#include <qat/ops/cuda/plan.hpp>
#include <qat/ops/cuda/request.hpp>
#include <qat/ops/device_fallback.hpp>

#include <optional>

namespace qat::cuda {

/// The kernels' names of policies; nothing for policies that they do not know.
template <class A> constexpr std::optional<ActivationKind> activation_kind() {
    if (std::is_same_v<A, Identity>) return ActivationKind::identity;
    if (std::is_same_v<A, ReLU>) return ActivationKind::relu;
    if (std::is_same_v<A, ReLU6>) return ActivationKind::relu6;
    return std::nullopt;
}
template <class R> constexpr std::optional<RoundingKind> rounding_kind() {
    if (std::is_same_v<R, HalfEven>) return RoundingKind::half_even;
    if (std::is_same_v<R, HalfAwayFromZero>) return RoundingKind::half_away_from_zero;
    if (std::is_same_v<R, HalfUp>) return RoundingKind::half_up;
    if (std::is_same_v<R, RoundDown>) return RoundingKind::down;
    if (std::is_same_v<R, Stochastic>) return RoundingKind::stochastic;
    return std::nullopt;
}

template <class E> constexpr std::optional<LearnedKind> learned_kind() {
    if (std::is_same_v<E, LearnedStep> || std::is_same_v<E, LearnedStepAndOffset>) return LearnedKind::step;
    if (std::is_same_v<E, TrainedThreshold>) return LearnedKind::log2_threshold;
    if (std::is_same_v<E, PACT>) return LearnedKind::clip;
    return std::nullopt;
}

/// requires policies that the kernels know.
template <class Activation, class Spec>
constexpr KernelPlan plan(Levels levels, Request const& request = {}) {
    using R = typename Spec::rounding;
    bool const without_noise = R::stochastic && !request.noise;
    return {.activation = *activation_kind<Activation>(),
            .rounding = without_noise ? RoundingKind::half_even : *rounding_kind<R>(),
            .passes_outside = Spec::estimator::passes_outside,
            .levels = levels,
            .axis = Spec::scheme::per_channel ? Spec::scheme::axis : -1,
            .seed = request.seed};
}

/// Whether these kernels can take x.
inline bool serves(Kernels const* k, torch::Tensor const& x) {
    return k != nullptr && (k->emulated ? x.is_cpu() : x.is_cuda());
}

/// Whether they can take x on the way of an estimator that learns its range.
template <class Spec> bool serves_learned(Kernels const* k, torch::Tensor const& x) {
    using R = typename Spec::rounding;
    constexpr auto kind = learned_kind<typename Spec::estimator>();
    constexpr bool known = kind.has_value() && rounding_kind<R>().has_value() && !R::stochastic;
    return known && !(Spec::scheme::per_channel && kind == LearnedKind::clip) && serves(k, x);
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

struct Forward {
    torch::Tensor y;  // float32                                                       x's shape and layout
    torch::Tensor passes;  // uint8: element 8 b + k of y's memory is bit k of byte b       [(numel + 7) / 8]
    torch::Tensor
        codes;  // uint8                                                         y's shape and layout
};

/// One pass, no autograd. want_passes: else passes is undefined.
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

struct QuantizeFunction : torch::autograd::Function<QuantizeFunction> {
    static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                  torch::Tensor const& x, torch::Tensor const& scale,
                                                  torch::Tensor const& zero_point, Kernels const* k,
                                                  KernelPlan plan, Request request) {
        bool const all_pass = plan.passes_outside && plan.activation == ActivationKind::identity;
        auto result = cuda::forward(*k, x, scale, zero_point, plan, request, !all_pass);
        context->saved_data["kernels"] = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(k));
        context->saved_data["strides"] = result.y.strides().vec();
        context->saved_data["type"] = static_cast<std::int64_t>(x.scalar_type());
        context->save_for_backward({result.passes});
        if (!request.codes) return {result.y};  // autograd takes no undefined results
        context->mark_non_differentiable({result.codes});
        return {result.y, result.codes};
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   torch::autograd::variable_list const& gradients) {
        auto const passes = context->get_saved_variables()[0];
        auto const type = static_cast<torch::ScalarType>(context->saved_data["type"].toInt());
        auto const* k = reinterpret_cast<Kernels const*>(
            static_cast<std::intptr_t>(context->saved_data["kernels"].toInt()));
        auto const strides = context->saved_data["strides"].toIntVector();
        auto const dx = passes.defined() ? cuda::backward(*k, gradients[0], passes, strides, type)
                                         : gradients[0].to(type);
        return {dx, {}, {}, {}, {}, {}};
    }
};
}  // namespace detail

/// forward with the straight-through gradient.
inline Quantized activate_and_quantize(Kernels const& k, torch::Tensor const& x, torch::Tensor const& scale,
                                       torch::Tensor const& zero_point, KernelPlan plan,
                                       Request const& request) {
    if (torch::GradMode::is_enabled() && x.requires_grad()) {
        auto const result = detail::QuantizeFunction::apply(x, scale, zero_point, &k, plan, request);
        return {result[0], request.codes ? result[1] : torch::Tensor()};
    }
    auto const result = forward(k, x, scale, zero_point, plan, request, false);
    return {result.y, result.codes};
}

/// For a tensor that is not on the CPU; k: the kernels to use, null for torch's operators.
/// Activations that kernels and operators do not know are applied before, by activate(): SiLU, and a user's own.
template <class Activation, QuantizerSpec Spec>
Quantized activate_and_quantize(torch::Tensor const& x, GridTensors const& grid, Levels levels,
                                Request const& request = {}, Kernels const* k = kernels()) {
    using R = typename Spec::rounding;
    if constexpr (!fallback::fuses<Activation>) {
        return activate_and_quantize<Identity, Spec>(activate(Activation{}, x), grid, levels, request, k);
    } else {
        // Kernels have no activation for grids by channel: only weights have such grids.
        if constexpr (rounding_kind<R>() &&
                      (!Spec::scheme::per_channel || std::is_same_v<Activation, Identity>)) {
            if (serves(k, x))
                return activate_and_quantize(*k, x, grid.scale, grid.zero_point,
                                             plan<Activation, Spec>(levels, request), request);
        }
        return fallback::activate_and_quantize<Activation, Spec>(x, grid, levels, request);
    }
}

/// The extremes of act(x), for a tensor that is not on the CPU. NaN if there is one.                [] or [C] each
template <class Activation, class Scheme>
RangeTensors activated_range(torch::Tensor const& x, Kernels const* k = kernels()) {
    torch::NoGradGuard no_grad;
    if constexpr (!fallback::fuses<Activation>) {
        return activated_range<Identity, Scheme>(activate(Activation{}, x), k);
    } else {
        bool const served = k != nullptr && (k->emulated ? x.is_cpu() : x.is_cuda());
        if constexpr (!Scheme::per_channel || std::is_same_v<Activation, Identity>) {
            if (served)
                return extremes(*k, x, *activation_kind<Activation>(),
                                Scheme::per_channel ? Scheme::axis : -1);
        }
        return fallback::activated_range<Activation, Scheme>(x);
    }
}

}  // namespace qat::cuda
