#pragma once
// What every quantizer of a network does to real data, and which of them do nothing.

#include <qat/calibrate/network.hpp>
#include <qat/calibrate/similarity.hpp>

namespace qat::calibrate {

enum class Finding {
    none,
    not_quantized,    // its format is float
    never_ran,        // it should quantize and was not asked to: switched off, or not part of the forward
    unseen,           // it has no range yet, its scale is the initial one
    changes_nothing,  // what comes out is what went in, bit for bit, though that was not on the grid
};

/// One sentence; empty for none.
inline std::string_view text(Finding f) {
    constexpr std::string_view texts[] = {
        "", "this result is not quantized: its format is float",
        "this quantizer did not quantize anything: it is switched off, or nothing passes it",
        "this quantizer has seen nothing: calibrate first",
        "this quantizer changes nothing: what comes out is what went in, though that was not on its grid"};
    return texts[static_cast<int>(f)];
}

struct QuantizerReport {
    enum class Of { weights, output };
    std::string path;  // of the grid
    Of of = Of::output;
    std::string quantizer;                      // as text
    std::vector<std::string> shared_with = {};  // other producers on the same grid
    Finding finding = Finding::none;
    std::int64_t values = 0;     // numbers that passed, over all batches
    double signal_to_noise = 0;  // decibel; +inf: nothing was changed
    double cosine = 1;
    double clip_rate = 0;     // share of values whose code is not among the levels, as the gradient counts
    double min = 0, max = 0;  // of what went in
    double grid_min = 0, grid_max = 0;  // the widest of the channels' grids
    double scale_min = 0, scale_max = 0;
    std::int64_t zero_point_min = 0, zero_point_max = 0;
    std::int64_t codes = 0, codes_used = 0;  // that the levels allow; that occurred in any channel
    double bits_used() const { return codes_used > 0 ? std::log2(static_cast<double>(codes_used)) : 0; }
};

namespace detail {

class GridWatch {
public:
    GridWatch(nn::Grid const& grid, std::int64_t axis) : grid_(grid), axis_(axis) {}

    void add(torch::Tensor const& x, torch::Tensor const& y) {
        torch::NoGradGuard no_grad;
        if (x.numel() == 0) return;
        similarity_.add(x, y);
        auto const [scale, zero] = aligned(x.dim());
        auto const lo = static_cast<double>(grid_.levels.lo), hi = static_cast<double>(grid_.levels.hi);
        auto const place = x / scale, code = grid_.rounded(place) + zero;
        auto const outside = (code < lo) | (code > hi);
        clipped_ += count(outside);
        // float's own precision is no evidence
        auto const off = (place - torch::round(place)).abs() > 1e-3 + 1e-6 * place.abs();
        off_grid_ += count(off | outside);
        unchanged_ += count(x == y);
        auto const codes = (torch::round(y / scale) + zero - lo).clamp(0.0, hi - lo).to(torch::kLong);
        auto const occurs =
            torch::bincount(codes.flatten().to(torch::kCPU), {}, grid_.levels.hi - grid_.levels.lo + 1) > 0;
        used_ = used_.defined() ? used_ | occurs : occurs;
        auto const [low, high] = torch::aminmax(x);
        min_ = std::min(min_, low.item<double>()), max_ = std::max(max_, high.item<double>());
    }

    void write(QuantizerReport& r) const {
        auto const [scale, zero] = aligned(1);
        auto const lo = static_cast<double>(grid_.levels.lo), hi = static_cast<double>(grid_.levels.hi);
        r.grid_min = (scale * (lo - zero)).min().item<double>(),
        r.grid_max = (scale * (hi - zero)).max().item<double>();
        r.scale_min = scale.min().item<double>(), r.scale_max = scale.max().item<double>();
        r.zero_point_min = zero.min().item<std::int64_t>(),
        r.zero_point_max = zero.max().item<std::int64_t>();
        r.codes = grid_.levels.hi - grid_.levels.lo + 1;
        r.values = similarity_.values();
        if (r.values == 0) {
            r.finding = Finding::never_ran;
            return;
        }
        r.signal_to_noise = similarity_.signal_to_noise(), r.cosine = similarity_.cosine();
        r.clip_rate = static_cast<double>(clipped_) / static_cast<double>(r.values);
        r.min = min_, r.max = max_, r.codes_used = count(used_);
        if (grid_.unseen()) r.finding = Finding::unseen;
        if (unchanged_ == r.values && off_grid_ > 0) r.finding = Finding::changes_nothing;
    }

private:
    static std::int64_t count(torch::Tensor const& which) { return which.sum().item<std::int64_t>(); }

