#pragma once
// Which results meet at joins and must share a scale: "pre-binding" of the reference study. Pure graph work.

#include <qat/graph/graph.hpp>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <vector>

namespace qat::graph {

inline bool is_join(Node const& n) { return n.op == Op::add || n.op == Op::concat; }

/// Whether a node without a grid of its own leaves its inputs' values on theirs.
inline bool keeps_grid(Node const& n) { return n.op != Op::conv && n.op != Op::add; }

/// The nodes whose grids a node's result lies on: itself, or, through operations that keep the grid, its inputs'. Empty:
/// it lies on none.
inline std::set<int> origins(Graph const& g, int node) {
    if (g[node].requantizes) return {node};
    if (!keeps_grid(g[node])) return {};
    std::set<int> found;
    for (int input : g[node].inputs) found.merge(origins(g, input));
    return found;
}

/// Whether all of a node's result lies on grids: not where a float branch is concatenated with a quantized one.
inline bool on_grids(Graph const& g, int node) {
    if (g[node].requantizes) return true;
    auto const& inputs = g[node].inputs;
    return keeps_grid(g[node]) && !inputs.empty() &&
           std::all_of(inputs.begin(), inputs.end(), [&](int input) { return on_grids(g, input); });
}

/// Results that must lie on one grid, the first is the owner's; and the joins where they meet.
struct ScaleGroup {
    std::vector<int> members, joins;  // nodes, ascending
};

/// The groups with more than one member, ordered by their first. Meeting is transitive: a chain of additions is one group.
/// with_result: a join's own result belongs to what meets in it.
inline std::vector<ScaleGroup> scale_groups(Graph const& g, bool with_result = false) {
    std::vector<int> parent(g.nodes.size());  // union-find; a root is the first of its group
    std::iota(parent.begin(), parent.end(), 0);
    auto const find = [&](int i) {
        while (parent[static_cast<std::size_t>(i)] != i) i = parent[static_cast<std::size_t>(i)];
        return i;
    };
    auto const inputs_of = [&](int join) {
        std::set<int> found;
        for (int input : g[join].inputs) found.merge(origins(g, input));
        if (with_result && g[join].requantizes) found.insert(join);
        return found;
    };
    auto const count = static_cast<int>(g.nodes.size());
    for (int j = 0; j < count; ++j) {
        if (!is_join(g[j])) continue;
        auto const meeting = inputs_of(j);
        for (int o : meeting) {
            auto const [low, high] = std::minmax({find(*meeting.begin()), find(o)});
            parent[static_cast<std::size_t>(high)] = low;
        }
    }
    std::map<int, ScaleGroup> by_root;
    for (int i = 0; i < count; ++i) {
        if (g[i].requantizes) by_root[find(i)].members.push_back(i);
        if (!is_join(g[i])) continue;
        if (auto const meeting = inputs_of(i); !meeting.empty())
            by_root[find(*meeting.begin())].joins.push_back(i);
    }
    std::vector<ScaleGroup> shared;
    for (auto& [_, group] : by_root)
        if (group.members.size() > 1) shared.push_back(std::move(group));
    return shared;
}

}  // namespace qat::graph
