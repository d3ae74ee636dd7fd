#pragma once
// What a CUDA kernel is told at run time, and the table through which code that nvcc does not compile launches kernels.
// The kernels are templates (*.cuh); fused.cu beside this header instantiates them all and fills the table in. No
// LibTorch here and no CUDA, so that nvcc reads little and a program without CUDA reads this all the same.

#include <qat/core/arithmetic.hpp>
#include <qat/core/estimator/learned_grid.hpp>
#include <qat/core/observer/follow.hpp>

#include <cstdint>

namespace qat::cuda {

enum class ActivationKind : std::uint8_t { identity, relu, relu6 };
enum class RoundingKind : std::uint8_t { half_even, half_away_from_zero, half_up, down, stochastic };
enum class LearnedKind : std::uint8_t { step, log2_threshold, clip };
enum class Element : std::uint8_t { float32, float16, bfloat16 };

/// What is computed.
struct KernelPlan {
    ActivationKind activation = ActivationKind::identity;
    RoundingKind rounding = RoundingKind::half_even;
    bool passes_outside = false;  // the gradient is 1 also where the code was clamped
    Levels levels{-128, 127};
    std::int64_t axis = -1;  // one scale for each index along it; -1: one scale for the tensor
    std::uint64_t seed = 0;  // of stochastic rounding
};

/// Grids in the device's memory: one (channels is 1), or one a channel. Element i of a tensor, counted in the order of
/// memory, has channel i / inner % channels; with inner the stride of the channels' axis that holds for every dense
/// layout.
struct GridPointers {
    float const* scale;              // [channels]
    std::int32_t const* zero_point;  // [channels]
    std::int64_t lo, hi;
    std::int64_t channels, inner;
};

/// y = s * clamp(round(act(x) / s), lo - z, hi - z), and what else is wanted from the same pass. y may be x's memory.
struct ForwardArguments {
    KernelPlan plan;
    GridPointers grid;
    void const* x;  // [count] of type
    float* y;       // [count]
    std::uint8_t*
        passes;  // 1 bit each: dy/dx. Element 8 b + k is bit k of byte b; or null    [(count + 7) / 8]
    std::uint8_t* codes;  // q - lo; or null. requires hi - lo <= 255                         [count]
    float *min, *max;     // of act(x); or null                                               [] each
    std::int64_t count;
    Element type;
    int device;
};

/// dx = bit ? dy : 0. dx may be dy's memory if its type is float32.
struct BackwardArguments {
    float const* dy;             // [count]
    std::uint8_t const* passes;  // [(count + 7) / 8]
    void* dx;                    // [count] of type
    std::int64_t count;
    Element type;
    int device;
};

/// The extremes of act(x), NaN if there is one; +inf and -inf if there is nothing.
struct ExtremesArguments {
    ActivationKind activation;  // identity where channels > 1
    void const* x;              // [count] of type
    float *min, *max;           // [channels] each
    std::int64_t count, channels, inner;
    Element type;
    int device;
};

/// y = s * (code + lo - z)
struct DecodeArguments {
    GridPointers grid;
    std::uint8_t const* codes;  // [count]
    float* y;                   // [count]
    std::int64_t count;
    int device;
};

/// The range takes in what was seen; where it is known, the grid is the one that covers it.       [count] each
struct MoveArguments {
    FollowRule follow;
    GridRule rule;
    Levels levels;
    float const *seen_min, *seen_max;
    float *min, *max;
    float* scale;
    std::int32_t* zero_point;
    std::int64_t count;
    int device;
};

/// The grids of learned parameters.                                                               [count] each
struct LearnedGridArguments {
    ParameterRule rule;
    Levels levels;
    float const *parameter, *offset;  // offset: of a step with one; or null
    float* scale;
    std::int32_t* zero_point;
    std::int64_t count;
    int device;
};

/// The backward pass of an estimator that learns its range: Estimator::slope of every element.
///     dx = slope.input ? dy : 0 ;  sums[0] = sum of dy * slope.parameter ;  sums[1] = sum of dy * slope.offset
struct LearnedArguments {
    KernelPlan plan;  // activation identity, rounding not stochastic
    LearnedKind estimator;
    GridPointers grid;
    float const* clip;  // [1]: where PACT clips; others: null
    float const* x;     // [count]
    float const* dy;    // [count]
    float* dx;          // [count]; or null
    double* partial;    // workspace                                              [2 * channels * parts(...)]
    double* sums;       // [2, channels]
    std::int64_t count;
    int device;
};

/// The blocks whose partial sums make up one channel's. It depends on sizes alone, never on the device: sums are added
/// in the same order everywhere.
constexpr std::int64_t parts(std::int64_t count, std::int64_t channels) {
    auto const wanted = channels > 0 ? count / channels / 8192 : 0;
    auto const most = channels > 1 ? std::int64_t{64} : std::int64_t{1024};
    return wanted < 1 ? 1 : wanted > most ? most : wanted;
}

/// Every function returns at once; the work is queued on the device's current stream.
struct Kernels {
    void (*forward)(ForwardArguments const&);
    void (*backward)(BackwardArguments const&);
    void (*extremes)(ExtremesArguments const&);
    void (*decode)(DecodeArguments const&);
    void (*learned)(LearnedArguments const&);
    void (*move)(MoveArguments const&);
    void (*learned_grids)(LearnedGridArguments const&);
    bool emulated = false;  // tests: the tensors lie in the host's memory
};

/// The kernels of this program; null where qat::cuda is not linked. fused.cu sets it before main.
inline Kernels const*& kernels() {
    static Kernels const* table = nullptr;
    return table;
}

/// Sets kernels(). Only a program needs this that has qat::cuda compiled into a static library: nothing else there
/// refers to fused.cu's object, so the linker would leave it out.
void use_kernels();

}  // namespace qat::cuda
