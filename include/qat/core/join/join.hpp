#pragma once
// Where branches meet, in an addition or a concatenation.

#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

struct Unaligned {  // every branch on its own grid; the result gets one, too
    using slot = slot::join;
    static constexpr std::string_view name = "unaligned";
    static constexpr bool aligned = false;
};

struct AlignInputs {  // all branches share one grid; a concatenation keeps it
    using slot = slot::join;
    static constexpr std::string_view name = "aligned inputs";
    static constexpr bool aligned = true;
};

}  // namespace qat
