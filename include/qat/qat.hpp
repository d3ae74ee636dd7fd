#pragma once
// Quantization policies on LibTorch: everything below qat/.

#include <qat/core.hpp>
#include <qat/nn/bind.hpp>
#include <qat/nn/conv.hpp>
#include <qat/nn/fake_quantize.hpp>
#include <qat/nn/join.hpp>
#include <qat/ops/activate.hpp>
#include <qat/ops/fake_quantize.hpp>
#include <qat/ops/signal.hpp>
