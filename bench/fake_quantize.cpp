// Fake quantization against a plain copy of the same tensor and torch's operator. GB/s count what is read and
// written.

#include <qat/ops/fake_quantize.hpp>

#include <benchmark/benchmark.h>

namespace {
using Q = qat::Quantizer<qat::Int<8>, qat::PerTensorSymmetric, qat::PowerOfTwo<qat::Ceil>>;

torch::Tensor input(benchmark::State const& state) { return torch::randn({state.range(0)}); }
torch::Tensor const scale = torch::tensor(1.0f / 32), zero_point = torch::tensor(0, torch::kInt);

void report(benchmark::State& state, double bytes_per_element) {
    state.SetBytesProcessed(static_cast<std::int64_t>(
        static_cast<double>(state.iterations() * state.range(0)) * bytes_per_element));
}

void copy(benchmark::State& state) {
    auto const x = input(state);
    for (auto _ : state) benchmark::DoNotOptimize(x.clone());
    report(state, 8);
}
void forward(benchmark::State& state) {
    auto const x = input(state);
    for (auto _ : state) benchmark::DoNotOptimize(qat::fake_quantize<Q>(x, scale, zero_point));
    report(state, 8);
}
void forward_with_mask(benchmark::State& state) {
    auto const x = input(state).requires_grad_();
    for (auto _ : state) benchmark::DoNotOptimize(qat::fake_quantize<Q>(x, scale, zero_point));
    report(state, 9);
}
void torch_operator(benchmark::State& state) {
    auto const x = input(state);
    for (auto _ : state)
        benchmark::DoNotOptimize(torch::fake_quantize_per_tensor_affine(x, scale, zero_point, -128, 127));
    report(state, 8);
}

BENCHMARK(copy)->Arg(1 << 16)->Arg(1 << 22);
BENCHMARK(forward)->Arg(1 << 16)->Arg(1 << 22);
BENCHMARK(forward_with_mask)->Arg(1 << 16)->Arg(1 << 22);
BENCHMARK(torch_operator)->Arg(1 << 16)->Arg(1 << 22);
}  // namespace

BENCHMARK_MAIN();
