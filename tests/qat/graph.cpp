// The network as data. No LibTorch.

#include <doctest/doctest.h>

#include <qat/graph/dot.hpp>

#include <sstream>

using namespace qat::graph;

namespace {
// in -> a, b (convolutions) ; pool(a) ; concat(pool, b) ; add(concat, c) ; d alone
struct Example {
    Graph g;
    Value in = g.input({1, 8, 4, 4});
    Value a = conv("a"), b = conv("b"), c = conv("c"), d = conv("d");
    Value pool = g.record({.op = Op::max_pool, .shape = {1, 8, 4, 4}}, nullptr, {a});
    Value concat = g.record({.op = Op::concat, .path = "concat", .shape = {1, 16, 4, 4}}, nullptr, {pool, b});
    Value add = g.record({.op = Op::add, .path = "add", .shape = {1, 16, 4, 4}, .requantizes = true}, nullptr,
                         {concat, c});

    Value conv(std::string path) {
        return g.record({.op = Op::conv,
                         .path = std::move(path),
                         .shape = {1, 8, 4, 4},
                         .requantizes = true,
                         .output = "int8"},
                        nullptr, {in});
    }
};
}  // namespace

TEST_CASE("a result's origins are seen through operations that keep the grid") {
    Example e;
    CHECK(origins(e.g, e.pool.node) == NodeSet{e.a.node});
    CHECK(origins(e.g, e.concat.node) == NodeSet{e.a.node, e.b.node});
    CHECK(origins(e.g, e.add.node) == NodeSet{e.add.node});
    CHECK(origins(e.g, e.in.node).empty());
}

TEST_CASE("everything that meets, directly or through others, is one group; what meets nothing is none") {
    Example e;
    auto const groups = scale_groups(e.g);
    REQUIRE(groups.size() == 1);
    CHECK(groups[0].members == std::vector{e.a.node, e.b.node, e.c.node});
    CHECK(groups[0].joins == std::vector{e.concat.node, e.add.node});
}

TEST_CASE("Graphviz gets every node, its quantizer and its group") {
    Example e;
    std::ostringstream plain, grouped;
    write_dot(plain, e.g);
    write_dot(grouped, e.g, scale_groups(e.g));
    for (auto const* text :
         {"digraph network", "a\\nconv 1x8x4x4\\noutput: int8", "max_pool\\n1x8x4x4", "n1 -> n5"}) {
        CHECK(plain.str().find(text) != std::string::npos);
        CHECK(grouped.str().find(text) != std::string::npos);
    }
    CHECK(plain.str().find("scale group") == std::string::npos);
    CHECK(grouped.str().find("scale group g0") != std::string::npos);
}
