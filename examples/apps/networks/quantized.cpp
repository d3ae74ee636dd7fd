// The quantized networks.

#define QAT_NETWORKS_HERE
#include "experiments.hpp"

QAT_NETWORK(, stock)
QAT_NETWORK(, stock_silu)
QAT_NETWORK(, exp1)
QAT_NETWORK(, exp2)
