#pragma once
// Before training: find out which results meet, and let those share one grid ("pre-bind" of the reference study).

#include <qat/graph/scale_groups.hpp>
#include <qat/nn/producer.hpp>

namespace qat::nn {

/// Results on one grid by their paths, the owner first. joins: where they meet.
struct ScaleGroup {
    std::vector<std::string> members, joins;
    std::shared_ptr<Grid> grid;
};

/// The network as a graph. The graph points into the model and must not outlive it.
template <class Model> graph::Graph trace(Model& model, graph::Shape input) {
    graph::Graph g;
    for (auto const& item : model->named_modules()) g.paths[item.value().get()] = item.key();
    model(g.input(std::move(input)));
    return g;
}

/// Makes all producers that meet at a join share the grid of the first. Idempotent. with_result: and the join's own.
/// range: whose range the grid has.
inline std::vector<ScaleGroup> align_joins(graph::Graph const& g, bool with_result = false,
                                           SharedRange range = SharedRange::whole) {
    std::vector<ScaleGroup> groups;
    for (auto const& nodes : graph::scale_groups(g, with_result)) {
        auto& group = groups.emplace_back();
        Producer const& owner = *g[nodes.members.front()].producer;
        group.grid = owner.grid();
        // The results of the joins: an addition's own, and what a concatenation puts side by side.
        graph::NodeSet results;
        for (int join : nodes.joins)
            for (int input : g[join].inputs)
                if (g[join].op == graph::Op::concat) graph::insert_origins(results, g, input);
        for (int member : nodes.members)
            if (graph::is_join(g[member])) graph::insert(results, member);
        bool const all = range != SharedRange::result || results.empty();  // the addition may be in float
        for (int member : nodes.members) {
            g[member].producer->share_grid_of(owner, range);
            g[member].producer->set_counts(all || graph::contains(results, member));
            group.members.push_back(g[member].path);
        }
        for (int join : nodes.joins) group.joins.push_back(g[join].path);
    }
    return groups;
}

/// The one grid that all these nodes' results lie on; null where they lie on several, or a part of them on none.
inline std::shared_ptr<Grid> common_grid(graph::Graph const& g, std::vector<int> const& nodes) {
    std::shared_ptr<Grid> common;
    for (int node : nodes) {
        if (!graph::on_grids(g, node)) return nullptr;
        for (int o : graph::origins(g, node)) {
            auto const& grid = g[o].producer->grid();
            if (common && common != grid) return nullptr;
            common = grid;
        }
    }
    return common;
}

/// Tells every producer the grid of what it reads, where that is one grid. After align_joins.
inline void bind_inputs(graph::Graph const& g) {
    for (auto const& n : g.nodes)
        if (n.producer && n.inputs.size() == 1) n.producer->reads(common_grid(g, n.inputs));
}

/// The joins whose branches lie on more than one grid, or some in float and some not: none after bind() under AlignInputs,
/// but for exceptions.
inline std::vector<std::string> misaligned_joins(graph::Graph const& g) {
    std::vector<std::string> paths;
    for (auto const& n : g.nodes) {
        if (!graph::is_join(n)) continue;
        graph::NodeSet meeting;
        for (int input : n.inputs) graph::insert_origins(meeting, g, input);
        if (!meeting.empty() && !common_grid(g, n.inputs)) paths.push_back(n.path);
    }
    return paths;
}

/// Applies the model's join policy, and its bias's. Call once after construction, before load, copies or the optimizer.
/// Unaligned: there are no groups.
template <class Model> std::vector<ScaleGroup> bind(Model& model, graph::Shape input = {1, 3, 64, 64}) {
    using A = typename Model::ContainedType::arithmetic;
    std::vector<ScaleGroup> groups;
    if constexpr (A::join::aligned)
        groups = align_joins(trace(model, input), A::join::with_result, A::join::range);
    if constexpr (A::bias::on_accumulator) bind_inputs(trace(model, input));
    return groups;
}

/// Parameters and buffers by name. requires: both built and bound the same way.
inline void copy_state(torch::nn::Module const& from, torch::nn::Module& to) {
    torch::NoGradGuard no_grad;
    auto const copy_all = [](auto const& source, auto target) {
        TORCH_CHECK(source.size() == target.size(), "copy_state: ", source.size(), " tensors do not fit ",
                    target.size(), "; bind both models before");
        for (auto const& item : source) target[item.key()].copy_(item.value());
    };
    copy_all(from.named_parameters(), to.named_parameters());
    copy_all(from.named_buffers(), to.named_buffers());
}

/// A copy with its own parameters and the same sharing: build, bind, copy values by name.
/// (torch's clone() cannot know what is shared.) input: as for bind.
template <class Model> Model replicate(Model const& model, graph::Shape input = {1, 3, 64, 64}) {
    Model copy(model->options);
    bind(copy, std::move(input));
    copy->to(model->parameters().front().device());
    copy_state(*model, *copy);
    return copy;
}

}  // namespace qat::nn
