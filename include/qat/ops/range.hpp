#pragma once
// The extremes of a tensor, or of every channel of one. One pass over memory.

#include <qat/torch.hpp>

#include <limits>
#include <tuple>

namespace qat {

struct RangeTensors {
    torch::Tensor min, max;  // [] or [C], float32; +inf and -inf if there is nothing to see
};

/// NaN and infinities are kept: whoever follows a range decides what to do with them.
template <class Scheme> RangeTensors range(torch::Tensor const& tensor) {
    torch::NoGradGuard no_grad;
    auto const x = tensor.detach();
    if (x.numel() == 0) {
        constexpr auto inf = std::numeric_limits<float>::infinity();
        auto const shape = Scheme::per_channel ? std::vector<std::int64_t>{x.size(Scheme::axis)}
                                               : std::vector<std::int64_t>{};
        auto const options = x.options().dtype(torch::kFloat);
        return {torch::full(shape, inf, options), torch::full(shape, -inf, options)};
    }
    torch::Tensor min, max;
    if constexpr (Scheme::per_channel) {
        auto const rows = x.transpose(0, Scheme::axis).flatten(1);  // [C, the rest]
        std::tie(min, max) = torch::aminmax(rows, 1);
    } else {
        std::tie(min, max) = torch::aminmax(x);
    }
    return {min.to(torch::kFloat), max.to(torch::kFloat)};
}

}  // namespace qat
