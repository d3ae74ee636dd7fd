#pragma once
// From a plan to the kernel that does it: every combination of policies and types is instantiated here. How a kernel is
// launched is a parameter, because tests run the same kernels on the CPU.

#include <qat/ops/cuda/learned.cuh>
#include <qat/ops/cuda/move.cuh>
#include <qat/ops/cuda/quantize.cuh>

namespace qat::cuda {

template <class T> struct Of { using type = T; };

// f(Of<T>{}) for the type that the value names.
template <class F> void with_element(Element e, F&& f) {
    switch (e) {
    case Element::float32:
        return f(Of<float>{});
    case Element::float16:
        return f(Of<c10::Half>{});
    case Element::bfloat16:
        return f(Of<c10::BFloat16>{});
    }
}
template <class F> void with_activation(ActivationKind a, F&& f) {
    switch (a) {
    case ActivationKind::identity:
        return f(Of<Identity>{});
    case ActivationKind::relu:
        return f(Of<ReLU>{});
    case ActivationKind::relu6:
        return f(Of<ReLU6>{});
    }
}
template <class F> void with_rounding(RoundingKind r, F&& f) {
    switch (r) {
    case RoundingKind::half_even:
        return f(Of<HalfEven>{});
    case RoundingKind::half_away_from_zero:
        return f(Of<HalfAwayFromZero>{});
    case RoundingKind::half_up:
        return f(Of<HalfUp>{});
    case RoundingKind::down:
        return f(Of<RoundDown>{});
    case RoundingKind::stochastic:
        return f(Of<Stochastic>{});
    }
}

// Blocks for `count` elements in groups: enough to fill a device several times over; each then takes several groups.
inline unsigned blocks_for(std::int64_t count) {
    auto const wanted = (count + threads * group - 1) / (threads * group);
    return static_cast<unsigned>(wanted < 1 ? 1 : wanted > 4096 ? 4096 : wanted);
}
inline unsigned blocks_of_threads(std::int64_t count) {
    return static_cast<unsigned>((count + threads - 1) / threads);
}

/// Launch is made from a device and calls kernel(arguments) for grid x block threads:
///     launch(x_blocks, y_blocks, kernel, arguments...)
template <class Launch> struct Dispatch {
    static void forward(ForwardArguments const& a) {
        Launch const launch(a.device);
        if (a.min) launch(1, 1, clear_extremes<float>, a.min, a.max, std::int64_t{1});
        if (a.count == 0) return;
        auto const blocks = blocks_for(a.count);
        with_element(a.type, [&]<class T>(Of<T>) {
            with_rounding(a.plan.rounding, [&]<class R>(Of<R>) {
                if (a.grid.channels != 1) return launch(blocks, 1, forward_kernel<Identity, R, T, true>, a);
                with_activation(a.plan.activation, [&]<class A>(Of<A>) {
                    launch(blocks, 1, forward_kernel<A, R, T, false>, a);
                });
            });
        });
    }

    static void backward(BackwardArguments const& a) {
        if (a.count == 0) return;
        Launch const launch(a.device);
        with_element(a.type, [&]<class T>(Of<T>) { launch(blocks_for(a.count), 1, backward_kernel<T>, a); });
    }

    static void extremes(ExtremesArguments const& a) {
        if (a.channels == 0) return;
        Launch const launch(a.device);
        launch(blocks_of_threads(a.channels), 1, clear_extremes<float>, a.min, a.max, a.channels);
        if (a.count == 0) return;
        with_element(a.type, [&]<class T>(Of<T>) {
            if (a.channels != 1)
                return launch(static_cast<unsigned>(a.channels),
                              static_cast<unsigned>(parts(a.count, a.channels)), channel_extremes_kernel<T>,
                              a);
            with_activation(a.activation, [&]<class A>(Of<A>) {
                launch(blocks_for(a.count), 1, extremes_kernel<A, T>, a);
            });
        });
    }

    static void decode(DecodeArguments const& a) {
        if (a.count == 0) return;
        Launch const launch(a.device);
        if (a.grid.channels != 1)
            launch(blocks_for(a.count), 1, decode_kernel<true>, a);
        else
            launch(blocks_for(a.count), 1, decode_kernel<false>, a);
    }

    static void learned(LearnedArguments const& a) {
        if (a.grid.channels == 0) return;
        Launch const launch(a.device);
        auto const channels = static_cast<unsigned>(a.grid.channels);
        auto const p = parts(a.count, a.grid.channels);
        auto const start = [&]<class E>(Of<E>) {
            with_rounding(a.plan.rounding, [&]<class R>(Of<R>) {
                if constexpr (!R::stochastic)
                    launch(channels, static_cast<unsigned>(p), learned_kernel<E, R>, a);
            });
        };
        switch (a.estimator) {
        case LearnedKind::step:
            start(Of<LearnedStep>{});
            break;
        case LearnedKind::log2_threshold:
            start(Of<TrainedThreshold>{});
            break;
        case LearnedKind::clip:  // no slope of PACT's depends on the rounding
            launch(channels, static_cast<unsigned>(p), learned_kernel<PACT, HalfEven>, a);
        }
        launch(channels, 1, finish_sums<double>, static_cast<double const*>(a.partial), p, a.grid.channels,
               a.sums);
    }

    static void move(MoveArguments const& a) {
        if (a.count == 0) return;
        Launch const launch(a.device);
        launch(blocks_of_threads(a.count), 1, move_kernel<MoveArguments>, a);
    }

    static void learned_grids(LearnedGridArguments const& a) {
        if (a.count == 0) return;
        Launch const launch(a.device);
        launch(blocks_of_threads(a.count), 1, learned_grids_kernel<LearnedGridArguments>, a);
    }

    static constexpr Kernels table{forward, backward, extremes, decode, learned, move, learned_grids};
};

}  // namespace qat::cuda
