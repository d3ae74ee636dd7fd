#pragma once
// Any positive real number.

#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct AnyScale {
    using slot = slot::scale;
    static constexpr std::string_view name = "any scale";
    static constexpr bool power_of_two = false, searches = false, votes = false;
};

}  // namespace qat
