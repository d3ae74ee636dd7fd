#pragma once
// Stages whose quantizers are not the body's: Except<"detect", Float>, Except<"backbone.stem", Int<16>>.

#include <qat/core/fixed_string.hpp>
#include <qat/core/quantizer.hpp>
#include <qat/core/slots.hpp>

#include <array>
#include <string_view>

namespace qat {
namespace detail {
template <class... Ds, class... Fs> constexpr bool all_fit(pack<Ds...>, pack<Fs...>) {
    return (... && fits<Fs, Ds...>);
}

template <class... As, class... Bs> pack<As..., Bs...> operator+(pack<As...>, pack<Bs...>);  // declared only
template <fixed_string Stage, class... Es>
using covering_of = decltype((pack<>{} + ... + typename Es::template covering<Stage>{}));

// A quantizer with exceptions, one after the other.
template <class Q, class Exceptions> struct applied { using type = Q; };
template <class Q, class E, class... Es>
struct applied<Q, pack<E, Es...>> : applied<typename E::template apply<Q>, pack<Es...>> {};
}  // namespace detail

/// In the stage of this name, and in all below it ("backbone" means every "backbone.…"), the weights' and the outputs'
/// quantizers are the body's, or the head policy's, with these fragments in place of theirs. The network checks that the
/// stage exists.
template <fixed_string Stage, class... Fragments> struct Except {
    using slot = slot::exceptions;
    static constexpr std::string_view name = Stage.view();
    static constexpr std::array<std::string_view, 1> stages{Stage.view()};
    static constexpr bool covers(std::string_view stage) {
        return stage.starts_with(name) && (stage.size() == name.size() || stage[name.size()] == '.');
    }
    static constexpr bool valid =
        detail::all_fit(QuantizerKind::defaults{}, pack<Fragments...>{});  // else the experiment says so
    template <class Q> using apply = typename Q::template vary<Fragments...>;

    /// Those that cover a stage, as a pack.
    template <fixed_string Name>
    using covering = std::conditional_t<valid && covers(Name.view()), pack<Except>, pack<>>;

    /// Of a network's arithmetic: that of the stage, and whether a quantizer of it does What (What::of<Q>).
    template <class A> using stage_of = typename A::template at<Stage>;
    template <class A> struct complete {
        static_assert(sizeof(stage_of<A>) > 0);
    };  // the stage's rules have spoken
    template <class What, class A> static constexpr bool weights() {
        return What::template of<typename stage_of<A>::weights>;
    }
    template <class What, class A> static constexpr bool outputs() {
        return What::template of<typename stage_of<A>::outputs>;
    }
};

/// Several, applied one after the other.
template <class... Es> struct Exceptions {
    using slot = slot::exceptions;
    static constexpr std::string_view name = sizeof...(Es) == 0 ? "none" : "several";
    static constexpr std::array<std::string_view, sizeof...(Es)> stages{Es::name...};
    static constexpr bool valid = (... && Es::valid);
    template <fixed_string Name> using covering = detail::covering_of<Name, Es...>;
    template <class A> struct complete {
        static_assert((... && (sizeof(typename Es::template stage_of<A>) > 0)));
    };
    template <class What, class A> static constexpr bool weights() {
        return (... || Es::template weights<What, A>());
    }
    template <class What, class A> static constexpr bool outputs() {
        return (... || Es::template outputs<What, A>());
    }
};
using NoExceptions = Exceptions<>;

}  // namespace qat
