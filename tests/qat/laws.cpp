// Laws of quantization (laws.hpp) where the rounding knows no direction.

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "support/doctest.hpp"

#include <qat/core/catalogue.hpp>

namespace {
constexpr auto roundings = qat::hana::tuple_t<qat::HalfEven, qat::HalfAwayFromZero>;
}
#include "laws.hpp"

TEST_CASE("a symmetric grid is odd inside its range, ties included") {
    int looked_at = 0;
    for_each_subject([&](Subject const& s) {
        if (!s.symmetric || !s.is_signed) return;
        auto const at = sample(s);
        auto const step = at.grid.scale.dim() ? at.grid.scale.view({-1, 1, 1, 1}) : at.grid.scale;
        auto const inside = torch::minimum(torch::maximum(at.x, -s.hi() * step), s.hi() * step);
        CHECK(torch::equal(apply(s, at, -inside), -apply(s, at, inside)));
        ++looked_at;
    });
    CHECK(looked_at == 2 * 3 * 5 * (3 + 9));  // two roundings, three schemes, five signed formats
}

TEST_CASE("half to even, straight through: torch's own operators give the same values and gradients") {
    int compared = 0;
    for_each_subject([&](Subject const& s) {
        if (s.rounding != HalfEven::name || s.learns != Learns::nothing || s.passes_outside) return;
        torch::manual_seed(compared);
        auto at = sample(s, static_cast<std::size_t>(compared++));
        auto const step = at.grid.scale.dim() ? at.grid.scale.view({-1, 1, 1, 1}) : at.grid.scale;
        auto const zero = (at.grid.scale.dim() ? at.grid.zero_point.view({-1, 1, 1, 1}) : at.grid.zero_point)
                              .to(torch::kFloat);
        auto const middle = (s.hi() + s.lo()) / 2 - zero;
        at.x = (torch::randn({channels, 3, 5, 3}) * ((s.hi() - s.lo()) / 3) + middle) * step;
        auto const ours = differentiate(s, at, at.x, at.dy);
        auto const leaf = at.x.clone().requires_grad_();
        auto const y = s.per_channel
                           ? torch::fake_quantize_per_channel_affine(leaf, at.grid.scale, at.grid.zero_point,
                                                                     0, s.levels.lo, s.levels.hi)
                           : torch::fake_quantize_per_tensor_affine(leaf, at.grid.scale, at.grid.zero_point,
                                                                    s.levels.lo, s.levels.hi);
        y.backward(at.dy);
        CHECK(torch::equal(ours.y, y.detach()));
        CHECK(torch::equal(ours.x, leaf.grad()));
    });
    CHECK(compared == 21 * 4 + 12);
}
