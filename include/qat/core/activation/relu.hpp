#pragma once
// y = max(x, 0), and the same with a ceiling of 6.

#include <qat/core/host_device.hpp>
#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

/// masks: y is x or a constant, so that the gradient is 1 or 0; value and passes are then the scalar rules, which
/// kernels apply in the same pass as the grid.
struct ReLU {
    using slot = slot::activation;
    static constexpr std::string_view name = "relu";
    static constexpr bool nonnegative = true, masks = true;
    QAT_HOST_DEVICE static constexpr float value(float x) { return x > 0 ? x : 0.0f; }  // NaN gives 0
    QAT_HOST_DEVICE static constexpr bool passes(float x) { return x > 0; }
};

struct ReLU6 {  // y = min(max(x, 0), 6)
    using slot = slot::activation;
    static constexpr std::string_view name = "relu6";
    static constexpr bool nonnegative = true, masks = true;
    QAT_HOST_DEVICE static constexpr float value(float x) { return x > 0 ? (x < 6 ? x : 6.0f) : 0.0f; }
    QAT_HOST_DEVICE static constexpr bool passes(float x) { return x >= 0 && x <= 6; }  // as torch's clamp
};

}  // namespace qat
