#pragma once
// Types and scalars: everything that needs no LibTorch.

#include <qat/core/arithmetic.hpp>
#include <qat/core/catalogue.hpp>
#include <qat/core/describe.hpp>
#include <qat/core/experiment.hpp>
#include <qat/core/quantizer.hpp>
#include <qat/core/requantize.hpp>
#include <qat/graph/dot.hpp>
#include <qat/graph/graph.hpp>
#include <qat/graph/scale_groups.hpp>
