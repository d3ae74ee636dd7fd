#pragma once
// One scale for every N neighbouring indices along an axis, or for every role a channel plays.

#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

/// N output channels of a weight share a scale, z = 0. The last group may be smaller.
template <int N, int Axis = 0> struct PerGroup {
    using slot = slot::scheme;
    static constexpr std::string_view name = "per group of channels, symmetric";
    static constexpr bool symmetric = true, per_channel = true, grouped = true, roles = false;
    static constexpr int axis = Axis, group_size = N;
    static_assert(Axis >= 0, "qat::PerGroup: an axis counts from 0");
    static_assert(N >= 1, "qat::PerGroup: at least one channel in a group");
};

/// Channels of a tensor [N, C, H, W] that mean the same share a scale, z = 0: of a head's logits, the xy, the wh, the
/// objectness and the classes of each anchor. The module that owns the grid says which channel plays which role.
struct PerRole {
    using slot = slot::scheme;
    static constexpr std::string_view name = "per role of the channels, symmetric";
    static constexpr bool symmetric = true, per_channel = true, grouped = true, roles = true;
    static constexpr int axis = 1, group_size = 0;
};

}  // namespace qat
