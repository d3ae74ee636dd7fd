#pragma once
// One shape of the generated data set: its outline, and how far a pixel is from it.

#include <yolo/data/colour.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace yolo::data {

inline constexpr std::array<char const*, 5> shape_names{"circle", "rectangle", "triangle", "star", "cross"};

/// One of shape_names, turned, somewhere.
struct DrawnShape {
    struct Point {
        float x, y;
    };
    int kind = 0;                // of shape_names
    float radius = 0;            // of the circle
    std::vector<Point> corners;  // of the others, around the centre
    Point centre{};
    float left = 0, top = 0, right = 0, bottom = 0;  // extent, pixels
    int total = 0, visible = 0;                      // pixels

    /// Signed distance to the outline in pixels, negative inside.
    float outside(float x, float y) const {
        x -= centre.x, y -= centre.y;
        if (kind == 0) return std::sqrt(x * x + y * y) - radius;
        float nearest = 1e12f;
        bool inside = false;
        for (std::size_t i = 0, j = corners.size() - 1; i < corners.size(); j = i++) {
            Point const a = corners[j], b = corners[i];
            float const ex = b.x - a.x, ey = b.y - a.y, px = x - a.x, py = y - a.y;
            float const t = std::clamp((px * ex + py * ey) / (ex * ex + ey * ey), 0.0f, 1.0f);
            float const qx = px - t * ex, qy = py - t * ey;
            nearest = std::min(nearest, qx * qx + qy * qy);
            if ((a.y > y) != (b.y > y) && x < a.x + ex * (y - a.y) / ey) inside = !inside;
        }
        return inside ? -std::sqrt(nearest) : std::sqrt(nearest);
    }
};

/// Kind, size, turn and place at random; small ones are a little more frequent than large ones.
inline DrawnShape random_shape(Random& random, int smallest_px, int size_px) {
    DrawnShape object;
    object.kind = static_cast<int>(random.integer(shape_names.size()));
    double const smallest = smallest_px, largest = size_px / 2.0;
    float const longer =
        static_cast<float>(smallest + (largest - smallest) * std::pow(random.uniform(), 1.3));
    float const turn = detail::real(random, 0, 6.2831853);
    std::vector<DrawnShape::Point>& corners = object.corners;
    auto const polar = [&](float radius, float angle) {
        corners.push_back({radius * std::cos(angle), radius * std::sin(angle)});
    };
    if (object.kind == 1) {
        float const flat = detail::real(random, 0.45, 1.0);
        corners = {{-1, -flat}, {1, -flat}, {1, flat}, {-1, flat}};
    } else if (object.kind == 2) {
        for (int i = 0; i < 3; ++i)
            polar(1, static_cast<float>(i) * 2.0943951f + detail::real(random, -0.3, 0.3));
    } else if (object.kind == 3) {
        for (int i = 0; i < 10; ++i) polar(i % 2 ? 0.42f : 1.0f, static_cast<float>(i) * 0.62831853f);
    } else if (object.kind == 4) {
        float const arm = detail::real(random, 0.25, 0.36);
        corners = {{-arm, -1}, {arm, -1}, {arm, -arm}, {1, -arm}, {1, arm},   {arm, arm},
                   {arm, 1},   {-arm, 1}, {-arm, arm}, {-1, arm}, {-1, -arm}, {-arm, -arm}};
    }
    if (object.kind == 0) {
        object.radius = longer / 2;
        object.left = object.top = -object.radius;
        object.right = object.bottom = object.radius;
    } else {
        float const c = std::cos(turn), s = std::sin(turn);
        for (auto& p : corners) p = {c * p.x - s * p.y, s * p.x + c * p.y};
        auto const x =
            std::minmax_element(corners.begin(), corners.end(), [](auto a, auto b) { return a.x < b.x; });
        auto const y =
            std::minmax_element(corners.begin(), corners.end(), [](auto a, auto b) { return a.y < b.y; });
        float const grow = longer / std::max(x.second->x - x.first->x, y.second->y - y.first->y);
        object.left = x.first->x * grow, object.right = x.second->x * grow;
        object.top = y.first->y * grow, object.bottom = y.second->y * grow;
        for (auto& p : corners) p = {p.x * grow, p.y * grow};
    }
    float const size = static_cast<float>(size_px);
    object.centre = {detail::real(random, -object.left, size - object.right),
                     detail::real(random, -object.top, size - object.bottom)};
    return object;
}

}  // namespace yolo::data
