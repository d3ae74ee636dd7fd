#pragma once
// Fake quantization with the straight-through gradient, per tensor or per channel.
//     y = s * (clamp(round(x / s) + z, lo, hi) - z) ;  dy/dx = 1 where the code was inside before clamping, else 0
// On the CPU: one pass, and one byte saved for each element if there is a gradient. Elsewhere: torch's
// own operators, which compute the same for finite x whose code fits int64.

#include <qat/core/quantizer.hpp>
#include <qat/torch.hpp>

namespace qat {
namespace detail {

inline constexpr std::int64_t grain = 1 << 14;  // elements worth a task of their own

// `count` elements on one grid. inside: where the gradient passes; null if nobody asks for it.
template <class Rounding>
void fake_quantize_run(float const* x, float* y, std::uint8_t* inside, std::int64_t count, float scale,
                       Bounds b) {
    float const inverse = 1.0f / scale;
    if (inside == nullptr) {
#pragma omp simd
        for (std::int64_t i = 0; i < count; ++i)
            y[i] = dequantize(quantize<Rounding>(x[i], inverse, b).value, scale);
        return;
    }
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
        Code const code = quantize<Rounding>(x[i], inverse, b);
        y[i] = dequantize(code.value, scale);
        inside[i] = code.inside;
    }
}

// x: dense; contiguous if the scheme is per channel. y and inside (or none): of the same layout.
template <class Spec>
void fake_quantize_cpu(torch::Tensor const& x, torch::Tensor const& scale, torch::Tensor const& zero_point,
                       torch::Tensor const& y, std::uint8_t* inside) {
    using F = typename Spec::format;
    using R = typename Spec::rounding;
    auto const* in = x.data_ptr<float>();
    auto* out = y.data_ptr<float>();
    auto const* s = scale.data_ptr<float>();
    auto const* z = zero_point.data_ptr<std::int32_t>();
    auto const mask = [inside](std::int64_t at) { return inside ? inside + at : nullptr; };
    if (x.numel() == 0) return;
    if constexpr (!Spec::scheme::per_channel) {
        auto const b = bounds(F::lo, F::hi, *z);
        at::parallel_for(0, x.numel(), grain, [&](std::int64_t from, std::int64_t to) {
            fake_quantize_run<R>(in + from, out + from, mask(from), to - from, *s, b);
        });
    } else {
        auto const channels = x.size(Spec::scheme::axis);
        std::int64_t run = 1;  // elements in a row that share a channel
        for (std::int64_t d = Spec::scheme::axis + 1; d < x.dim(); ++d) run *= x.size(d);
        at::parallel_for(0, x.numel() / run, std::max<std::int64_t>(1, grain / run),
                         [&](std::int64_t from, std::int64_t to) {
            for (auto r = from; r < to; ++r) {
                auto const c = r % channels;
                fake_quantize_run<R>(in + r * run, out + r * run, mask(r * run), run, s[c],
                                     bounds(F::lo, F::hi, z[c]));
            }
        });
    }
}

// dx = inside ? dy : 0
inline torch::Tensor pass_inside(torch::Tensor const& gradient, torch::Tensor const& inside) {
    auto const g = gradient.contiguous(inside.suggest_memory_format());
    if (g.strides() != inside.strides()) return gradient * inside;
    auto const result = torch::empty_like(g);
    auto const* in = g.data_ptr<float>();
    auto const* mask = inside.data_ptr<std::uint8_t>();
    auto* out = result.data_ptr<float>();
    at::parallel_for(0, g.numel(), grain, [&](std::int64_t from, std::int64_t to) {
#pragma omp simd
        for (auto i = from; i < to; ++i) out[i] = mask[i] ? in[i] : 0.0f;
    });
    return result;
}

template <class Spec> torch::Tensor laid_out(torch::Tensor const& x) {
    return Spec::scheme::per_channel || !x.is_non_overlapping_and_dense() ? x.contiguous() : x;
}

template <class Spec> struct FakeQuantizeFunction : torch::autograd::Function<FakeQuantizeFunction<Spec>> {
    static torch::Tensor forward(torch::autograd::AutogradContext* context, torch::Tensor const& input,
                                 torch::Tensor const& scale, torch::Tensor const& zero_point) {
        auto const x = laid_out<Spec>(input);
        auto const y = torch::empty_like(x);
        auto const inside = torch::empty_like(x, x.options().dtype(torch::kByte));
        fake_quantize_cpu<Spec>(x, scale, zero_point, y, inside.template data_ptr<std::uint8_t>());
        context->save_for_backward({inside});
        return y;
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   torch::autograd::variable_list const& gradients) {
        return {pass_inside(gradients[0], context->get_saved_variables()[0]), torch::Tensor(),
                torch::Tensor()};
    }
};

template <class Spec>
torch::Tensor fake_quantize_on_cpu(torch::Tensor const& input, torch::Tensor const& scale,
                                   torch::Tensor const& zero_point) {
    if (torch::GradMode::is_enabled() && input.requires_grad())
        return FakeQuantizeFunction<Spec>::apply(input, scale, zero_point);
    auto const x = laid_out<Spec>(input);
    auto const y = torch::empty_like(x);
    fake_quantize_cpu<Spec>(x, scale, zero_point, y, nullptr);
    return y;
}
}  // namespace detail

/// requires x float32; scale > 0, float32 [] or [C]; zero_point int32 [] or [C]. C: size of the scheme's axis.
/// x on the grid, in x's shape. Any strides. Empty tensors are fine. NaN becomes the lowest value.
template <QuantizerSpec Spec>
torch::Tensor fake_quantize(torch::Tensor const& x, torch::Tensor const& scale,
                            torch::Tensor const& zero_point) {
    using F = typename Spec::format;
    if constexpr (!F::quantized) {
        return x;
    } else {
        TORCH_CHECK(x.scalar_type() == torch::kFloat, "fake_quantize: x is ", x.scalar_type(),
                    ", want float32");
        if (x.is_cpu()) return detail::fake_quantize_on_cpu<Spec>(x, scale, zero_point);
        static_assert(std::is_same_v<typename Spec::rounding, HalfEven>,
                      "torch's operators round half to even");
        if constexpr (Spec::scheme::per_channel)
            return torch::fake_quantize_per_channel_affine(x, scale, zero_point, Spec::scheme::axis, F::lo,
                                                           F::hi);
        else
            return torch::fake_quantize_per_tensor_affine(x, scale, zero_point, F::lo, F::hi);
    }
}

}  // namespace qat
