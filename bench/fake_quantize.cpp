// The kernels of the CPU against a plain copy of the same tensor (torch's copy_), and torch's own operator. GB/s count
// what a pass must read and write: 4 bytes in and 4 out an element, an eighth of a byte of mask, a byte of codes.

#include <qat/ops/codes.hpp>
#include <qat/ops/fake_quantize.hpp>

#include <benchmark/benchmark.h>

namespace {
using qat::detail::InstructionSet;
using Q = qat::Quantizer<qat::Int<8>, qat::PerTensorAffine>;
using PerChannel = qat::Quantizer<qat::Int<8>, qat::PerChannelSymmetric<0>>;

qat::GridTensors grid() { return {torch::full({}, 1.0f / 32), torch::full({}, 3, torch::kInt)}; }

void report(benchmark::State& state, double bytes_per_element) {
    state.SetBytesProcessed(static_cast<std::int64_t>(
        static_cast<double>(state.iterations() * state.range(0)) * bytes_per_element));
}

// ---- the loops: memory that is there already -------------------------------------------------------------------

void copy(benchmark::State& state) {
    auto const x = torch::randn({state.range(0)}), y = torch::empty_like(x);
    for (auto _ : state) y.copy_(x);
    report(state, 8);
}

struct Wants {
    bool mask = false, range = false, codes = false;
};
template <class Activation> void run(benchmark::State& state, Wants wants) {
    auto const set = static_cast<InstructionSet>(state.range(1));
    if (!qat::detail::available(set)) return state.SkipWithError("this processor has no such instructions");
    auto const n = state.range(0);
    auto const x = torch::randn({n}), y = torch::empty_like(x);
    auto const mask = torch::empty({qat::detail::mask_bytes(n)}, torch::kByte),
               codes = torch::empty({n}, torch::kByte);
    auto const grids = qat::detail::grids_of(x, grid(), qat::levels_of<qat::Int<8>>, -1);
    qat::detail::Pass p;
    p.x = x.data_ptr<float>(), p.y = y.data_ptr<float>(), p.n = n;
    p.quantize = qat::detail::fused_rule<Activation, Q>().quantize;
    if (wants.mask) p.mask = mask.data_ptr<std::uint8_t>();
    if (wants.codes) p.codes = codes.data_ptr<std::uint8_t>();
    if (wants.range) p.ends = &qat::detail::ends_of_block<Activation>;
    for (auto _ : state) benchmark::DoNotOptimize(qat::detail::perform(p, grids, set));
    report(state, 8 + (wants.mask ? 0.125 : 0) + (wants.codes ? 1 : 0));
}
void forward(benchmark::State& state) { run<qat::Identity>(state, {}); }
void forward_mask(benchmark::State& state) { run<qat::Identity>(state, {.mask = true}); }
void forward_relu_mask_range(benchmark::State& state) {
    run<qat::ReLU>(state, {.mask = true, .range = true});
}
void forward_relu_mask_range_codes(benchmark::State& state) { run<qat::ReLU>(state, {true, true, true}); }
void backward(benchmark::State& state) {
    auto const n = state.range(0);
    auto const dy = torch::randn({n}), dx = torch::empty_like(dy);
    auto const mask = torch::randint(0, 256, {qat::detail::mask_bytes(n)}, torch::kByte);
    for (auto _ : state)
        qat::detail::apply_mask(dy.data_ptr<float>(), mask.data_ptr<std::uint8_t>(), n, dx.data_ptr<float>(),
                                static_cast<InstructionSet>(state.range(1)));
    report(state, 8.125);
}

// ---- the functions: with the memory of their results -----------------------------------------------------------

void clone(benchmark::State& state) {
    auto const x = torch::randn({state.range(0)});
    for (auto _ : state) benchmark::DoNotOptimize(x.clone());
    report(state, 8);
}
void fake_quantize(benchmark::State& state) {
    auto const x = torch::randn({state.range(0)});
    auto const g = grid();
    for (auto _ : state) benchmark::DoNotOptimize(qat::fake_quantize<Q>(x, g.scale, g.zero_point));
    report(state, 8);
}
void with_history(benchmark::State& state) {
    auto const x = torch::randn({state.range(0)}).requires_grad_();
    auto const g = grid();
    for (auto _ : state) benchmark::DoNotOptimize(qat::fake_quantize<Q>(x, g.scale, g.zero_point));
    report(state, 8.125);
}
void per_channel(benchmark::State& state) {  // a 3x3 convolution's weights
    auto const x = torch::randn({state.range(0) / 1152, 128, 3, 3});
    auto const scale = torch::full({x.size(0)}, 0.03f), zero = torch::zeros({x.size(0)}, torch::kInt);
    for (auto _ : state) benchmark::DoNotOptimize(qat::fake_quantize<PerChannel>(x, scale, zero));
    report(state, 8);
}
void torch_operator(benchmark::State& state) {
    auto const x = torch::randn({state.range(0)});
    auto const g = grid();
    for (auto _ : state)
        benchmark::DoNotOptimize(torch::fake_quantize_per_tensor_affine(x, g.scale, g.zero_point, -128, 127));
    report(state, 8);
}

void sizes(benchmark::internal::Benchmark* b) { b->Arg(1 << 16)->Arg(1 << 20)->Arg(1 << 24); }
void sizes_and_sets(benchmark::internal::Benchmark* b) {  // the second argument: an InstructionSet
    for (int set : {0, 1, 2})
        for (int size : {1 << 16, 1 << 20, 1 << 24}) b->Args({size, set});
}

BENCHMARK(copy)->Apply(sizes)->UseRealTime();
BENCHMARK(forward)->Apply(sizes_and_sets)->UseRealTime();
BENCHMARK(forward_mask)->Apply(sizes_and_sets)->UseRealTime();
BENCHMARK(forward_relu_mask_range)->Apply(sizes_and_sets)->UseRealTime();
BENCHMARK(forward_relu_mask_range_codes)->Apply(sizes_and_sets)->UseRealTime();
BENCHMARK(backward)->Apply(sizes_and_sets)->UseRealTime();
BENCHMARK(clone)->Apply(sizes)->UseRealTime();
BENCHMARK(fake_quantize)->Apply(sizes)->UseRealTime();
BENCHMARK(with_history)->Apply(sizes)->UseRealTime();
BENCHMARK(per_channel)->Apply(sizes)->UseRealTime();
BENCHMARK(torch_operator)->Apply(sizes)->UseRealTime();
}  // namespace

BENCHMARK_MAIN();
