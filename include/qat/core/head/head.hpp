#pragma once
// The last 1x1 convolutions: which quantizers they get, given those of the body.

#include <qat/core/quantizer.hpp>

namespace qat {

struct HeadAsBody {
    using slot = slot::head;
    static constexpr std::string_view name = "as the body";
    static constexpr bool valid = true;
    template <class BodyWeights, class BodyOutputs> using weights = BodyWeights;
    template <class BodyWeights, class BodyOutputs> using outputs = BodyOutputs;
};

struct HeadFloat {  // neither weights nor outputs are quantized
    using slot = slot::head;
    static constexpr std::string_view name = "float";
    static constexpr bool valid = true;
    template <class BodyWeights, class BodyOutputs> using weights = Quantizer<Float>;
    template <class BodyWeights, class BodyOutputs> using outputs = Quantizer<Float>;
};

/// Outputs on a grid of their own: HeadFixed<Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<>, FixedRange<...>>>.
/// A range of +-8 saturates a sigmoid and gives step 1/16 with 8 bits.
template <class Q> struct HeadFixed {
    using slot = slot::head;
    static constexpr std::string_view name = "outputs on a grid of their own";
    static constexpr bool valid = QuantizerSpec<Q>;  // if not, the experiment says so, once
    template <class BodyWeights, class BodyOutputs> using weights = BodyWeights;
    template <class BodyWeights, class BodyOutputs> using outputs = std::conditional_t<valid, Q, Quantizer<>>;
};

}  // namespace qat
