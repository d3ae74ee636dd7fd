// A training step quantized against the same step in float with live batch norm: time, peak memory, and what is held
// between forward and backward.
//
// Time: all variants in one process, step by step in turns; the ratio of the fastest steps. Memory: a fresh process per
// variant (this program with --child), since the allocator and the convolution library keep what they once had: resident
// memory as the kernel counts it (VmRSS, VmHWM), on a GPU what LibTorch's allocator has given out, less that of the
// process before the step, with weights and momentum. Measure on an idle machine: OpenMP's threads spin.

#include <yolo/apps/cli.hpp>
#include <yolo/experiments.hpp>
#include <yolo/loss/loss.hpp>
#include <yolo/model/typed_detector.hpp>
#include <yolo/train/mixed_precision.hpp>

#include <nlohmann/json.hpp>

#ifdef QAT_BENCH_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#endif

#include <chrono>
#include <cstdio>
#include <fstream>
#include <limits>
#include <malloc.h>
#include <unistd.h>

namespace {
namespace e = yolo::experiments;

// ---- variants: one line each in variants() ---------------------------------------------------------------------

using shift = e::stock::vary<"shift", qat::Weights<e::ShiftWeights>, qat::Outputs<e::ShiftOutputs>,
                             qat::Input<e::ShiftOutputs>>;

enum class Observers { off, on };
struct Variant {
    std::string key;  // in the JSON file: its time
    std::unique_ptr<yolo::Detector> (*make)(yolo::YoloV5Options const&);
    Observers observers = Observers::off;
};
template <class E> Variant variant(std::string key, Observers observers) {
    return {std::move(key), &yolo::make_detector<typename E::arithmetic>, observers};
}

std::vector<Variant> variants() {
    using enum Observers;
    using silu = e::stock::vary<"stock-silu", qat::SiLU>;
    using live = e::stock::vary<"live", qat::LiveBatchNorm>;
    using live_shift = shift::vary<"live-shift", qat::LiveBatchNorm>;
    using live_silu = live::vary<"live-silu", qat::SiLU>;
    using coded = e::stock::vary<"coded", qat::SaveCodes>;
    using coded_shift = shift::vary<"coded-shift", qat::SaveCodes, qat::AlignInputs>;
    using step_outputs = qat::Quantizer<qat::Int<8>, qat::PerTensorSymmetric, qat::LearnedStep>;
    using learned = e::stock::vary<"learned", qat::Weights<step_outputs::vary<qat::PerChannelSymmetric<0>>>,
                                   qat::Outputs<step_outputs>>;
    return {
        variant<e::relu>("float", off),  // first: what the others are divided by
        variant<e::stock>("folded_observing", on),
        variant<e::stock>("folded", off),
        variant<live>("live_fold_observing", on),
        variant<live>("live_fold", off),
        variant<coded>("codes_observing", on),
        variant<coded>("codes", off),
        variant<shift>("shift_folded_observing", on),
        variant<shift>("shift_folded", off),
        variant<live_shift>("shift_live_fold_observing", on),
        variant<coded_shift>("shift_codes_observing", on),
        variant<learned>("learned_step", off),
        variant<learned::vary<"coded-learned", qat::SaveCodes>>("learned_step_codes", off),
        variant<e::silu>("silu_float", off),
        variant<silu>("silu_folded_observing", on),
        variant<silu>("silu_folded", off),
        variant<live_silu>("silu_live_fold_observing", on),
    };
}

// ---- a step ----------------------------------------------------------------------------------------------------

struct Options {
    std::string model = "n", json, child, where = "cpu";
    std::int64_t batch_size = 4, image_size = 320;
    int steps = 10, warm_up = 2, threads = 0;
    bool only_time = false, only_memory = false, half = false;
    std::vector<std::string> only;
    torch::Device device = torch::kCPU;
};

void wait_for(torch::Device device) {
    if (device.is_cuda()) torch::cuda::synchronize(device.index());
}

class Step {
public:
    Step(Variant const& v, Options const& o) : variant_(v), device_(o.device) {
        if (o.half) precision_ = yolo::Precision::float16;
        torch::manual_seed(0);
        network_.size = o.model == "s" ? yolo::small : yolo::nano;
        detector_ = v.make(network_);
        auto& model = detector_->module();
        model.to(device_);
        model.train();
        images_ =
            torch::randint(0, 256, {o.batch_size, 3, o.image_size, o.image_size}, torch::kByte).to(device_);
        targets_ = torch::rand({o.batch_size * 8, 6}) * 0.3 + 0.3;
        targets_.select(1, 0).copy_(torch::arange(o.batch_size * 8).remainder(o.batch_size));
        targets_.select(1, 1).copy_(torch::arange(o.batch_size * 8).remainder(80));
        loss_ = std::make_unique<yolo::DetectionLoss>(network_, yolo::Hyperparameters{});
        sgd_ = std::make_unique<torch::optim::SGD>(
            model.parameters(), torch::optim::SGDOptions(1e-3).momentum(0.937).nesterov(true));
        {
            torch::NoGradGuard no_grad;
            qat::nn::observe_once(model, [&] { (*detector_)(images_); });
        }
        if (v.observers == Observers::off) stop_after_first_ = true;
    }

