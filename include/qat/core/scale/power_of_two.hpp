#pragma once
// s = 2^k / (hi + 1): multiplying by it is a shift, and products of two such scales are exact.

#include <qat/core/arithmetic.hpp>
#include <qat/core/slots.hpp>

#include <string_view>
#include <type_traits>

namespace qat {

/// How the exponent is found where the range alone does not decide it.
enum class Search { least_error, mode };
inline constexpr Search LeastError = Search::least_error, Mode = Search::mode;

/// Ceil, Nearest, Floor: k = log2 max|x| rounded up, to the nearest (in the logarithm), or down.
///     Up covers the range but for its last step; the others clip. Source: the reference study's pow2_scale (Ceil).
/// LeastError: of `candidates` exponents, from one above Ceil's downwards, the one whose grid has the least squared error
///     on what was observed. Finer grids contain coarser ones, so nothing above the first can be better.
/// Mode: the exponent that Ceil chose most often over the steps so far; the one in use stays until another has strictly
///     more votes. A moving average next to a power of two makes Ceil swing between two exponents; this does not.
template <auto Way = Ceil> struct PowerOfTwo {
    using slot = slot::scale;
    static constexpr bool power_of_two = true;
    static constexpr bool searches = [] {
        if constexpr (std::is_same_v<decltype(Way), Search>) return Way == LeastError;
        return false;
    }();
    static constexpr bool votes = [] {
        if constexpr (std::is_same_v<decltype(Way), Search>) return Way == Mode;
        return false;
    }();
    static constexpr Toward way = [] {  // from a range, where there is nothing else
        if constexpr (std::is_same_v<decltype(Way), Toward>) return Way;
        return Ceil;
    }();
    static constexpr int candidates = 8;
    static constexpr std::string_view name = searches                 ? "power of two, least squared error"
                                             : votes                  ? "power of two, chosen most often"
                                             : way == Toward::up      ? "power of two, rounded up"
                                             : way == Toward::nearest ? "power of two, nearest"
                                                                      : "power of two, rounded down";
    static_assert(std::is_same_v<decltype(Way), Toward> || std::is_same_v<decltype(Way), Search>,
                  "qat::PowerOfTwo: use Ceil, Nearest, Floor, LeastError or Mode");
};

}  // namespace qat
