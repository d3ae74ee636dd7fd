#pragma once
// A module that puts tensors on a grid: observer, scale and fake quantization together. torch.ao: FakeQuantize.

#include <qat/core/describe.hpp>
#include <qat/nn/grid.hpp>
#include <qat/nn/handle.hpp>
#include <qat/nn/observation.hpp>
#include <qat/ops/codes.hpp>
#include <qat/ops/fused.hpp>
#include <qat/ops/learned.hpp>
#include <qat/ops/learned/threshold_freeze.hpp>

#include <optional>

namespace qat::nn {

/// storage: whether the result may take the argument's memory. counts: whether the range takes it in. codes: whether the
/// result carries its 8-bit codes.
struct ResultOptions {
    Storage storage = Storage::fresh;
    bool counts = true, codes = false;
};

/// An estimator that trains its grid starts with the one that the observer chose for the first tensor seen in training, or
/// for all that it watched before quantization started.
/// State: scale, zero_point and the observer's ([] or [G] each); none at all if the format is Float. Until something was
/// seen the scale is 1. G: the number of scales: channels of the scheme's axis, or groups of them. What is trained is a
/// parameter of its own (step, offset, log2_threshold or clip) which scale and zero_point follow in refresh().
template <QuantizerSpec Spec> class FakeQuantizeImpl final : public Grid {
    using F = typename Spec::format;
    using S = typename Spec::scheme;
    using O = typename Spec::observer;

public:
    using spec = Spec;

    /// channels: size of the scheme's axis; not used by per-tensor schemes. group_of: of every channel, the group whose
    /// scale it uses, for PerRole.
    explicit FakeQuantizeImpl(std::int64_t channels = 1, std::vector<std::int64_t> group_of = {}) {
        if constexpr (F::quantized) {
            levels = levels_of<F>;
            std::vector<std::int64_t> shape;
            if (S::per_channel) shape.push_back(channels);
            if constexpr (S::grouped) {
                if (!S::roles)
                    for (std::int64_t c = 0; c < channels; ++c) group_of.push_back(c / S::group_size);
                TORCH_CHECK(static_cast<std::int64_t>(group_of.size()) == channels,
                            "FakeQuantize: ", channels, " channels, but roles of ", group_of.size(),
                            "; give every channel a group");
                shape = {*std::max_element(group_of.begin(), group_of.end()) + 1};
                group_of_ = torch::tensor(group_of, torch::kLong);
                auto const members = torch::bincount(group_of_).index_select(0, group_of_);
                of_group_ = torch::rsqrt(members.to(torch::kFloat));
            }
            scale = register_buffer("scale", torch::ones(shape));
            zero_point = register_buffer("zero_point", torch::zeros(shape, torch::kInt));
            observation_.emplace(*this, shape);
            if constexpr (O::fixed) move();
            if constexpr (learns) {
                learned_ = initial_parameter<Spec>(GridTensors{scale, zero_point}, levels);
                learned_.parameter = register_parameter(parameter_name(), learned_.parameter);
                if (learned_.offset.defined())
                    learned_.offset = register_parameter("offset", learned_.offset);
                started_ = register_buffer("started", torch::zeros({}, torch::kBool));
            }
        }
    }

    bool quantized() const override { return F::quantized; }
    bool fixed() const override { return F::quantized && O::fixed; }
    bool power_of_two() const override { return Spec::scale::power_of_two; }
    std::vector<std::pair<std::string, torch::Tensor>> memory() override {
        if constexpr (F::quantized && Spec::estimator::learns == Learns::log2_threshold)
            if (running_) return guard().state();
        return {};
    }
    std::string describe() const override { return qat::describe<Spec>(); }
    void share(SharedRange range) override {
        if constexpr (F::quantized)
            TORCH_CHECK(
                range != SharedRange::largest || !Observation<Spec>::wants_values,
                "share: the largest range is known by its ends, and ", describe(),
                " looks at the values of all; use MinMax or MovingAverageMinMax, or SharedRange::whole");
        each_step_ = true, range_ = range;
    }
    torch::Tensor learned() const override { return learned_.parameter; }
    void freeze_learned() override {
        for (auto const& p : parameters(/*recurse=*/false)) freeze(p);
    }
    void before_update() override {
        if (guard_) guard_->mask(learned_.parameter);
    }
    void after_update() override {
        if constexpr (learns)
            if (running_ && mode == GridMode::quantize) follow_learned();
    }
    bool unseen() const override {
        if constexpr (learns) return !started_.template item<bool>();
        if constexpr (F::quantized) return !observation_->known().all().template item<bool>();
        return false;
    }

    std::pair<torch::Tensor, torch::Tensor> by_channel() const override {
        auto const g = expanded();
        return {g.scale, g.zero_point};
    }
    torch::Tensor rounded(torch::Tensor const& t) const override {
        using Rounding = typename Spec::rounding;
        if constexpr (requires { fallback::round(Rounding{}, t, {}); })
            return fallback::round(Rounding{}, t, {});
        else
            return torch::round(t);
    }

    void set_bits(int bits, bool rescale) override {
        if constexpr (F::quantized) {
            if (bits >= F::bits) return;
            if (rescale) refresh();  // what was seen was measured on the integers from before
            auto const half = std::int64_t{1} << (bits - 1);
            auto const before =
                std::exchange(levels, F::is_signed ? Levels{F::lo == -F::hi ? 1 - half : -half, half - 1}
                                                   : Levels{0, 2 * half - 1});
            observation_->use(levels, rescale);
            if (!rescale) return;
            if constexpr (learns)
                change_levels<Spec>(learned_, before, levels), adopt_learned();
            else
                move();
        }
    }

    void widen(torch::Tensor const& before, torch::Tensor const& after) override {
        if constexpr (F::quantized && (learns || !O::fixed)) {
            if (unseen()) return;
            torch::NoGradGuard no_grad;
            auto const reach = [this](torch::Tensor const& t) {
                auto const ends = grouped(range<S>(t));
                return torch::maximum(-ends.min, ends.max);
            };
            auto ratio = reach(after) / reach(before);  // all of a channel may be 0
            ratio = torch::where(torch::isfinite(ratio) & (ratio > 0), ratio, torch::ones_like(ratio));
            bool const powers = Spec::scale::power_of_two;
            // The scale may be another than the observer's choice, in an average.
            auto const chosen = powers ? scale == observation_->choose(levels).scale : torch::Tensor();
            if constexpr (!O::fixed) observation_->widen(ratio);
            if constexpr (learns) {
                qat::widen<Spec>(learned_, ratio), guard_.reset(), adopt_learned();
            } else if (powers) {
                auto const octaves = torch::ldexp(torch::ones_like(ratio), torch::round(torch::log2(ratio)));
                scale.copy_(torch::where(chosen, observation_->choose(levels).scale, scale * octaves));
            } else {
                scale.mul_(ratio);
            }
        }
    }

    /// x on the grid, in float32; in training mode the range takes it in before.                              x's shape
    torch::Tensor forward(torch::Tensor const& x) override { return forward(Identity{}, x, {}); }

    /// The activation of x on the grid.
    template <class Activation>
    torch::Tensor forward(Activation activation, torch::Tensor const& x, ResultOptions const& options) {
        if constexpr (!F::quantized) {
            return activate(activation, x);
        } else if constexpr (!masks<Activation>()) {
            auto next = options;
            next.storage = overwritable<Activation>() ? Storage::reuse : Storage::fresh;
            return forward(Identity{}, activate(activation, x), next);
        } else {
            // Autocast may hand in half precision: ranges and grids are float32 always. (A second handle of x would
            // keep its memory from being reused.)
            if (x.scalar_type() != torch::kFloat) return on_grid(activation, x.to(torch::kFloat), options);
            return on_grid(activation, x, options);
        }
    }

    void refresh() override {
        if constexpr (learns) {
            if (mode == GridMode::observe) return watch();
            if (!running_) start({}, false);
            if (running_) adopt_learned();
        } else if constexpr (F::quantized) {
            follow();
        }
    }

private:
    template <class A> static constexpr bool masks() {
        if constexpr (requires { A::masks; }) return A::masks;
        return false;
    }
    template <class A> static constexpr bool overwritable() {
        if constexpr (requires { A::saves_result; }) return !A::saves_result;
        return false;
    }

    static constexpr bool learns = Spec::estimator::learns != Learns::nothing && F::quantized;
    static constexpr char const* parameter_name() {
        constexpr auto what = Spec::estimator::learns;
        return what == Learns::log2_threshold ? "log2_threshold" : what == Learns::clip ? "clip" : "step";
    }

    std::optional<Observation<Spec>> observation_;
    LearnedTensors learned_;                // [] or [G]
    torch::Tensor started_;                 // bool []: the parameter has its first value
    bool running_ = false;                  // the same, known without asking the device
    std::optional<ThresholdFreeze> guard_;  // of trained thresholds
    mutable torch::Tensor group_of_;  // [C] of a grouped scheme, on the scale's device; in no checkpoint
    mutable torch::Tensor of_group_;  // [C] 1 / sqrt(channels of the channel's group)
    bool each_step_ = Spec::movement::when == each_step;
    SharedRange range_ = SharedRange::whole;

    template <class Activation>
    torch::Tensor on_grid(Activation activation, torch::Tensor const& x, ResultOptions const& options) {
        if (mode == GridMode::bypass) return activate(activation, x);
        bool const observes = !O::fixed && is_training() && observing && options.counts;
        if (mode != GridMode::quantize) {
            auto const y = activate(activation, x);
            // What moves with each forward sees the first batch when it is trained on; it would count twice.
            if (observes && (each_step_ || mode == GridMode::observe)) see(range<S>(y), y);
            if (!each_step_) refresh();
            return y;
        }
        if constexpr (learns) {
            auto const y = activate(activation, x);
            if (!running_) start(y, observes);
            auto const learned = expanded_learned();
            auto const q = learned_quantize<Spec>(y, learned, levels, shares(y));
            if (probe) probe(y, q);
            if (S::per_channel || !options.codes) return q;
            return with_codes(q, grid_of_parameter<Spec>(learned, levels),
                              levels);  // its own tensors: they stay
        }
        FusedOptions fused{.storage = options.storage, .codes = options.codes, .noise = is_training()};
        bool const now = observes && !each_step_;  // the grid moves before the tensor is put on it
        if (probe ||
            (observes && Observation<Spec>::wants_values)) {  // somebody wants to see the values themselves
            auto const y = activate(activation, x);
            if (observes) see(range<S>(y), y);
            if (now) refresh();
            fused.storage = Storage::fresh;
            auto const q = activate_and_quantize<Identity, Spec>(y, expanded(), levels, fused);
            if (probe) probe(y, q);
            return q;
        }
        if (now) {
            see(activated_range<Activation, S>(x), {});
            refresh();
        }
        RangeTensors seen;
        if (observes && !now) fused.seen = &seen;
        auto const q = activate_and_quantize<Activation, Spec>(x, expanded(), levels, fused);
        if (fused.seen) see(seen, {});
        return q;
    }

    // The parameter gets its first value, from the grid that the observer chose, unless it was read from a file.
    void start(torch::Tensor const& y, bool observes) {
        torch::NoGradGuard no_grad;
        if (!started_.template item<bool>()) {
            if (observes && !each_step_) see(range<S>(y), y);
            if (!follow()) move();
            begin_with_observed();
            if (!started_.template item<bool>()) return;
        }
        running_ = true;
        adopt_learned();
    }

    // Before quantization starts the parameter follows the observer, also one that was read from a file.
    void watch() {
        torch::NoGradGuard no_grad;
        if constexpr (O::fixed) {  // nothing will be seen
            if (!running_) start({}, false);
        } else if (follow()) {
            begin_with_observed();
        }
    }

    // Where something was seen. Nobody waits for a device.
    void begin_with_observed() {
        auto const known = observation_->known();
        auto const first = initial_parameter<Spec>(GridTensors{scale, zero_point}, levels);
        auto const begin = [&](torch::Tensor const& p, torch::Tensor const& value) {
            p.copy_(torch::where(known, value, p));
        };
        begin(learned_.parameter, first.parameter);
        if (learned_.offset.defined()) begin(learned_.offset, first.offset);
        guard_.reset();
        started_.logical_or_(known.all());
    }

    ThresholdFreeze& guard() {
        if (!guard_) guard_.emplace(learned_.parameter, Spec::scale::way, levels);
        return *guard_;
    }

    // Thresholds that only oscillate are frozen, and the grid is the parameter's.
    void follow_learned() {
        if constexpr (Spec::estimator::learns == Learns::log2_threshold) {
            guard().follow(learned_.parameter);
        }
        adopt_learned();
    }

    void adopt_learned() { grid_of_parameter<Spec>(learned_, levels, {scale, zero_point}); }

    // N of LearnedStep's factor 1 / sqrt(N hi), for a scale; of a grouped scheme, for a channel: the weights that share the
    // scale, or the features of one image. Esser et al. 2020, arXiv:1902.08153, section 2.2 and its appendix's
    // nweights(v), nfeatures(v).
    std::int64_t shares(torch::Tensor const& x) const {
        bool const images = !of_weights && x.dim() > 1 && !(S::per_channel && S::axis == 0);
        auto const channels = group_of_.defined() ? group_of_.numel() : scale.numel();
        return x.numel() / std::max<std::int64_t>(1, channels * (images ? x.size(0) : 1));
    }

    LearnedTensors expanded_learned() const {
        if (!group_of_.defined()) return learned_;
        auto const& index = group_of();
        auto parameter = learned_.parameter.index_select(0, index);
        if constexpr (Spec::estimator::learns == Learns::step)
            if (parameter.requires_grad())  // a group's N is that of a channel times its channels
                parameter.register_hook(
                    [factor = of_group_](torch::Tensor const& gradient) { return gradient * factor; });
        return {parameter,
                learned_.offset.defined() ? learned_.offset.index_select(0, index) : torch::Tensor()};
    }

    torch::Tensor const& group_of() const {  // moves along with the module, once
        if (group_of_.device() != scale.device())
            group_of_ = group_of_.to(scale.device()), of_group_ = of_group_.to(scale.device());
        return group_of_;
    }

    // Of every channel; the groups' own where channels do not share.
    GridTensors expanded() const {
        if (!group_of_.defined()) return {scale, zero_point};
        return {scale.index_select(0, group_of()), zero_point.index_select(0, group_of())};
    }

    // Extremes of every channel become those of the groups.
    RangeTensors grouped(RangeTensors const& extremes) const {
        if (!group_of_.defined()) return extremes;
        auto const& index = group_of();
        auto const groups = torch::arange(scale.numel(), index.options()).unsqueeze(1);
        auto const member = index.unsqueeze(0) == groups;  // [G, C]
        auto const inf = torch::full_like(extremes.min, std::numeric_limits<float>::infinity());
        return {torch::where(member, extremes.min, inf).amin(1),
                torch::where(member, extremes.max, -inf).amax(1)};
    }

    void see(RangeTensors const& of_channels, torch::Tensor const& values) {
        torch::NoGradGuard no_grad;
        auto const extremes = grouped(of_channels);
        if constexpr (Observation<Spec>::wants_values)
            observation_->see(extremes, values, group_of_);
        else
            observation_->see(extremes, range_ == SharedRange::largest);
    }

    // The range takes in what was seen, and the grid covers it. False if nothing was seen.
    bool follow() {
        if constexpr (requires { observation_->follow({scale, zero_point}, levels); }) {
            return observation_->follow({scale, zero_point}, levels);
        } else {
            if (!observation_->follow()) return false;
            move();
            return true;
        }
    }

    void move() {
        torch::NoGradGuard no_grad;
        auto const known = observation_->known();
        auto const grid = observation_->choose(levels);
        detail::adopt(scale, grid.scale, known), detail::adopt(zero_point, grid.zero_point, known);
    }
};
template <QuantizerSpec Spec> using FakeQuantize = Handle<FakeQuantizeImpl<Spec>>;

}  // namespace qat::nn
