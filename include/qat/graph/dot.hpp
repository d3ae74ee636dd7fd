#pragma once
// The graph as Graphviz text: dot -Tsvg. Quantizers are written into the nodes, a scale group has one colour.

#include <qat/graph/scale_groups.hpp>

#include <ostream>

namespace qat::graph {

/// groups: results that share a grid are filled with one colour and named g0, g1, ...; none: the network before binding.
inline void write_dot(std::ostream& out, Graph const& graph, std::vector<ScaleGroup> const& groups = {}) {
    std::vector<int> group_of(graph.nodes.size(), -1);
    for (std::size_t k = 0; k < groups.size(); ++k)
        for (int member : groups[k].members) group_of[static_cast<std::size_t>(member)] = static_cast<int>(k);

    out << "digraph network {\n  node [shape=box, fontname=\"Helvetica\", fontsize=10];\n";
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
        Node const& n = graph.nodes[i];
        out << "  n" << i << " [label=\"" << title(n) << "\\n";
        if (!n.path.empty()) out << name(n.op) << ' ';
        if (!n.computes.empty()) out << n.computes << ' ';
        out << text(n.shape);
        if (!n.weights.empty()) out << "\\nweights: " << n.weights;
        if (!n.output.empty()) out << "\\noutput: " << n.output;
        auto const group = group_of[i];
        if (group >= 0) out << "\\nscale group g" << group;
        out << "\"";
        if (group >= 0)  // hues a golden ratio apart stay distinguishable
            out << ", style=filled, fillcolor=\"" << static_cast<double>(group * 618 % 1000) / 1000
                << " 0.25 1.0\"";
        else if (n.requantizes)
            out << ", style=bold";
        out << "];\n";
        for (int from : n.inputs) out << "  n" << from << " -> n" << i << ";\n";
    }
    out << "}\n";
}

}  // namespace qat::graph
