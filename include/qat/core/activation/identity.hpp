#pragma once
// y = x: of additions, concatenations, inputs and heads.

#include <qat/core/host_device.hpp>
#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct Identity {
    using slot = slot::activation;
    static constexpr std::string_view name = "identity";
    static constexpr bool nonnegative = false, masks = true;
    QAT_HOST_DEVICE static constexpr float value(float x) { return x; }
    QAT_HOST_DEVICE static constexpr bool passes(float) { return true; }
};

}  // namespace qat
