#pragma once
// A range that is known beforehand, whatever the data: [0, 1] of an image, [-8, 8) of logits that saturate there.

#include <qat/core/slots.hpp>

#include <ratio>
#include <string_view>

namespace qat {

/// Lo, Hi: std::ratio, since clang 14 has no floating-point template arguments. FixedRange<std::ratio<-8>, std::ratio<8>>
template <class Lo, class Hi> struct FixedRange {
    using slot = slot::observer;
    static constexpr std::string_view name = "fixed range";
    static constexpr bool fixed = true;
    static constexpr double lo = double(Lo::num) / double(Lo::den), hi = double(Hi::num) / double(Hi::den);
    static_assert(lo < hi, "qat::FixedRange: the lower end is not below the upper; swap them");
};

/// [-R, R] for each role of PerRole, the same for every anchor: of a YOLO head xy, wh, objectness, classes.
/// With power-of-two int8, FixedReaches<std::ratio<4>, std::ratio<4>, std::ratio<16>, std::ratio<16>> has steps 1/32 for
/// boxes and 1/8 for logits.
template <class... Rs> struct FixedReaches {
    using slot = slot::observer;
    static constexpr std::string_view name = "fixed range of each role";
    static constexpr bool fixed = true, of_roles = true;
    static constexpr double reaches[] = {double(Rs::num) / double(Rs::den)...};
    static constexpr int count = sizeof...(Rs);
    static_assert(
        count == 4 && (... && (Rs::num > 0)),
        "qat::FixedReaches: four roles, xy, wh, objectness and classes, and a reach above 0 for each");
};

}  // namespace qat
