#pragma once
// The last 1x1 convolutions: which quantizers they get, given those of the body.

#include <qat/core/quantizer.hpp>
#include <qat/core/scheme/per_group.hpp>

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

struct HeadWeightsOnly {  // the logits stay in the accumulator
    using slot = slot::head;
    static constexpr std::string_view name = "weights only";
    static constexpr bool valid = true;
    template <class BodyWeights, class BodyOutputs> using weights = BodyWeights;
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

namespace detail {
// The body's quantizer of outputs for numbers with a sign; Float stays Float.
template <class Q, class... Fragments> constexpr auto signed_with() {
    if constexpr (!Q::format::quantized)
        return static_cast<Q*>(nullptr);
    else
        return static_cast<typename Q::template vary<Fragments...>*>(nullptr);
}
template <class Q, class... Fragments>
using signed_quantizer = std::remove_pointer_t<decltype(signed_with<Q, Fragments...>())>;

// Signed, of so many bits, narrow where the body's format is.
template <class Format> constexpr Range range_of() {
    if constexpr (requires { Format::range; }) return Format::range;
    return Range::full;
}
template <class Format, int Bits> using signed_format = Int<Bits, range_of<Format>()>;
}  // namespace detail

/// Outputs in 16 bits, otherwise as the body's.
struct HeadInt16 {
    using slot = slot::head;
    static constexpr std::string_view name = "outputs in 16 bits";
    static constexpr bool valid = true, varies_outputs = true;
    template <class BodyWeights, class BodyOutputs> using weights = BodyWeights;
    template <class BodyWeights, class BodyOutputs>
    using outputs =
        detail::signed_quantizer<BodyOutputs, detail::signed_format<typename BodyOutputs::format, 16>>;
};

/// The xy, the wh, the objectness and the classes of each anchor get a grid of their own, otherwise as the body's or with
/// the given fragments. Equals splitting each convolution by role. In one grid the long negative tail of the
/// objectness makes the step of the boxes too coarse.
template <class... Fragments> struct HeadPerRole {
    using slot = slot::head;
    static constexpr std::string_view name = "outputs by role";
    static constexpr bool valid = true, varies_outputs = true;
    template <class BodyWeights, class BodyOutputs> using weights = BodyWeights;
    template <class BodyWeights, class BodyOutputs>
    using outputs = detail::signed_quantizer<
        detail::signed_quantizer<
            BodyOutputs,
            detail::signed_format<typename BodyOutputs::format,
                                  BodyOutputs::format::bits <= 16 ? BodyOutputs::format::bits : 8>,
            PerRole>,
        Fragments...>;
};

}  // namespace qat
