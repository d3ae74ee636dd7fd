#pragma once
// What becomes of batch norm.

#include <qat/core/slots.hpp>

#include <string_view>

namespace qat {

/// Folded into weight and bias before training starts: those two are trained.
struct FoldBatchNorm {
    using slot = slot::batch_norm;
    static constexpr std::string_view name = "folded before training";
    static constexpr bool live = false;
};

/// gamma, beta and the statistics live on. Quantized weights are quantized as folded with the running statistics:
///     f = gamma / sqrt(var + eps) ;  y = bn(conv(x, Q(w * f)) / f)
/// Krishnamoorthi 2018, arXiv:1806.08342, section 3.2.2; torch.ao's ConvBn2d.
struct LiveBatchNorm {
    using slot = slot::batch_norm;
    static constexpr std::string_view name = "live";
    static constexpr bool live = true;
};

}  // namespace qat
