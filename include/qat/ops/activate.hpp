#pragma once
// The activation policy applied to a tensor. Found by argument-dependent lookup: put the overload for an activation of
// your own into its namespace.

#include <qat/core/activation/identity.hpp>
#include <qat/core/activation/relu.hpp>
#include <qat/core/activation/silu.hpp>
#include <qat/torch.hpp>

namespace qat {

inline torch::Tensor activate(Identity, torch::Tensor const& x) { return x; }
inline torch::Tensor activate(SiLU, torch::Tensor const& x) { return torch::silu(x); }  // x * sigmoid(x)
inline torch::Tensor activate(ReLU, torch::Tensor const& x) { return torch::relu(x); }  // max(x, 0)
inline torch::Tensor activate(ReLU6, torch::Tensor const& x) {
    return torch::clamp(x, 0, 6);
}  // min(max(x, 0), 6)

}  // namespace qat
