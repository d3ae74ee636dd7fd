// Laws of quantization (laws.hpp) where ties, or everything, go one way: no grid is odd then.

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "support/doctest.hpp"

#include <qat/core/catalogue.hpp>

namespace {
constexpr auto roundings = qat::hana::tuple_t<qat::HalfUp, qat::RoundDown>;
}
#include "laws.hpp"
