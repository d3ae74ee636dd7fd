#include <qat/core.hpp>

#include <iostream>

using namespace qat;

using Mine = Experiment<"mine", ReLU6, FoldBatchNorm>;
using Wide = Mine::vary<"mine-12-bit", Outputs<Quantizer<Int<12>, PerTensorSymmetric>>>;
static_assert(!std::is_same_v<Mine::arithmetic, Wide::arithmetic>);

int main() { std::cout << Wide::name << "\n"; }