    // Scale and zero point so that they meet the channels of a tensor with so many dimensions.
    std::pair<torch::Tensor, torch::Tensor> aligned(std::int64_t dimensions) const {
        auto const [scale, zero] = grid_.by_channel();
        if (scale.numel() == 1) return {scale.reshape({}), zero.reshape({})};
        std::vector<std::int64_t> shape(static_cast<std::size_t>(dimensions), 1);
        shape[dimensions > axis_ ? static_cast<std::size_t>(axis_) : 0] = -1;
        return {scale.reshape(shape), zero.reshape(shape)};
    }

    nn::Grid const& grid_;
    std::int64_t axis_;
    Similarity similarity_;
    std::int64_t clipped_ = 0, off_grid_ = 0, unchanged_ = 0;
    double min_ = std::numeric_limits<double>::infinity(), max_ = -min_;
    torch::Tensor used_;  // [codes], bool
};
}  // namespace detail

/// Every quantizer in the order of the forward, weights before outputs, with what it did to these batches. The network runs
/// in evaluation as it is: what is switched off stays off, and is reported. A grid that several share is one entry.
/// A concatenation whose inputs lie on one grid has none of its own, and none is missed.
inline std::vector<QuantizerReport> report(Network& n, Batches const& batches) {
    require_batches(batches, "report");
    torch::NoGradGuard no_grad;
    using Of = QuantizerReport::Of;
    std::vector<QuantizerReport> reports;
    std::vector<std::unique_ptr<detail::GridWatch>> watches;  // one for each report; null: float
    std::map<nn::Grid const*, std::size_t> known;
    std::set<nn::Producer const*> in_graph;
    Restore const restore(n.module);
    auto const take = [&](nn::Grid& grid, std::string const& path, Of of) {
        if (auto const found = known.find(&grid); found != known.end() && grid.quantized()) {
            reports[found->second].shared_with.push_back(path);
            return;
        }
        known.emplace(&grid, reports.size());
        auto& r = reports.emplace_back();
        r.path = path + (of == Of::weights ? ".weight_grid" : ".output"), r.of = of,
        r.quantizer = grid.describe();
        auto& watch = watches.emplace_back();
        if (!grid.quantized()) {
            r.finding = Finding::not_quantized;
            return;
        }
        watch = std::make_unique<detail::GridWatch>(grid, of == Of::weights ? 0 : 1);
        grid.probe = [w = watch.get(), before = grid.probe](torch::Tensor const& x, torch::Tensor const& y) {
            if (before) before(x, y);
            w->add(x, y);
        };
    };
    auto const lies_on_its_inputs_grid = [&](std::size_t node) {
        std::set<nn::Grid const*> grids;
        for (int o : graph::origins(n.graph, static_cast<int>(node)))
            grids.insert(n.graph[o].producer->grid().get());
        return grids.size() == 1 && graph::on_grids(n.graph, static_cast<int>(node));
    };
    for (std::size_t i = 0; i < n.graph.nodes.size(); ++i) {
        auto const& node = n.graph.nodes[i];
        if (!node.producer || !in_graph.insert(node.producer).second) continue;
        if (auto const weight = node.producer->quantized_weight())
            take(*weight->grid, graph::title(node), Of::weights);
        if (node.requantizes || !lies_on_its_inputs_grid(i))
            take(*node.producer->grid(), graph::title(node), Of::output);
    }
    for (auto const& item : n.module.named_modules())  // a float input is not in the graph
        if (auto* p = dynamic_cast<nn::Producer*>(item.value().get()); p && !in_graph.contains(p))
            take(*p->grid(), item.key(), Of::output);
    n.module.eval();
    for (auto const& batch : batches) n.forward(batch);
    for (std::size_t i = 0; i < reports.size(); ++i)
        if (watches[i]) watches[i]->write(reports[i]);
    return reports;
}

}  // namespace qat::calibrate
