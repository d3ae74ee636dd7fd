#pragma once
// How a convolution keeps its input between the forward and the backward pass.

#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct SaveFloats {
    using slot = slot::saves;
    static constexpr std::string_view name = "as floats";
    static constexpr bool codes = false;
};

/// As 8-bit codes: it lies on a grid, so nothing is lost, and the gradients are the same bit for bit in a quarter of the
/// memory. Inputs that carry no codes (formats wider than 8 bits, Float) are kept as floats.
struct SaveCodes {
    using slot = slot::saves;
    static constexpr std::string_view name = "as 8-bit codes";
    static constexpr bool codes = true;
};

}  // namespace qat
