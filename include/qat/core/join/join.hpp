#pragma once
// Where branches meet, in an addition or a concatenation.

#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

/// The range of a grid that several results share. whole: the union of theirs. largest: the widest of them. result: that
/// of the join's own result (with AlignAll), as an integer adder that clips its inputs to what comes out.
enum class SharedRange { whole, largest, result };

struct Unaligned {  // every branch on its own grid; the result gets one, too
    using slot = slot::join;
    static constexpr std::string_view name = "unaligned";
    static constexpr bool aligned = false, with_result = false;
    static constexpr SharedRange range = SharedRange::whole;
};

/// All branches share one grid; a concatenation keeps it, an addition's result has its own.
template <SharedRange Range = SharedRange::whole> struct AlignInputsTo {
    using slot = slot::join;
    static constexpr std::string_view name =
        Range == SharedRange::largest ? "aligned inputs, largest range" : "aligned inputs";
    static constexpr bool aligned = true, with_result = false;
    static constexpr SharedRange range = Range;
    static_assert(Range != SharedRange::result,
                  "qat::AlignInputsTo: only the inputs share a grid, so its range cannot be "
                  "the result's; use AlignAllTo<SharedRange::result>");
};
using AlignInputs = AlignInputsTo<>;

/// An addition's result shares its inputs' grid, too.
template <SharedRange Range = SharedRange::whole> struct AlignAllTo {
    using slot = slot::join;
    static constexpr std::string_view name =
        Range == SharedRange::largest  ? "aligned inputs and results, largest range"
        : Range == SharedRange::result ? "aligned inputs and results, the result's range"
                                       : "aligned inputs and results";
    static constexpr bool aligned = true, with_result = true;
    static constexpr SharedRange range = Range;
};
using AlignAll = AlignAllTo<>;

}  // namespace qat
