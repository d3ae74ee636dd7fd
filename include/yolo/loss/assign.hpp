#pragma once
// Which cells and anchors of one level are asked to predict which labelled boxes. No LibTorch: a plain loop
// over the labels on the CPU, so that a step on a GPU never waits to learn how many there are.

#include <yolo/model/options.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace yolo {

/// A row of a batch's targets, as the loader gives them: sizes and centre are fractions of the image.
struct TargetRow {
    float image, cls, x, y, width, height;
};

/// Shape of a level's predictions without the columns.
struct LevelShape {
    std::int64_t images, height, width;
};

/// One cell and anchor that has a box to predict. Lengths in cells of the level.
struct Positive {
    std::int64_t image, anchor, row, column;
    std::int64_t cls;
    float x, y;  // centre of the box from the cell's corner; about (-0.5, 1.5)
    float width, height;
    float anchor_width, anchor_height;
};

/// A box goes to every anchor whose sides differ from its own by less than a factor, in the cell of its
/// centre and in the two neighbours nearest to the centre, where the grid has them.
/// @param anchors        in cells of the level
/// @param largest_ratio  hyper-parameter anchor_t
/// @returns              order: neighbour (none, left, upper, right, lower), then anchor, then target
/// @throws               std::runtime_error for an image or class number out of range
inline std::vector<Positive> assign_targets(std::span<TargetRow const> targets,
                                            std::array<AnchorBox, 3> const& anchors, LevelShape shape,
                                            std::int64_t classes, float largest_ratio) {
    struct Offer {
        TargetRow target;  // in cells
        std::int64_t anchor;
        std::array<bool, 5> neighbour;
    };
    auto const columns = static_cast<float>(shape.width), rows = static_cast<float>(shape.height);
    std::vector<Offer> fits;
    for (std::size_t a = 0; a < anchors.size(); ++a)
        for (auto t : targets) {
            if (!(t.image >= 0 && t.image < static_cast<float>(shape.images)))
                throw std::runtime_error("loss: a target of image " + std::to_string(t.image) +
                                         " in a batch of " + std::to_string(shape.images));
            if (!(t.cls >= 0 && t.cls < static_cast<float>(classes)))
                throw std::runtime_error("loss: a target of class " + std::to_string(t.cls) +
                                         ", but the network has " + std::to_string(classes) + " classes");
            t.x *= columns, t.width *= columns;
            t.y *= rows, t.height *= rows;
            auto const rw = t.width / anchors[a].width, rh = t.height / anchors[a].height;
            if (!(std::max({rw, 1 / rw, rh, 1 / rh}) < largest_ratio)) continue;
            auto const near = [](float position) {
                return position - std::floor(position) < 0.5f && position > 1;
            };
            fits.push_back({t,
                            static_cast<std::int64_t>(a),
                            {true, near(t.x), near(t.y), near(columns - t.x), near(rows - t.y)}});
        }

    constexpr std::array<std::array<float, 2>, 5> steps{
        {{0, 0}, {0.5f, 0}, {0, 0.5f}, {-0.5f, 0}, {0, -0.5f}}};
    std::vector<Positive> out;
    for (std::size_t n = 0; n < steps.size(); ++n)
        for (auto const& [t, a, neighbour] : fits) {
            if (!neighbour[n]) continue;
            auto const column =
                std::clamp(static_cast<std::int64_t>(t.x - steps[n][0]), std::int64_t{0}, shape.width - 1);
            auto const row =
                std::clamp(static_cast<std::int64_t>(t.y - steps[n][1]), std::int64_t{0}, shape.height - 1);
            auto const& anchor = anchors[static_cast<std::size_t>(a)];
            out.push_back({static_cast<std::int64_t>(t.image), a, row, column,
                           static_cast<std::int64_t>(t.cls), t.x - static_cast<float>(column),
                           t.y - static_cast<float>(row), t.width, t.height, anchor.width, anchor.height});
        }
    return out;
}

/// For every positive the position of the last one with the same cell and anchor: that one says how much
/// objectness is wanted there, whatever order a device writes in.
inline std::vector<std::int64_t> last_of_cell(std::span<Positive const> positives, LevelShape shape) {
    std::unordered_map<std::int64_t, std::int64_t> last;
    std::vector<std::int64_t> out(positives.size());
    auto const cell = [&](Positive const& p) {
        return ((p.image * 3 + p.anchor) * shape.height + p.row) * shape.width + p.column;
    };
    for (std::size_t i = 0; i < positives.size(); ++i)
        last[cell(positives[i])] = static_cast<std::int64_t>(i);
    std::transform(positives.begin(), positives.end(), out.begin(),
                   [&](auto const& p) { return last[cell(p)]; });
    return out;
}

}  // namespace yolo
