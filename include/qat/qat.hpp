#pragma once
// Quantization policies on LibTorch: what a network and its training need. Not in it, since each costs compile time and only
// some want it: post-training tools (qat/calibrate/), stability tools (qat/nn/drift.hpp, oscillation.hpp, reestimate.hpp).

#include <qat/core.hpp>
#include <qat/nn/bind.hpp>
#include <qat/nn/conv.hpp>
#include <qat/nn/fake_quantize.hpp>
#include <qat/nn/join.hpp>
#include <qat/ops/activate.hpp>
#include <qat/ops/fake_quantize.hpp>
#include <qat/ops/signal.hpp>
