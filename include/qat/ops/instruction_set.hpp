#pragma once
// One loop, compiled for several instruction sets; the processor decides at run time. Programs built for plain x86-64
// use wide vectors where the machine has them, and give the same bits everywhere: no loop that quantizes has a rounded
// product that a fused multiply-add could join with a sum. (Sums of squared errors, which choose among grids, do.)

namespace qat::detail {

enum class InstructionSet { baseline, avx2, avx512 };  // baseline: what the compiler was told

// A kernel is a class with a static function run(), [[gnu::always_inline]]. Arguments travel by value, in
// registers: what a vector loop reads through a reference would have to be read again after every store.
#if defined(__GNUC__) && defined(__x86_64__)
template <class Kernel, class... Args> [[gnu::target("avx2")]] auto run_with_avx2(Args... args) {
    return Kernel::run(args...);
}
template <class Kernel, class... Args>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] auto run_with_avx512(Args... args) {
    return Kernel::run(args...);
}
inline bool available(InstructionSet set) {
    switch (set) {
    case InstructionSet::avx512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    case InstructionSet::avx2:
        return __builtin_cpu_supports("avx2");
    default:
        return true;
    }
}
#else
template <class Kernel, class... Args> auto run_with_avx2(Args... args) { return Kernel::run(args...); }
template <class Kernel, class... Args> auto run_with_avx512(Args... args) { return Kernel::run(args...); }
inline bool available(InstructionSet set) { return set == InstructionSet::baseline; }
#endif
template <class Kernel, class... Args> auto run_with_baseline(Args... args) { return Kernel::run(args...); }

inline InstructionSet best_instruction_set() {
    static InstructionSet const best = available(InstructionSet::avx512) ? InstructionSet::avx512
                                       : available(InstructionSet::avx2) ? InstructionSet::avx2
                                                                         : InstructionSet::baseline;
    return best;
}

/// Kernel::run(args...), compiled for that instruction set. requires available(set).
template <class Kernel, class... Args> auto run_with(InstructionSet set, Args... args) {
    switch (set) {
    case InstructionSet::avx512:
        return run_with_avx512<Kernel>(args...);
    case InstructionSet::avx2:
        return run_with_avx2<Kernel>(args...);
    default:
        return run_with_baseline<Kernel>(args...);
    }
}

}  // namespace qat::detail
