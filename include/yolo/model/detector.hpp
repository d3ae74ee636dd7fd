#pragma once
// A YOLOv5 behind a plain interface: what training, validation and applications see. The arithmetic is in the class
// below (typed_detector.hpp); experiments that differ only in name or schedule share one.

#include <qat/core/describe.hpp>
#include <qat/nn/bind.hpp>
#include <yolo/model/options.hpp>

#include <array>
#include <memory>

namespace yolo {

/// Logits by level (strides 8, 16, 32), each [N, 3, H/s, W/s, 5 + classes].
using Logits = std::array<torch::Tensor, 3>;

class Detector {
public:
    explicit Detector(YoloV5Options options) : options_(std::move(options)) {}
    Detector(Detector const&) = delete;
    Detector& operator=(Detector const&) = delete;
    virtual ~Detector() = default;

    YoloV5Options const& options() const { return options_; }
    /// Groups of results that share a grid; empty without AlignInputs.
    std::vector<qat::nn::ScaleGroup> const& scale_groups() const { return groups_; }

    /// images [N, 3, H, W], RGB: uint8, or float in [0, 1]; H and W multiples of 32. They are moved to the model's device.
    Logits operator()(torch::Tensor const& images) {
        auto x = images.to(device(), /*non_blocking=*/true);
        if (x.scalar_type() == torch::kByte) x = x.to(torch::kFloat).div_(255);
        return forward(x);
    }

    virtual torch::nn::Module& module() = 0;
    virtual qat::graph::Graph trace(qat::graph::Shape image) = 0;
    /// A copy with its own parameters and the same sharing of grids.
    virtual std::unique_ptr<Detector> replicate() = 0;

    torch::Device device() { return module().parameters().front().device(); }

protected:
    std::vector<qat::nn::ScaleGroup> groups_;

private:
    virtual Logits forward(torch::Tensor const& images) = 0;
    YoloV5Options options_;
};

/// What training does about weights that jump between two integers; 0: nothing. See qat/core/oscillation.
struct Stability {
    double dampening = 0;         // strength
    double freeze_threshold = 0;  // frequency above which a weight is frozen
    double freeze_momentum = 0;   // of the moving average of flips
};

/// An experiment as values: what is known about it at run time.
struct ExperimentInfo {
    std::string name;
    qat::Schedule schedule;
    qat::Description description;
    bool quantized;  // anything
    bool folds_batch_norm;
    Stability stability;
    std::unique_ptr<Detector> (*make)(YoloV5Options const&);  // bound, on the CPU, in training mode
};

}  // namespace yolo
