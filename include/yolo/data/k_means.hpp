#pragma once
// k-means of points in the plane: where the anchors of a data set begin. No LibTorch.

#include <yolo/data/random.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace yolo {

struct PlanePoint {
    float x = 0, y = 0;
};

struct KMeansResult {
    std::vector<PlanePoint> centres;  // fewer than asked for where there are fewer different points
    double distortion = 0;            // mean squared distance between a point and its centre
};

namespace detail {

/// Points in blocks of a fixed length, one array a coordinate: loops which the compiler makes wide without being
/// allowed to change the order of a sum.
struct PointBlocks {
    static constexpr std::size_t length = 64;
    struct Block {
        std::array<float, length> x{}, y{};
        std::size_t used = 0;
    };
    std::vector<Block> blocks;

    explicit PointBlocks(std::span<PlanePoint const> points) : blocks((points.size() + length - 1) / length) {
        for (std::size_t i = 0; i < points.size(); ++i) {
            Block& block = blocks[i / length];
            block.x[i % length] = points[i].x, block.y[i % length] = points[i].y, ++block.used;
        }
    }
};

/// One round of Lloyd: every point to its nearest centre, every centre to the mean of its points; a centre without
/// points stays. Returns the distortion before the centres moved.
inline double lloyd_round(PointBlocks const& points, std::vector<PlanePoint>& centres) {
    constexpr auto length = PointBlocks::length;
    struct Sum {
        double x = 0, y = 0, count = 0;
    };
    std::vector<Sum> sums(centres.size());
    double total = 0, count = 0;
    for (auto const& block : points.blocks) {
        std::array<float, length> nearest;
        std::array<std::int32_t, length> owner{};
        nearest.fill(std::numeric_limits<float>::infinity());
        for (std::size_t c = 0; c < centres.size(); ++c) {
            float const cx = centres[c].x, cy = centres[c].y;
            auto const own = static_cast<std::int32_t>(c);
            for (std::size_t i = 0; i < length; ++i) {
                float const dx = block.x[i] - cx, dy = block.y[i] - cy, distance = dx * dx + dy * dy;
                auto const nearer =
                    -static_cast<std::int32_t>(distance < nearest[i]);  // all bits or none: no branch
                owner[i] = (owner[i] & ~nearer) | (own & nearer);
                nearest[i] = distance < nearest[i] ? distance : nearest[i];
            }
        }
        for (std::size_t i = 0; i < block.used; ++i) {
            Sum& sum = sums[static_cast<std::size_t>(owner[i])];
            sum.x += block.x[i], sum.y += block.y[i], sum.count += 1;
            total += nearest[i];
        }
        count += static_cast<double>(block.used);
    }
    for (std::size_t c = 0; c < centres.size(); ++c)
        if (sums[c].count > 0)
            centres[c] = {static_cast<float>(sums[c].x / sums[c].count),
                          static_cast<float>(sums[c].y / sums[c].count)};
    return total / count;
}

/// First centres after Arthur and Vassilvitskii 2007 (k-means++): a point is drawn with the square of its distance to
/// the centres before it.
inline std::vector<PlanePoint> spread_centres(std::span<PlanePoint const> points, std::size_t count,
                                              Random& random) {
    std::vector<PlanePoint> centres{points[static_cast<std::size_t>(random.integer(points.size()))]};
    std::vector<float> nearest(points.size(), std::numeric_limits<float>::infinity());
    while (centres.size() < count) {
        auto const [cx, cy] = centres.back();
        double total = 0;
        for (std::size_t i = 0; i < points.size(); ++i) {
            float const dx = points[i].x - cx, dy = points[i].y - cy;
            nearest[i] = std::min(nearest[i], dx * dx + dy * dy);
            total += nearest[i];
        }
        if (!(total > 0)) break;  // no other point is left
        double rest = random.uniform() * total;
        std::size_t chosen = 0;
        for (std::size_t i = 0; i < points.size(); ++i) {
            if (!(nearest[i] > 0)) continue;
            chosen = i;
            if ((rest -= nearest[i]) < 0) break;
        }
        centres.push_back(points[chosen]);
    }
    return centres;
}

}  // namespace detail

/// The best of several runs from different first centres, each until a round improves the distortion by no more than
/// 1e-5 (for points of variance 1, as scipy.cluster.vq.kmeans; that draws its first centres uniformly, which misses
/// small clusters more often).
/// requires: finite points, at least one; count and runs at least 1.
inline KMeansResult k_means(std::span<PlanePoint const> points, std::size_t count, int runs, Random& random) {
    constexpr double enough = 1e-5;
    constexpr int most_rounds = 1000;
    detail::PointBlocks const blocks(points);
    KMeansResult best{{}, std::numeric_limits<double>::infinity()};
    for (int run = 0; run < runs; ++run) {
        auto centres = detail::spread_centres(points, count, random), moved = centres;
        double distortion = detail::lloyd_round(blocks, moved);
        for (int round = 0; round < most_rounds; ++round) {
            centres = moved;
            double const before = distortion;
            distortion = detail::lloyd_round(blocks, moved);
            if (before - distortion <= enough) break;
        }
        if (distortion < best.distortion) best = {std::move(centres), distortion};
    }
    return best;
}

}  // namespace yolo
