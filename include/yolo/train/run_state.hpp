#pragma once
// What a run must remember, besides the network that it keeps, to go on bit for bit: Checkpoint::more. Names:
//     network/KEY                 the network that is trained, if another one is kept (its average, or its half)
//     average/KEY                 its average, if half of that is kept
//     optimizer/KEY.*             optimizer_state.hpp
//     gradient/KEY                of micro-batches that wait for their step
//     ema/PATH                    log2 of averaged scales
//     threshold/PATH/*            trained thresholds' history        (qat/ops/learned/threshold_freeze.hpp)
//     oscillation/*, range/PATH   stability.hpp
//     class_maps [classes]        mAP50-95 of the last validation
//     loss_sums [3], generator    of this epoch; LibTorch's on the CPU, which draws the seeds of stochastic rounding

#include <yolo/io/transfer.hpp>
#include <yolo/train/ema.hpp>
#include <yolo/train/optimizer_state.hpp>
#include <yolo/train/stability.hpp>

namespace yolo {

/// The parts of a run, which the functions below read and write.
struct RunParts {
    Detector& trained;
    torch::optim::Optimizer& optimizer;
    StateDict const& parameters;  // of the optimizer, by key
    Ema* ema;                     // null: none
    StabilityTools* stability;    // null: not quantized
    torch::Tensor& loss_sums;     // [3]
};

namespace detail {
template <class F> void for_each_memory(torch::nn::Module& model, F&& f) {
    for (auto const& module : model.named_modules())
        if (auto* grid = dynamic_cast<qat::nn::Grid*>(module.value().get()))
            for (auto& [name, tensor] : grid->memory()) f(module.key() + "/" + name, tensor);
}
}  // namespace detail

/// gradients: whether some wait. network: whether the trained network is to be kept in full. Clones, on the CPU.
inline StateDict run_state(RunParts const& run, bool gradients, bool network) {
    torch::NoGradGuard no_grad;
    StateDict result;
    auto const put = [&](std::string name, torch::Tensor const& tensor) {
        result.emplace_back(std::move(name),
                            tensor.detach().to(torch::kCPU, /*non_blocking=*/false, /*copy=*/true));
    };
    auto const put_all = [&](std::string const& prefix, StateDict const& tensors) {
        for (auto const& [name, tensor] : tensors) put(prefix + name, tensor);
    };
    if (network) put_all("network/", state_of(run.trained));
    put_all("optimizer/", optimizer_state(run.optimizer, run.parameters));
    if (gradients)
        for (auto const& [key, parameter] : run.parameters)
            if (parameter.grad().defined()) put("gradient/" + key, parameter.grad());
    if (run.ema)
        for (auto const& [path, scale] : run.ema->log2_scales()) put("ema/" + path, scale);
    detail::for_each_memory(run.trained.module(),
                            [&](std::string const& name, auto const& t) { put("threshold/" + name, t); });
    if (run.stability) put_all("", run.stability->state());
    put("loss_sums", run.loss_sums);
    put("generator", at::detail::getDefaultCPUGenerator().get_state());
    return result;
}

/// All but the networks, which are loaded like any other.
/// requires the trained network loaded, and refresh_scales called since.
inline void restore_run(RunParts const& run, TensorsByName const& saved) {
    torch::NoGradGuard no_grad;
    restore_optimizer(run.optimizer, run.parameters, with_prefix(saved, "optimizer/"));
    for (auto const& [key, parameter] : run.parameters)
        if (auto const found = saved.find("gradient/" + key); found != saved.end())
            torch::Tensor(parameter).mutable_grad() = found->second.to(parameter.options()).clone();
    if (run.ema) {
        std::map<std::string, torch::Tensor> scales;
        for (auto const& [path, scale] : with_prefix(saved, "ema/"))
            scales[path] = scale.to(run.trained.device());
        run.ema->set_log2_scales(std::move(scales));
    }
    detail::for_each_memory(run.trained.module(), [&](std::string const& name, torch::Tensor& tensor) {
        if (auto const found = saved.find("threshold/" + name); found != saved.end())
            tensor.copy_(found->second);
    });
    if (run.stability) run.stability->restore(saved);
    if (auto const found = saved.find("loss_sums"); found != saved.end())
        run.loss_sums = found->second.clone();
    if (auto const found = saved.find("generator"); found != saved.end()) {
        auto generator = at::detail::getDefaultCPUGenerator();
        generator.set_state(found->second);
    }
}

}  // namespace yolo
