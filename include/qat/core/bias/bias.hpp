#pragma once
// What the bias of a quantized convolution may be.

#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct FloatBias {
    using slot = slot::bias;
    static constexpr std::string_view name = "float";
    static constexpr bool on_accumulator = false;
};

/// int32 on the accumulator's grid, scale = the input's x the weight's, of every channel: what an integer engine adds,
/// so that it can be bit-exact. Where the weights or the input are float (Except), the bias stays float. Straight-through
/// gradient. Jacob et al. 2018, arXiv:1712.05877, section 2.4.
struct AccumulatorBias {
    using slot = slot::bias;
    static constexpr std::string_view name = "int32, on the accumulator's grid";
    static constexpr bool on_accumulator = true;
};

}  // namespace qat