    /// What training needs in any case is there: weights and momentum, no gradients.
    void rest() {
        for (auto& p : detector_->module().parameters()) p.mutable_grad().reset();
    }

    /// between: called when the loss is there and the backward pass is not. In seconds.
    template <class F> double run(F const& between) {
        wait_for(device_);
        auto const start = std::chrono::steady_clock::now();
        qat::nn::refresh_scales(detector_->module());
        rest();
        auto loss = (*loss_)(logits(), targets_).total;
        between();
        loss.backward();
        sgd_->step();
        wait_for(device_);
        auto const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (std::exchange(stop_after_first_, false)) qat::nn::stop_observers(detector_->module());
        return seconds;
    }

private:
    yolo::Logits logits() {
        yolo::Autocast const half(precision_);
        return (*detector_)(images_);
    }

    Variant variant_;
    torch::Device device_;
    yolo::Precision precision_ = yolo::Precision::float32;
    yolo::YoloV5Options network_;
    std::unique_ptr<yolo::Detector> detector_;
    torch::Tensor images_, targets_;
    std::unique_ptr<yolo::DetectionLoss> loss_;
    std::unique_ptr<torch::optim::SGD> sgd_;
    bool stop_after_first_ = false;
};

// ---- memory ----------------------------------------------------------------------------------------------------

/// A line of /proc/self/status, in MB.
double status_mb(std::string const& name) {
    std::ifstream in("/proc/self/status");
    for (std::string line; std::getline(in, line);)
        if (line.starts_with(name + ":")) return std::stod(line.substr(name.size() + 1)) / 1024;
    throw std::runtime_error("/proc/self/status has no " + name + "; memory is measured on Linux only");
}
struct Memory {
    double held, peak;  // MB: now and at most, or above those of the process before its first step
};

Memory memory_in_use([[maybe_unused]] torch::Device device) {
#ifdef QAT_BENCH_CUDA
    if (device.is_cuda()) {
        wait_for(device);
        auto const bytes = c10::cuda::CUDACachingAllocator::getDeviceStats(device.index()).allocated_bytes[0];
        return {static_cast<double>(bytes.current) / (1 << 20), static_cast<double>(bytes.peak) / (1 << 20)};
    }
#endif
    malloc_trim(0);
    return {status_mb("VmRSS"), status_mb("VmHWM")};
}
void reset_peak([[maybe_unused]] torch::Device device) {
#ifdef QAT_BENCH_CUDA
    if (device.is_cuda()) return c10::cuda::CUDACachingAllocator::resetPeakStats(device.index());
#endif
    std::ofstream("/proc/self/clear_refs") << 5;
}

/// Of this process, which must be fresh. Weights, gradients and momentum are counted out: they are the same for all.
Memory measure_memory(Variant const& v, Options const& o) {
    mallopt(M_MMAP_THRESHOLD, 1 << 16);  // freed tensors go back to the system at once
    mallopt(M_TRIM_THRESHOLD, 1 << 16);
    Step step(v, o);
    for (int i = 0; i < o.warm_up; ++i) step.run([] {});
    step.rest();
    double const before = memory_in_use(o.device).held;
    reset_peak(o.device);
    double held = 0;
    step.run([&] { held = memory_in_use(o.device).held - before; });
    return {held, memory_in_use(o.device).peak - before};
}

Memory memory_of(std::string const& self, std::vector<std::string> const& arguments, std::string const& key) {
    std::string command = "'" + self + "'";
    for (auto const& a : arguments) command += " '" + a + "'";
    command += " --child '" + key + "'";
    std::unique_ptr<FILE, int (*)(FILE*)> const pipe(popen(command.c_str(), "r"), &pclose);
    Memory m{};
    if (!pipe || std::fscanf(pipe.get(), "%lf %lf", &m.held, &m.peak) != 2)
        throw std::runtime_error("the process that measures the memory of " + key + " gave no result");
    return m;
}

// ---- the program -----------------------------------------------------------------------------------------------

void run(Options const& o, std::string const& self, std::vector<std::string> const& arguments) {
    auto all = variants();
    if (!o.only.empty())
        std::erase_if(all, [&](Variant const& v) {
            return v.key != "float" && std::ranges::find(o.only, v.key) == o.only.end();
        });
    nlohmann::ordered_json result{{"model", o.model},      {"batch_size", o.batch_size},
                                  {"imgsz", o.image_size}, {"device", o.device.str()},
                                  {"half", o.half},        {"threads", torch::get_num_threads()},
                                  {"steps", o.steps}};
    auto const reference = [](std::string const& key) {
        return key.starts_with("silu_") ? "silu_float" : "float";
    };

    if (!o.only_memory) {
        std::vector<std::unique_ptr<Step>> steps;
        std::map<std::string, double> best;
        for (auto const& v : all)
            steps.push_back(std::make_unique<Step>(v, o)),
                best[v.key] = std::numeric_limits<double>::infinity();
        for (int i = -o.warm_up; i < o.steps; ++i)
            for (std::size_t k = 0; k < all.size(); ++k) {
                double const seconds = steps[k]->run([] {});
                if (i >= 0) best[all[k].key] = std::min(best[all[k].key], seconds);
            }
        for (auto const& v : all) {
            result["seconds"][v.key] = best[v.key];
            double const ratio =
                best[v.key] / best[best.contains(reference(v.key)) ? reference(v.key) : "float"];
            if (!v.key.ends_with("float")) result[v.key] = ratio;
            std::printf("time  %-24s %8.1f ms  %.3f\n", v.key.c_str(), best[v.key] * 1e3, ratio);
        }
    }
    if (!o.only_time) {
        std::map<std::string, Memory> memory;
        for (auto const& v : all) memory[v.key] = memory_of(self, arguments, v.key);
        for (auto const& v : all) {
            auto const m = memory[v.key];
            auto const base = memory[memory.contains(reference(v.key)) ? reference(v.key) : "float"];
            result["megabytes"][v.key] = {{"held", m.held}, {"peak", m.peak}};
            std::printf("memory %-23s held %7.1f MB  %.3f   peak %7.1f MB  %.3f\n", v.key.c_str(), m.held,
                        m.held / base.held, m.peak, m.peak / base.peak);
            if (!v.key.ends_with("float"))
                result["held_" + v.key] = m.held / base.held, result["peak_" + v.key] = m.peak / base.peak;
        }
    }
    if (!o.json.empty()) std::ofstream(o.json) << result.dump(2) << "\n";
}
}  // namespace

