#pragma once
// Which results meet at joins and must share a scale: "pre-binding" of the reference study. Pure graph work.

#include <qat/graph/graph.hpp>

#include <algorithm>
#include <numeric>
#include <vector>

namespace qat::graph {

inline bool is_join(Node const& n) { return n.op == Op::add || n.op == Op::concat; }

/// Whether a node without a grid of its own leaves its inputs' values on theirs.
inline bool keeps_grid(Node const& n) { return n.op != Op::conv && n.op != Op::add; }

/// Nodes, ascending, each once. A sorted vector: whoever includes this would pay for compiling std::set.
using NodeSet = std::vector<int>;

inline bool contains(NodeSet const& set, int node) {
    return std::binary_search(set.begin(), set.end(), node);
}
inline void insert(NodeSet& set, int node) {
    auto const at = std::lower_bound(set.begin(), set.end(), node);
    if (at == set.end() || *at != node) set.insert(at, node);
}

inline void insert_origins(NodeSet& found, Graph const& g, int node) {
    if (g[node].requantizes)
        insert(found, node);
    else if (keeps_grid(g[node]))
        for (int input : g[node].inputs) insert_origins(found, g, input);
}

/// The nodes whose grids a node's result lies on: itself, or, through operations that keep the grid, its inputs'. Empty:
/// it lies on none.
inline NodeSet origins(Graph const& g, int node) {
    NodeSet found;
    insert_origins(found, g, node);
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
    NodeSet members, joins;
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
        NodeSet found;
        for (int input : g[join].inputs) insert_origins(found, g, input);
        if (with_result && g[join].requantizes) insert(found, join);
        return found;
    };
    auto const count = static_cast<int>(g.nodes.size());
    for (int j = 0; j < count; ++j) {
        if (!is_join(g[j])) continue;
        auto const meeting = inputs_of(j);
        for (int o : meeting) {
            int const a = find(meeting.front()), b = find(o);
            parent[static_cast<std::size_t>(std::max(a, b))] = std::min(a, b);
        }
    }
    std::vector<ScaleGroup> by_root(g.nodes.size());
    auto const group_of = [&](int i) -> ScaleGroup& { return by_root[static_cast<std::size_t>(find(i))]; };
    for (int i = 0; i < count; ++i) {
        if (g[i].requantizes) group_of(i).members.push_back(i);
        if (!is_join(g[i])) continue;
        if (auto const meeting = inputs_of(i); !meeting.empty()) group_of(meeting.front()).joins.push_back(i);
    }
    std::vector<ScaleGroup> shared;
    for (auto& group : by_root)
        if (group.members.size() > 1) shared.push_back(std::move(group));
    return shared;
}

}  // namespace qat::graph
