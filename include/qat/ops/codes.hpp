#pragma once
// Convolution and concatenation that keep their inputs as 8-bit codes between the forward and the backward pass. The
// inputs lie on grids, so nothing is lost: the same values and gradients, bit for bit.

#include <qat/core/activation/identity.hpp>
#include <qat/ops/masked_gradient.hpp>

#include <array>
#include <atomic>

namespace qat {

/// The codes that y carries, if it was quantized with FusedOptions::codes or is a coded_cat or with_codes, and has not been
/// modified since. They share memory with whoever else keeps them.
inline std::optional<Codes> codes_of(torch::Tensor const& y) {
    if (!y.defined() || y.is_leaf()) return std::nullopt;
    auto const step = y.grad_fn();
    auto* const carrier = dynamic_cast<detail::Carrier*>(step.get());
    return carrier ? carrier->codes(y) : std::nullopt;
}

namespace detail {

/// Something that is needed again in the backward pass: its codes if it has them, else itself.
class Kept {
public:
    Kept() = default;
    Kept(torch::Tensor const& x, std::optional<Codes> codes) : codes_(std::move(codes)) {
        if (!codes_) floats_ = torch::autograd::SavedVariable(x, /*is_output=*/false);
    }
    torch::Tensor restore() const { return codes_ ? dequantize(*codes_) : floats_.unpack(); }

private:
    std::optional<Codes> codes_;
    torch::autograd::SavedVariable floats_;
};

/// Whether somebody waits for x's gradient.
inline bool wants_gradient(torch::Tensor const& x) {
    if (!x.defined() || !x.requires_grad()) return false;
    auto const step = x.grad_fn();
    auto const* const carrier = dynamic_cast<Carrier const*>(step.get());
    return !carrier || carrier->wanted();
}

class CodedConvolution final : public torch::autograd::Node {
public:
    /// Gives y = conv2d(x, weight, bias), which was computed outside autograd, its history.
    static torch::Tensor record(torch::Tensor y, torch::Tensor const& x, torch::Tensor const& weight,
                                torch::Tensor const& bias, std::int64_t stride, std::int64_t padding) {
        auto const step =
            std::shared_ptr<CodedConvolution>(new CodedConvolution(), torch::autograd::deleteNode);
        step->input_ = Kept(x, codes_of(x)), step->weight_ = Kept(weight, codes_of(weight));
        step->stride_ = {stride, stride}, step->padding_ = {padding, padding};
        step->channels_ = weight.size(0);
        step->wants_ = {wants_gradient(x), wants_gradient(weight), wants_gradient(bias)};
        step->set_next_edges(torch::autograd::collect_next_edges(x, weight, bias));
        torch::autograd::create_gradient_edge(y, step);
        return y;
    }

    torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
        auto const& dy = gradients[0];
        if (!dy.defined()) return torch::autograd::variable_list(3);
        TORCH_CHECK(!torch::GradMode::is_enabled(),
                    "coded_conv2d: codes have no second derivative; save floats instead (SaveFloats)");
        torch::Tensor x, weight;
        {
            std::lock_guard<std::mutex> const lock(mutex_);
            TORCH_CHECK(!freed_, second_time);
            x = input_.restore(), weight = weight_.restore();
        }
        auto wants = wants_;
        for (std::size_t i = 0; i < wants.size(); ++i) wants[i] = wants[i] && task_should_compute_output(i);
        auto const type = dy.scalar_type();  // float32 but under autocast
        auto [dx, dw, db] =
            at::convolution_backward(dy, x.to(type), weight.to(type), torch::IntArrayRef(channels_), stride_,
                                     padding_, {1, 1}, false, {0, 0}, 1, wants);
        for (auto* gradient : {&dx, &dw, &db})
            if (gradient->defined()) *gradient = gradient->to(torch::kFloat);
        return {dx, dw, db};
    }

    void release_variables() override {
        std::lock_guard<std::mutex> const lock(mutex_);
        input_ = {}, weight_ = {}, freed_ = true;
    }

private:
    Kept input_, weight_;
    std::array<std::int64_t, 2> stride_{}, padding_{};
    std::int64_t channels_ = 0;
    std::array<bool, 3> wants_{};  // the gradients of x, weight and bias
    bool freed_ = false;
};

/// y is its inputs side by side; so are its codes and its gradient.
class CodedConcatenation final : public Carrier {
public:
    static torch::Tensor record(torch::Tensor const& y, std::vector<torch::Tensor> const& xs,
                                std::int64_t dim, Codes codes) {
        auto* step = new CodedConcatenation(std::move(codes));
        step->dim_ = dim;
        for (auto const& x : xs) step->sizes_.push_back(x.size(dim));
        return attach(std::shared_ptr<Carrier>(step, torch::autograd::deleteNode), y, xs);
    }

    torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
        torch::autograd::variable_list parts(sizes_.size());
        std::int64_t from = 0;
        for (std::size_t i = 0; i < sizes_.size(); from += sizes_[i++])
            if (gradients[0].defined() && task_should_compute_output(i))
                parts[i] = gradients[0].narrow(dim_, from, sizes_[i]);
        return parts;
    }

private:
    explicit CodedConcatenation(Codes codes) : Carrier(std::move(codes)) {}

    std::vector<std::int64_t> sizes_;
    std::int64_t dim_ = 0;
};

/// The sum of differences is all that is asked: 0 if a[i] == b[i] everywhere.
struct DifferKernel {
    [[gnu::always_inline]] static int run(float const* a, float const* b, std::int64_t n) {
        int differs = 0;
#pragma omp simd reduction(| : differs)
        for (std::int64_t i = 0; i < n; ++i) differs |= a[i] != b[i];
        return differs;
    }
};