int main(int argc, char** argv) {
    Options o;
    CLI::App app{"A quantized training step against the float step: ratios of time and memory"};
    app.add_option("--model", o.model, "n or s")->check(CLI::IsMember({"n", "s"}))->capture_default_str();
    app.add_option("--batch-size", o.batch_size, "images")->capture_default_str();
    app.add_option("--imgsz", o.image_size, "pixels, a multiple of 32")->capture_default_str();
    app.add_option("--steps", o.steps, "timed steps of every variant; the fastest counts")
        ->capture_default_str();
    app.add_option("--warm-up", o.warm_up, "steps before")->capture_default_str();
    app.add_option("--threads", o.threads, "0: OMP_NUM_THREADS, else all cores")->capture_default_str();
    app.add_option("--device", o.where, "cpu, or 0 or cuda:0 for a GPU")->capture_default_str();
    app.add_flag("--half", o.half, "convolutions in float16, on a GPU only");
    app.add_option("--json", o.json, "write the ratios to this file");
    app.add_option("--only", o.only, "variants beside the float step; all if none");
    app.add_flag("--time", o.only_time, "do not measure memory");
    app.add_flag("--memory", o.only_memory, "do not measure time");
    app.add_option("--child", o.child, "measure the memory of this variant (used by the program itself)")
        ->group("");
    CLI11_PARSE(app, argc, argv);
    yolo::apps::set_threads(o.threads);
    try {
        o.device = yolo::apps::device(o.where);
        if (o.half && !o.device.is_cuda()) throw std::runtime_error("--half wants a GPU; add --device 0");
        if (!o.child.empty()) {
            for (auto const& v : variants())
                if (v.key == o.child) {
                    auto const m = measure_memory(v, o);
                    std::printf("%f %f\n", m.held, m.peak);
                }
            return 0;
        }
        run(o, std::filesystem::read_symlink("/proc/self/exe"), {argv + 1, argv + argc});
    } catch (std::exception const& error) {
        std::fprintf(stderr, "bench-qat-step: %s\n", error.what());
        return 1;
    }
}
