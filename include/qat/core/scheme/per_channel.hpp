#pragma once
// One scale for every index along an axis: of weights, for which axis 0 is the output channel.

#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

template <int Axis = 0> struct PerChannelAffine {  // with zero points
    using slot = slot::scheme;
    static constexpr std::string_view name = "per-channel affine";
    static constexpr bool symmetric = false, per_channel = true, grouped = false, roles = false;
    static constexpr int axis = Axis;
    static_assert(Axis >= 0, "qat::PerChannel: an axis counts from 0");
};

template <int Axis = 0> struct PerChannelSymmetric {  // z = 0
    using slot = slot::scheme;
    static constexpr std::string_view name = "per-channel symmetric";
    static constexpr bool symmetric = true, per_channel = true, grouped = false, roles = false;
    static constexpr int axis = Axis;
    static_assert(Axis >= 0, "qat::PerChannel: an axis counts from 0");
};

}  // namespace qat
