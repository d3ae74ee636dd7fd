#pragma once
// One scale for the whole tensor.

#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct PerTensorAffine {  // with a zero point
    using slot = slot::scheme;
    static constexpr std::string_view name = "per-tensor affine";
    static constexpr bool symmetric = false, per_channel = false, grouped = false, roles = false;
    static constexpr int axis = 0;
};

struct PerTensorSymmetric {  // z = 0
    using slot = slot::scheme;
    static constexpr std::string_view name = "per-tensor symmetric";
    static constexpr bool symmetric = true, per_channel = false, grouped = false, roles = false;
    static constexpr int axis = 0;
};

}  // namespace qat
