// The networks in float.

#define QAT_NETWORKS_HERE
#include "experiments.hpp"

QAT_NETWORK(, silu)
QAT_NETWORK(, relu)
QAT_NETWORK(, relu6)
