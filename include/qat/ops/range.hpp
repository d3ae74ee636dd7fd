#pragma once
// The extremes of a tensor, or of every channel of one. One pass over memory, nothing written.

#include <qat/core/activation/identity.hpp>
#include <qat/ops/fused_pass.hpp>
#include <qat/torch.hpp>

#include <limits>
#include <tuple>
#include <vector>

namespace qat {

struct RangeTensors {
    torch::Tensor min, max;  // [] or [C], float32; +inf and -inf if there is nothing to see
};

namespace detail {

/// A number on the CPU. (torch::full would dispatch twice.)
inline torch::Tensor scalar(float value) {
    auto const t = torch::empty({}, torch::kFloat);
    *t.data_ptr<float>() = value;
    return t;
}

inline torch::Tensor dense(torch::Tensor const& x) {
    return x.is_non_overlapping_and_dense() ? x : x.contiguous();
}

/// Of act(x), for x float32 on the CPU.
inline RangeTensors range_of_tensor(torch::Tensor const& tensor, EndsOfBlock ends_of) {
    auto const x = dense(tensor.detach());
    auto const* in = x.data_ptr<float>();
    auto const set = best_instruction_set();
    auto const [min, max] = for_each_block(x.numel(), [&](auto from, auto n, Ends& ends) {
                                ends_of(set, in + from, n, &ends);
                            }).range();
    return {scalar(min), scalar(max)};
}

inline RangeTensors range_of_channels(torch::Tensor const& tensor, std::int64_t axis, EndsOfBlock ends_of) {
    auto const rows = tensor.detach().transpose(0, axis).contiguous();  // [C, the rest]
    auto const channels = rows.size(0), length = channels ? rows.numel() / channels : 0;
    RangeTensors const result{torch::empty({channels}), torch::empty({channels})};
    auto const* in = rows.data_ptr<float>();
    auto *min = result.min.data_ptr<float>(), *max = result.max.data_ptr<float>();
    auto const set = best_instruction_set();
    at::parallel_for(0, channels, std::max<std::int64_t>(1, grain / std::max<std::int64_t>(1, length)),
                     [&](std::int64_t from, std::int64_t to) {
        for (auto c = from; c < to; ++c) {
            Ends ends;
            ends_of(set, in + c * length, length, &ends);
            std::tie(min[c], max[c]) = ends.range();
        }
    });
    return result;
}

/// axis: of the channels; -1: the whole tensor.
inline RangeTensors range_on_cpu(torch::Tensor const& x, std::int64_t axis, EndsOfBlock ends_of) {
    return axis < 0 ? range_of_tensor(x, ends_of) : range_of_channels(x, axis, ends_of);
}

/// As qat::range below.                                                                               [] or [C] each
inline RangeTensors range(torch::Tensor const& tensor, std::int64_t axis) {
    torch::NoGradGuard no_grad;
    auto const x = tensor.detach();
    if (x.is_cpu() && x.scalar_type() == torch::kFloat)
        return range_on_cpu(x, axis, &ends_of_block<Identity>);
    if (x.numel() == 0) {
        constexpr auto inf = std::numeric_limits<float>::infinity();
        auto const shape = axis < 0 ? std::vector<std::int64_t>{} : std::vector<std::int64_t>{x.size(axis)};
        auto const options = x.options().dtype(torch::kFloat);
        return {torch::full(shape, inf, options), torch::full(shape, -inf, options)};
    }
    auto const [min, max] =
        axis < 0 ? torch::aminmax(x) : torch::aminmax(x.transpose(0, axis).flatten(1), 1);  // [C, the rest]
    return {min.to(torch::kFloat), max.to(torch::kFloat)};
}
}  // namespace detail

/// The axis that a scheme's scales are spread along; -1: one scale for the tensor.
template <class Scheme> constexpr std::int64_t axis_of() {
    if constexpr (Scheme::per_channel)
        return Scheme::axis;
    else
        return -1;
}

/// NaN and infinities are kept: whoever follows a range decides what to do with them.                  [] or [C] each
template <class Scheme> RangeTensors range(torch::Tensor const& tensor) {
    return detail::range(tensor, axis_of<Scheme>());
}

}  // namespace qat