/// The codes of a float32 tensor on the CPU which may lie on this grid already; none if it does not.
inline std::optional<Codes> encode(torch::Tensor const& tensor, Codes const& grid) {
    torch::NoGradGuard no_grad;
    if (tensor.scalar_type() != torch::kFloat) return std::nullopt;
    auto const x = tensor.is_non_overlapping_and_dense() ? tensor.detach() : tensor.detach().contiguous();
    auto result = grid;
    result.values = torch::empty_like(x, x.options().dtype(torch::kByte));
    auto const* in = x.data_ptr<float>();
    auto* out = result.values.data_ptr<std::uint8_t>();
    auto const grids = grids_of(x, {grid.scale, grid.zero_point}, grid.levels, grid.axis);
    auto const set = best_instruction_set();
    std::atomic<bool> lies_there = true;
    for_each_block(x.numel(), [&](std::int64_t from, std::int64_t n, Ends&) {
        std::array<float, block_size> y;
        std::array<std::uint8_t, block_size> flags;
        // Any rounding finds the code of a number that has one.
        quantize_block<Identity, HalfEven, false>(set, in + from, n, grids.row(), {}, false, y.data(),
                                                  flags.data(), out + from);
        if (run_with<DifferKernel>(set, in + from, static_cast<float const*>(y.data()), n) != 0)
            lies_there = false;
    });
    return lies_there ? std::optional(result) : std::nullopt;
}

inline bool same_grid(Codes const& a, Codes const& b) {
    return a.axis == b.axis && a.levels == b.levels && torch::equal(a.scale, b.scale) &&
           torch::equal(a.zero_point, b.zero_point);
}

/// Side by side in y's layout; none if the tensors do not lie on one grid.
inline std::optional<Codes> join(std::vector<torch::Tensor> const& xs, std::int64_t dim,
                                 torch::Tensor const& y) {
    std::vector<std::optional<Codes>> all;
    std::optional<Codes> grid;
    for (auto const& x : xs) {
        all.push_back(codes_of(x));
        auto const& codes = all.back();
        if (!codes) continue;
        if (codes->axis >= 0 || (grid && !same_grid(*grid, *codes))) return std::nullopt;
        grid = codes;
    }
    if (!grid) return std::nullopt;
    std::vector<torch::Tensor> values;
    for (std::size_t i = 0; i < xs.size(); ++i) {
        if (!all[i]) all[i] = encode(xs[i], *grid);
        if (!all[i]) return std::nullopt;
        values.push_back(all[i]->values);
    }
    torch::NoGradGuard no_grad;
    grid->values = torch::cat(values, dim);
    if (grid->values.strides() != y.strides())
        grid->values =
            torch::empty_strided(y.sizes(), y.strides(), grid->values.options()).copy_(grid->values);
    return grid;
}
}  // namespace detail

/// y, which lies on this grid of a whole tensor, carrying its codes; y itself if it cannot: on a GPU, without history, on
/// more than 8 bits.                                                                                       y's shape
inline torch::Tensor with_codes(torch::Tensor const& y, GridTensors const& grid, Levels levels) {
    if (!y.is_cpu() || !y.requires_grad() || y.dim() == 0 || !Codes::fit(levels)) return y;
    auto codes = detail::encode(y, {{}, grid.scale, grid.zero_point, levels});
    if (!codes) return y;
    return detail::CodedConcatenation::record(y.tensor_data(), {y}, 0, std::move(*codes));
}

/// torch::conv2d with square stride and padding. What carries codes, x or the weight, is kept as those.
/// requires bias [out] or undefined. No second derivative if anything carries codes.     [N, out, H / s, W / s]
inline torch::Tensor coded_conv2d(torch::Tensor const& x, torch::Tensor const& weight,
                                  torch::Tensor const& bias, std::int64_t stride = 1,
                                  std::int64_t padding = 0) {
    bool const differentiates =
        torch::GradMode::is_enabled() &&
        (detail::wants_gradient(x) || detail::wants_gradient(weight) || detail::wants_gradient(bias));
    if (!differentiates || (!codes_of(x) && !codes_of(weight)))
        return torch::conv2d(x, weight, bias, stride, padding);
    torch::Tensor y;
    {
        torch::NoGradGuard no_grad;
        y = torch::conv2d(x, weight, bias, stride, padding);
    }
    return detail::CodedConvolution::record(y, x, weight, bias, stride, padding);
}

/// torch::cat. On the CPU, if the tensors lie on one grid and one of them says which by its codes, the result carries
/// codes; those without (pooled, upsampled) are looked up on that grid. Floats are not kept.
inline torch::Tensor coded_cat(std::vector<torch::Tensor> const& xs, std::int64_t dim) {
    TORCH_CHECK(!xs.empty(), "coded_cat: no tensors, want at least one");
    bool const on_cpu = std::ranges::all_of(xs, [](auto const& x) { return x.is_cpu(); });
    if (!on_cpu || !torch::GradMode::is_enabled() ||
        std::ranges::none_of(xs, [](auto const& x) { return codes_of(x).has_value(); }))
        return torch::cat(xs, dim);
    torch::Tensor y;
    {
        torch::NoGradGuard no_grad;
        y = torch::cat(xs, dim);
    }
    auto codes = detail::join(xs, dim < 0 ? dim + y.dim() : dim, y);
    if (!codes) return torch::cat(xs, dim);
    return detail::CodedConcatenation::record(y, xs, dim < 0 ? dim + y.dim() : dim, std::move(*codes));
}

}  // namespace qat
