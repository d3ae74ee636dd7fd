#pragma once
// The network as data: what a symbolic forward leaves behind. No LibTorch here.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace qat::nn {
class Producer;
}

namespace qat::graph {

using Shape = std::vector<std::int64_t>;  // [N, C, H, W]

enum class Op { input, quantize, conv, add, concat, max_pool, upsample, anchors };

constexpr std::string_view name(Op op) {
    constexpr std::string_view names[] = {"input",  "quantize", "conv",     "add",
                                          "concat", "max_pool", "upsample", "anchors"};
    return names[static_cast<int>(op)];
}

/// "1x64x80x80"
inline std::string text(Shape const& shape) {
    std::string s;
    for (auto size : shape) s += (s.empty() ? "" : "x") + std::to_string(size);
    return s;
}

struct Node {
    Op op;
    std::string path{};         // of the module, "backbone.c3_2.cv1"; empty for a free function
    std::vector<int> inputs{};  // indices of nodes, all smaller than this one's
    Shape shape{};
    nn::Producer* producer = nullptr;  // whose result this is; null: an operation that only moves numbers
    bool requantizes = false;  // whether the result lies on a grid of the producer's; else on its inputs'
    std::string computes{};    // "3x3/2 relu": what is fused into the node
    std::string weights{}, output{};  // their quantizers, as text
};

class Graph;

/// What flows through a symbolic forward, in place of a tensor.
struct Value {
    Graph* graph;
    int node;
    Shape const& shape() const;
};

class Graph {
public:
    std::vector<Node> nodes;
    std::unordered_map<void const*, std::string> paths;  // of modules by address; filled before the forward

    Node const& operator[](int node) const { return nodes[static_cast<std::size_t>(node)]; }

    Value input(Shape shape) { return record({.op = Op::input, .shape = std::move(shape)}, nullptr, {}); }

    Value record(Node node, void const* module, std::vector<Value> const& inputs) {
        if (auto const found = paths.find(module); found != paths.end()) node.path = found->second;
        for (Value v : inputs) node.inputs.push_back(v.node);
        nodes.push_back(std::move(node));
        return {this, static_cast<int>(nodes.size()) - 1};
    }
};

inline Shape const& Value::shape() const { return (*graph)[node].shape; }

/// The node as people call it: its module's path, or the operation.
inline std::string title(Node const& n) { return n.path.empty() ? std::string(name(n.op)) : n.path; }

}  // namespace qat::graph
