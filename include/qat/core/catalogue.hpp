#pragma once
// Lists of types with Boost.Hana: experiments that are found by name at run time, and products of fragments of which
// only the legal combinations are kept.

#include <qat/core/experiment.hpp>

#include <boost/hana/cartesian_product.hpp>
#include <boost/hana/filter.hpp>
#include <boost/hana/for_each.hpp>
#include <boost/hana/integral_constant.hpp>
#include <boost/hana/transform.hpp>
#include <boost/hana/tuple.hpp>
#include <boost/hana/type.hpp>
#include <boost/hana/unpack.hpp>

#include <stdexcept>
#include <string>

namespace qat {
namespace hana = boost::hana;

/// Experiments, in the order they are listed.
template <ExperimentSpec... Es> inline constexpr auto catalogue = hana::tuple_t<Es...>;

/// "silu, relu, exp2"
template <class Catalogue> std::string names(Catalogue const& experiments) {
    std::string text;
    hana::for_each(experiments, [&](auto e) {
        if (!text.empty()) text += ", ";
        text += decltype(e)::type::name;
    });
    return text;
}

/// Calls f(hana::type<E>) for the experiment of that name. throws std::runtime_error with the known names if there is none.
template <class Catalogue, class F>
void with_experiment(Catalogue const& experiments, std::string_view name, F&& f) {
    bool found = false;
    hana::for_each(experiments, [&](auto e) {
        if (!found && decltype(e)::type::name == name) found = true, f(e);
    });
    if (!found)
        throw std::runtime_error("there is no experiment \"" + std::string(name) + "\"; known are " +
                                 names(experiments));
}

namespace detail {
template <class Fallbacks, class... Fs> struct completed;
template <class... Ds, class... Fs> struct completed<pack<Ds...>, Fs...> {
    using set = PolicySet<QuantizerKind, filler_or<typename Ds::slot, Ds, Fs...>...>;
};
template <class... Fs> constexpr bool legal_quantizer() {
    using set = typename completed<QuantizerKind::defaults, Fs...>::set;
    return QuantizerRules<typename set::template get<slot::format>, typename set::template get<slot::scheme>,
                          typename set::template get<slot::observer>, typename set::template get<slot::scale>,
                          typename set::template get<slot::rounding>,
                          typename set::template get<slot::estimator>>::all;
}
}  // namespace detail

/// Every quantizer that takes one fragment out of each of these lists and obeys the rules between them: a hana::tuple of
/// hana::type. Lists: hana::tuple_t<...>, each of one slot; slots without a list keep their default.
template <class... Lists> constexpr auto legal_quantizers(Lists... lists) {
    auto const products = hana::cartesian_product(hana::make_tuple(lists...));
    auto const legal = hana::filter(products, [](auto fragments) {
        return hana::unpack(fragments, [](auto... f) {
            return hana::bool_c<detail::legal_quantizer<typename decltype(f)::type...>()>;
        });
    });
    return hana::transform(legal, [](auto fragments) {
        return hana::unpack(fragments,
                            [](auto... f) { return hana::type_c<Quantizer<typename decltype(f)::type...>>; });
    });
}

}  // namespace qat
