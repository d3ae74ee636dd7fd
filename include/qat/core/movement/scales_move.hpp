#pragma once
// When the scale follows the observed range.

#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

/// each_forward: range, then scale, then quantization of the same tensor, as torch.ao.
/// each_step: the scale is constant within a training step and follows between steps (nn::refresh_scales). Grids that
/// several producers share always move so, since they must be one grid within one forward.
enum class Moment { each_forward, each_step };
inline constexpr Moment each_forward = Moment::each_forward, each_step = Moment::each_step;

template <Moment When> struct ScalesMove {
    using slot = slot::movement;
    static constexpr std::string_view name =
        When == each_step ? "scale moves each step" : "scale moves each forward";
    static constexpr Moment when = When;
};

}  // namespace qat
