#pragma once
// The experiments of the reference study, each a type. yolo-describe prints what they say.

#include <qat/core.hpp>

namespace yolo::experiments {
using qat::MovingAverageMinMax, qat::PowerOfTwo, qat::Ceil;
using qat::PerTensorAffine, qat::PerTensorSymmetric, qat::PerChannelAffine, qat::PerChannelSymmetric;
using qat::Quantizer, qat::Experiment, qat::Weights, qat::Outputs, qat::Input, qat::Float, qat::Int;
using qat::SiLU, qat::ReLU, qat::ReLU6, qat::AlignInputs, qat::LiveBatchNorm, qat::FoldBatchNorm;
using qat::StopObservers, qat::FreezeBatchNorm, qat::Epochs, qat::after_epochs, qat::after_steps;

// ---- float ------------------------------------------------------------------------------------------------
using InFloat = Quantizer<Float>;
using silu = Experiment<"silu", SiLU, Weights<InFloat>, Outputs<InFloat>>;
using relu = silu::vary<"relu", ReLU>;
using relu6 = silu::vary<"relu6", ReLU6>;

// ---- torch.ao's scheme: affine int8, per channel for weights ----------------------------------------------
using AffineOutputs = Quantizer<Int<8>, PerTensorAffine, MovingAverageMinMax<>>;
using AffineWeights = AffineOutputs::vary<PerChannelAffine<0>>;
using stock = Experiment<"stock", ReLU, Weights<AffineWeights>, Outputs<AffineOutputs>, Input<AffineOutputs>,
                         FoldBatchNorm, Epochs<20>>;
/// For the official checkpoints as they are: post-training quantization without retraining another activation.
using stock_silu = stock::vary<"stock-silu", SiLU>;

// ---- the study's power-of-two experiments -----------------------------------------------------------------
using ShiftOutputs = Quantizer<Int<8>, PerTensorSymmetric, MovingAverageMinMax<>, PowerOfTwo<Ceil>>;
using ShiftWeights = ShiftOutputs::vary<PerChannelSymmetric<0>>;
using exp1 = Experiment<"exp1", ReLU, Weights<ShiftWeights>, Outputs<ShiftOutputs>, Input<ShiftOutputs>,
                        LiveBatchNorm, StopObservers<after_epochs(1)>, Epochs<20>>;
using exp2 = exp1::vary<"exp2", AlignInputs, FreezeBatchNorm<after_epochs(1)>>;
using exp3 = exp2::vary<"exp3", Epochs<100>>;

/// What the study's code did while its text said "after epoch 0": it stopped after the first batch.
using exp2_as_run = exp2::vary<"exp2-as-run", StopObservers<after_steps(1)>, FreezeBatchNorm<after_steps(1)>>;

inline constexpr auto all =
    qat::catalogue<silu, relu, relu6, stock, stock_silu, exp1, exp2, exp3, exp2_as_run>;

}  // namespace yolo::experiments
