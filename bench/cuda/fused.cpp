// The fused kernels against a copy of the same tensor on the device. GB/s count what is read and written.

#include <qat/ops/cuda/fused.hpp>

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>

namespace {
using namespace qat;

constexpr int launches = 20;  // between two waits for the device

struct Input {
    torch::Tensor x, dy, scale, zero_point;

    Input(benchmark::State const& state, torch::ScalarType type) {
        auto const options = torch::TensorOptions(torch::kCUDA);
        x = torch::randn({state.range(0)}, options).to(type);
        dy = torch::randn({state.range(0)}, options);
        scale = torch::full({}, 1.0f / 32, options);
        zero_point = torch::zeros({}, options.dtype(torch::kInt));
    }
};

// Time of f() on the device, a batch of launches at a time.
template <class F> void measure(benchmark::State& state, double bytes_per_element, F&& f) {
    f();
    torch::cuda::synchronize();
    for (auto _ : state) {
        auto const start = std::chrono::steady_clock::now();
        for (int i = 0; i < launches; ++i) f();
        torch::cuda::synchronize();
        state.SetIterationTime(
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(
        static_cast<double>(state.iterations() * launches * state.range(0)) * bytes_per_element));
}

void copy(benchmark::State& state) {
    Input const in(state, torch::kFloat);
    auto const y = torch::empty_like(in.x);
    measure(state, 8, [&] { y.copy_(in.x); });
}

enum class Also { nothing, mask, mask_and_range, everything };
template <Also also> void forward(benchmark::State& state, torch::ScalarType type) {
    Input const in(state, type);
    RangeTensors seen;
    cuda::KernelPlan const plan{.activation = cuda::ActivationKind::relu};
    cuda::Request const request{.seen = also >= Also::mask_and_range ? &seen : nullptr,
                                .codes = also == Also::everything};
    double const bytes = static_cast<double>(in.x.element_size()) + 4 + (also >= Also::mask ? 0.125 : 0) +
                         (also == Also::everything ? 1 : 0);
    measure(state, bytes, [&] {
        cuda::forward(*cuda::kernels(), in.x, in.scale, in.zero_point, plan, request, also >= Also::mask);
    });
}
void per_channel(benchmark::State& state) {  // as weights of 1024 inputs
    Input const in(state, torch::kFloat);
    auto const x = in.x.view({-1, 1024});
    auto const scale = torch::full({x.size(0)}, 1.0f / 32, x.options());
    auto const zero_point = torch::zeros({x.size(0)}, x.options().dtype(torch::kInt));
    measure(state, 8.125,
            [&] { cuda::forward(*cuda::kernels(), x, scale, zero_point, {.axis = 0}, {}, true); });
}
void backward(benchmark::State& state) {
    Input const in(state, torch::kFloat);
    auto const passes = cuda::forward(*cuda::kernels(), in.x, in.scale, in.zero_point, {}, {}, true).passes;
    measure(state, 8.125,
            [&] { cuda::backward(*cuda::kernels(), in.dy, passes, in.dy.strides(), torch::kFloat); });
}
void extremes(benchmark::State& state) {
    Input const in(state, torch::kFloat);
    measure(state, 4, [&] { cuda::extremes(*cuda::kernels(), in.x, cuda::ActivationKind::relu); });
}
void decode(benchmark::State& state) {
    Input const in(state, torch::kFloat);
    auto const codes =
        cuda::forward(*cuda::kernels(), in.x, in.scale, in.zero_point, {}, {.codes = true}, false).codes;
    measure(state, 5, [&] { cuda::decode(*cuda::kernels(), codes, in.scale, in.zero_point, {-128, 127}); });
}
void learned_backward(benchmark::State& state) {
    Input const in(state, torch::kFloat);
    measure(state, 12, [&] {
        cuda::learned_backward(*cuda::kernels(), in.x, in.dy, in.scale, in.zero_point, {},
                               cuda::LearnedKind::step, {});
    });
}
void torch_operators(
    benchmark::State& state) {  // what the kernels replace: relu, range, fake quantization, their masks
    Input const in(state, torch::kFloat);
    auto const x = in.x.clone().requires_grad_();
    measure(state, 8.125, [&] {
        auto const act = torch::relu(x);
        benchmark::DoNotOptimize(torch::aminmax(act.detach()));
        benchmark::DoNotOptimize(
            torch::fake_quantize_per_tensor_affine(act, in.scale, in.zero_point, -128, 127));
    });
}

void register_all() {
    auto const add = [](char const* name, auto f) {
        benchmark::RegisterBenchmark(name, f)->Arg(1 << 20)->Arg(1 << 26)->UseManualTime();
    };
    add("copy", copy);
    add("forward", [](auto& s) { forward<Also::nothing>(s, torch::kFloat); });
    add("forward, mask", [](auto& s) { forward<Also::mask>(s, torch::kFloat); });
    add("forward, mask, range", [](auto& s) { forward<Also::mask_and_range>(s, torch::kFloat); });
    add("forward, mask, range, codes", [](auto& s) { forward<Also::everything>(s, torch::kFloat); });
    add("forward of float16, mask, range", [](auto& s) { forward<Also::mask_and_range>(s, torch::kHalf); });
    add("forward per channel, mask", per_channel);
    add("backward", backward);
    add("extremes", extremes);
    add("decode", decode);
    add("learned backward", learned_backward);
    add("relu, aminmax, fake quantization of torch", torch_operators);
}
}  // namespace

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (!torch::cuda::is_available()) {
        std::fputs("no GPU here: torch::cuda::is_available() is false, nothing was measured\n", stderr);
        return 0;
    }
    register_all();
    benchmark::RunSpecifiedBenchmarks();
}
