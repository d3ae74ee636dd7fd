#pragma once
// What may be asked of one pass over a tensor on a device, and what comes back.

#include <qat/ops/range.hpp>
#include <qat/torch.hpp>

#include <cstdint>

namespace qat::cuda {

struct Request {
    bool reuse = false;            // the result may overwrite x's memory: nobody reads x again
    RangeTensors* seen = nullptr;  // gets the extremes of act(x)                              [] or [C] each
    bool codes = false;            // the result's 8-bit codes as well
    bool noise = false;      // stochastic rounding uses its noise (training), else it rounds half to even
    std::uint64_t seed = 0;  // of the noise: another for every tensor and step
};

struct Quantized {
    torch::Tensor y;  // on the grid, float32                                        x's shape and layout
    torch::Tensor
        codes;  // uint8, q - lo, y = s * (code + lo - z); undefined unless asked for       y's layout
};

/// The same before autograd.
struct Forward {
    torch::Tensor y, passes,
        codes;  // passes: where the gradient passes, undefined: everywhere, or nobody asked
};

/// The gradients of an estimator that learns its range, before the paper's factors: Estimator::slope summed up.
struct LearnedGradients {
    torch::Tensor dx;         // dy where slope.input, else 0                                      x's shape
    torch::Tensor parameter;  // sum of dy * slope.parameter, float64                              [] or [C]
    torch::Tensor offset;     // sum of dy * slope.offset, float64                                 [] or [C]
};

}  // namespace qat::cuda
