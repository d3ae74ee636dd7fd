#pragma once
// Mixed precision on CUDA: convolutions in half precision while gradients of the loss are scaled up so that small ones do
// not vanish. Micikevicius et al. 2018, arXiv:1710.03740; torch.cuda.amp. Fake quantization and ranges stay float32: a
// grid converts what it is given (qat/nn/fake_quantize.hpp).

#include <qat/torch.hpp>

#include <algorithm>
#include <cmath>

namespace yolo {

enum class Precision { float32, float16, bfloat16 };

/// In its scope CUDA operators run in the given precision; nothing happens for float32.
class Autocast {
public:
    explicit Autocast(Precision precision) : on_(precision != Precision::float32) {
        if (on_) qat::set_autocast(true, precision == Precision::float16 ? torch::kHalf : torch::kBFloat16);
    }
    Autocast(Autocast const&) = delete;
    Autocast& operator=(Autocast const&) = delete;
    ~Autocast() {
        if (on_) qat::set_autocast(false);
    }

private:
    bool on_;
};

/// The factor of the loss: halved after a step whose gradients overflowed, doubled after 2000 without one. Powers of two,
/// so that it leaves no trace in a gradient. torch.cuda.amp.GradScaler's numbers.
class LossScale {
public:
    /// float16 alone needs one: bfloat16 has the range of float32.
    explicit LossScale(Precision precision) : on_(precision == Precision::float16), scale_(on_ ? 65536 : 1) {}

    bool on() const { return on_; }
    double value() const { return scale_; }
    int steps() const { return steps_; }  // since it changed
    void set(double value, int steps) { scale_ = on_ ? value : 1, steps_ = steps; }

    /// After the backward passes of a step, or instead of it.
    void follow(bool overflowed) {
        if (!on_) return;
        if (overflowed) {
            scale_ = std::max(scale_ / 2, std::ldexp(1.0, -24)), steps_ = 0;
        } else if (++steps_ == 2000) {
            scale_ *= 2, steps_ = 0;
        }
    }

private:
    bool on_;
    double scale_;
    int steps_ = 0;
};

}  // namespace yolo
