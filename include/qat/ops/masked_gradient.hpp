#pragma once
// The history of a tensor that lies on a grid: one bit an element says where the gradient passes; the tensor's codes
// travel along, so that whoever needs the tensor again in the backward pass can keep those instead.
// Not a template: kernels run before, whatever the policies are.

#include <qat/ops/grid_codes.hpp>

#include <algorithm>
#include <mutex>
#include <optional>

namespace qat {
namespace detail {

/// Whether nobody else can read this tensor's memory: it may be overwritten.
inline bool exclusive(torch::Tensor const& x) {
    return x.use_count() == 1 && x.storage().use_count() == 1 && !(x.is_leaf() && x.requires_grad()) &&
           x.is_non_overlapping_and_dense();
}

inline constexpr char const* second_time =
    "backward: a second time through a graph whose saved tensors were freed; "
    "call the first with retain_graph";

/// A step of the history of a tensor that lies on a grid: with it travel the tensor's codes.
class Carrier : public torch::autograd::Node {
public:
    /// None if there are none, if the graph was freed, or if y was modified since.
    std::optional<Codes> codes(torch::Tensor const& y) {
        std::lock_guard<std::mutex> const lock(mutex_);
        return y._version() == version_ ? codes_ : std::nullopt;
    }

    /// Whether anybody wants y's gradient. If not, y says so all the same: that is how codes travel with an image.
    bool wanted() const {
        return std::ranges::any_of(next_edges(), [](auto const& edge) { return edge.is_valid(); });
    }

    void release_variables() override {
        std::lock_guard<std::mutex> const lock(mutex_);
        codes_.reset(), freed_ = true;
    }

protected:
    explicit Carrier(std::optional<Codes> codes) : codes_(std::move(codes)) {}

    /// Makes this step the last one of y's history. x: what y was computed from, outside autograd.
    template <class Sources>
    static torch::Tensor attach(std::shared_ptr<Carrier> const& step, torch::Tensor y, Sources const& x) {
        step->set_next_edges(torch::autograd::collect_next_edges(x));
        step->version_ = y._version();
        torch::autograd::create_gradient_edge(y, step);
        return y;
    }

    std::optional<Codes> codes_;
    bool freed_ = false;

private:
    std::int64_t version_ = 0;
};

/// dx = bit ? dy : 0
class MaskedGradient final : public Carrier {
public:
    /// Gives y, which was computed from x outside autograd, its history.
    /// mask: a bit for every element of y as it lies in memory; undefined if the gradient passes everywhere.
    static torch::Tensor record(torch::Tensor const& y, torch::Tensor const& x, torch::Tensor mask,
                                std::optional<Codes> codes) {
        auto* step = new MaskedGradient(std::move(mask), y.strides().vec(), std::move(codes));
        return attach(std::shared_ptr<Carrier>(step, torch::autograd::deleteNode), y, x);
    }

    torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
        auto dy = std::move(gradients[0]);
        if (!dy.defined() || !task_should_compute_output(0)) return {torch::Tensor()};
        torch::Tensor mask;
        {
            std::lock_guard<std::mutex> const lock(mutex_);
            TORCH_CHECK(!freed_, second_time);
            mask = mask_;
        }
        if (!mask.defined()) return {dy};
        auto const dx = masked(dy, mask);
        if (torch::GradMode::is_enabled() && dy.requires_grad()) return {record(dx, dy, mask, std::nullopt)};
        return {dx};
    }

    void release_variables() override {
        Carrier::release_variables();
        std::lock_guard<std::mutex> const lock(mutex_);
        mask_.reset();
    }

private:
    MaskedGradient(torch::Tensor mask, std::vector<std::int64_t> strides, std::optional<Codes> codes)
        : Carrier(std::move(codes)), mask_(std::move(mask)), strides_(std::move(strides)) {}

    // The gradient's memory is taken if nobody else can read it.
    torch::Tensor masked(torch::Tensor const& dy, torch::Tensor const& mask) const {
        torch::NoGradGuard no_grad;
        bool const takes = exclusive(dy);
        torch::Tensor in = dy, out;
        if (dy.strides() != torch::IntArrayRef(strides_))
            in = out = torch::empty_strided(dy.sizes(), strides_, dy.options()).copy_(dy);
        else
            out = takes ? dy.tensor_data() : torch::empty_like(dy);
        apply_mask(in.data_ptr<float>(), mask.data_ptr<std::uint8_t>(), in.numel(), out.data_ptr<float>());
        return out;
    }

    torch::Tensor mask_;  // uint8
    std::vector<std::int64_t> strides_;
};
}  // namespace detail
}  // namespace qat
