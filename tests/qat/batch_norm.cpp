// Batch norm of a folded convolution's result, against the same with torch's operators.

#include "support/doctest.hpp"

#include <qat/ops/batch_norm.hpp>

namespace {
struct Result {
    torch::Tensor y, mean, variance;
    std::vector<torch::Tensor> gradients;  // of z, f, gamma, beta
};

template <class F>
Result run(torch::Tensor z, torch::Tensor f, torch::Tensor gamma, torch::Tensor beta, F const& function) {
    std::vector<torch::Tensor> inputs;
    for (auto const& t : {z, f, gamma, beta}) inputs.push_back(t.clone().requires_grad_());
    auto const mean = torch::full({z.size(1)}, 0.5), variance = torch::full({z.size(1)}, 2.0);
    auto const y =
        function(inputs[0], inputs[1], qat::BatchNormState{inputs[2], inputs[3], mean, variance, 0.03, 1e-3});
    torch::manual_seed(1);
    auto const direction = torch::randn(y.sizes()).to(y.scalar_type());
    return {y.detach(), mean, variance, torch::autograd::grad({(y * direction).sum()}, inputs)};
}
torch::Tensor by_torch(torch::Tensor const& z, torch::Tensor const& f, qat::BatchNormState const& bn) {
    return torch::batch_norm(z / f.view({1, -1, 1, 1}), bn.gamma, bn.beta, bn.running_mean, bn.running_var,
                             true, bn.momentum, bn.eps, true);
}
}  // namespace

TEST_CASE("batch norm of z / f equals torch's, gradients and running statistics included") {
    torch::manual_seed(0);
    for (auto const& size :
         {std::vector<std::int64_t>{2, 3, 5, 7}, {4, 16, 40, 40}, {1, 1, 1, 2}, {3, 2, 33, 31}}) {
        CAPTURE(size);
        auto const c = size[1];
        // A mean far from zero, and a factor that makes eps matter: the gradient of f is only there because of eps.
        auto const z = torch::randn(size) * 0.2 + 3, f = torch::rand(c) * 4 + 0.5, gamma = torch::randn(c),
                   beta = torch::randn(c);
        auto const ours = run(z, f, gamma, beta, qat::scaled_batch_norm);
        auto const wide = [](torch::Tensor const& t) { return t.to(torch::kDouble); };
        auto const theirs =
            run(wide(z), wide(f), wide(gamma), wide(beta), [](auto const& x, auto const& d, auto bn) {
                bn.running_mean = bn.running_mean.to(torch::kDouble),
                bn.running_var = bn.running_var.to(torch::kDouble);
                return by_torch(x, d, bn);
            });
        auto const in_float = run(z, f, gamma, beta, by_torch);
        CHECK(support::relative_error(ours.y, theirs.y) < 2e-5);
        CHECK(support::relative_error(ours.mean, in_float.mean) < 1e-6);
        CHECK(support::relative_error(ours.variance, in_float.variance) < 1e-6);
        for (std::size_t k = 0; k < 4; ++k) {
            CAPTURE(k);
            CHECK(support::relative_error(ours.gradients[k], theirs.gradients[k], 1e-2) < 2e-4);
        }
    }
}

TEST_CASE("the result does not depend on the number of threads") {
    auto const z = torch::randn({2, 7, 20, 20}), f = torch::rand(7) + 1, ones = torch::ones(7);
    auto const once = run(z, f, ones, ones, qat::scaled_batch_norm);
    auto const before = at::get_num_threads();
    at::set_num_threads(3);
    auto const again = run(z, f, ones, ones, qat::scaled_batch_norm);
    at::set_num_threads(before);
    CHECK(torch::equal(once.y, again.y));
    for (std::size_t k = 0; k < 4; ++k) CHECK(torch::equal(once.gradients[k], again.gradients[k]));
}
