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
}  // namespace detail

/// In the stage of this name, and in all below it ("backbone" means every "backbone.…"), the weights' and the outputs'
/// quantizers are the body's with these fragments in place of theirs. The network checks that the stage exists.
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
    template <fixed_string Name, class Q> static constexpr auto applied() {
        if constexpr (valid && covers(Name.view()))
            return static_cast<apply<Q>*>(nullptr);
        else
            return static_cast<Q*>(nullptr);
    }
};

/// Several, applied one after the other.
template <class... Es> struct Exceptions {
    using slot = slot::exceptions;
    static constexpr std::string_view name = sizeof...(Es) == 0 ? "none" : "several";
    static constexpr std::array<std::string_view, sizeof...(Es)> stages{Es::name...};
    static constexpr bool valid = (... && Es::valid);
    template <fixed_string Name, class Q> static constexpr auto applied() { return next<Name, Q, Es...>(); }

private:
    template <fixed_string Name, class Q, class... Rest> static constexpr auto next() {
        if constexpr (sizeof...(Rest) == 0)
            return static_cast<Q*>(nullptr);
        else
            return first<Name, Q, Rest...>();
    }
    template <fixed_string Name, class Q, class E, class... Rest> static constexpr auto first() {
        using changed = std::remove_pointer_t<decltype(E::template applied<Name, Q>())>;
        return next<Name, changed, Rest...>();
    }
};
using NoExceptions = Exceptions<>;

}  // namespace qat
