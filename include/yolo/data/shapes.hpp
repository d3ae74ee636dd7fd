#pragma once
// A data set made on the spot: circles, rectangles, triangles, stars and crosses of all sizes, turned,
// shaded, overlapping, on uneven and noisy ground. For demonstrations and tests; the same seed gives the same
// pixels.

#include <yolo/data/colour.hpp>
#include <yolo/data/draw.hpp>
#include <yolo/data/shape_outline.hpp>

namespace yolo {
namespace data {

struct ShapesOptions {
    int train = 400, val = 100;  // pictures
    int size_px = 256;           // side of the square pictures, 32 or more
    int smallest_px = 8;         // longer side of the smallest object; the largest has size_px / 2
    int most_objects = 8;        // a picture has 1 to so many; one in forty has none
    double noise = 8.0;          // largest standard deviation of the pixel noise, in 0..255
    std::uint64_t seed = 0;
};

/// Draws pictures with known boxes.
class Shapes {
public:
    enum class Split { train, val };
    static constexpr auto names = shape_names;

    explicit Shapes(ShapesOptions const& options) : options_(options) {
        if (options.size_px < 32 || options.smallest_px < 4 || options.smallest_px > options.size_px / 2 ||
            options.train < 0 || options.val < 0 || options.most_objects < 1)
            throw std::runtime_error(
                "shapes: want pictures of 32 pixels or more, objects from 4 pixels to half the "
                "picture, and no negative number");
    }

    /// One picture of a split; depends on seed, split and index only. The boxes hold the pixels that can be
    /// seen: no object is hidden by more than 60 %.
    Sample draw(Split split, std::uint64_t index) const {
        Random random(options_.seed, split == Split::train ? 0 : 1, index);
        Canvas canvas = background(random);
        std::vector<DrawnShape> objects;
        std::uint64_t const most = static_cast<std::uint64_t>(options_.most_objects);
        std::size_t const wanted =
            random.bernoulli(1.0 / 40) ? 0 : 1 + static_cast<std::size_t>(random.integer(most));
        for (int tries = 0; objects.size() < wanted && tries < 200; ++tries) place(canvas, objects, random);
        Sample sample{develop(canvas, random), boxes(canvas, objects)};
        return sample;
    }

    /// Writes images/{train,val}/*.jpg, labels/{train,val}/*.txt and shapes.yaml below `folder`. A set that
    /// was written there before is replaced. throws std::runtime_error where the folder holds images of other
    /// origin.
    void write(std::filesystem::path const& folder) const {
        namespace fs = std::filesystem;
        bool const ours = fs::exists(folder / "shapes.yaml");
        if (!ours && fs::exists(folder / "images"))
            throw std::runtime_error(folder.string() +
                                     ": has images but no shapes.yaml, so it is not a generated data "
                                     "set; choose another folder");
        for (Split const split : {Split::train, Split::val}) {
            char const* const name = split == Split::train ? "train" : "val";
            fs::path const images = folder / "images" / name, labels = folder / "labels" / name;
            for (fs::path const& path : {images, labels}) {
                fs::remove_all(path);
                fs::create_directories(path);
            }
            int const count = split == Split::train ? options_.train : options_.val;
            parallel_for(static_cast<std::size_t>(count), 4, [&](std::size_t i) {
                Sample const sample = draw(split, i);
                char stem[32];
                std::snprintf(stem, sizeof stem, "%06zu", i);
                write_image(images / (std::string(stem) + ".jpg"), sample.image);
                write_text(labels / (std::string(stem) + ".txt"), label_text(sample));
            });
        }
        std::string text =
            "# Generated shapes, seed " + std::to_string(options_.seed) +
            ": paths are relative to this file\npath: .\ntrain: images/train\nval: images/val\nnc: " +
            std::to_string(names.size()) + "\nnames:\n";
        for (std::size_t i = 0; i < names.size(); ++i)
            text += "  " + std::to_string(i) + ": " + names[i] + "\n";
        write_text(folder / "shapes.yaml", text);
    }

private:
    struct Canvas {
        int size = 0;
        std::vector<Colour> pixels;  // [size * size]
        std::vector<int> owner;      // object that is seen there, -1: ground
        std::vector<Colour> used;    // colours that a new object must differ from
    };

    // A gradient with soft spots.
    Canvas background(Random& random) const {
        int const size = options_.size_px, cells = 6;
        auto const area = static_cast<std::size_t>(size) * static_cast<std::size_t>(size);
        Colour const first{detail::real(random, 20, 235), detail::real(random, 20, 235),
                           detail::real(random, 20, 235)};
        Colour const second = near(first, random, 60);
        Canvas canvas{size, std::vector<Colour>(area), std::vector<int>(area, -1), {first, second}};
        float const angle = detail::real(random, 0, 6.2831853), dx = std::cos(angle), dy = std::sin(angle);
        std::array<float, (cells + 1) * (cells + 1)> spots{};
        for (float& spot : spots) spot = detail::real(random, -18, 18);
        for (int y = 0; y < size; ++y)
            for (int x = 0; x < size; ++x) {
                float const u = static_cast<float>(x) / static_cast<float>(size);
                float const v = static_cast<float>(y) / static_cast<float>(size);
                int const i = static_cast<int>(u * cells), j = static_cast<int>(v * cells);
                float const fx = u * cells - static_cast<float>(i), fy = v * cells - static_cast<float>(j);
                auto const spot = [&](int a, int b) {
                    return spots[static_cast<std::size_t>(b * (cells + 1) + a)];
                };
                float const soft = (spot(i, j) * (1 - fx) + spot(i + 1, j) * fx) * (1 - fy) +
                                   (spot(i, j + 1) * (1 - fx) + spot(i + 1, j + 1) * fx) * fy;
                Colour colour =
                    blend(first, second, std::clamp(0.5f + (u - 0.5f) * dx + (v - 0.5f) * dy, 0.0f, 1.0f));
                for (float& channel : colour) channel += soft;
                canvas.pixels[at(canvas, x, y)] = colour;
            }
        return canvas;
    }
    static std::size_t at(Canvas const& canvas, int x, int y) {
        return static_cast<std::size_t>(y) * static_cast<std::size_t>(canvas.size) +
               static_cast<std::size_t>(x);
    }

    // Tries one object: it stays where it hides none of the others by more than 60 %.
    void place(Canvas& canvas, std::vector<DrawnShape>& objects, Random& random) const {
        DrawnShape object = random_shape(random, options_.smallest_px, options_.size_px);
        struct Cover {
            std::size_t pixel;
            float x, y, share;
        };
        std::vector<Cover> covers;
        std::vector<int> hidden(objects.size());
        auto const bound = [&](float value) { return std::clamp(static_cast<int>(value), 0, canvas.size); };
        int const x_end = bound(object.centre.x + object.right + 2),
                  y_end = bound(object.centre.y + object.bottom + 2);
        for (int y = bound(object.centre.y + object.top - 1); y < y_end; ++y)
            for (int x = bound(object.centre.x + object.left - 1); x < x_end; ++x) {
                float const px = static_cast<float>(x) + 0.5f, py = static_cast<float>(y) + 0.5f;
                float const share = std::clamp(0.5f - object.outside(px, py), 0.0f, 1.0f);
                if (share <= 0) continue;
                covers.push_back({at(canvas, x, y), px - object.centre.x, py - object.centre.y, share});
                if (share < 0.5f) continue;
                ++object.total;
                if (int const owner = canvas.owner[covers.back().pixel]; owner >= 0)
                    ++hidden[static_cast<std::size_t>(owner)];
            }
        for (std::size_t i = 0; i < objects.size(); ++i)
            if (objects[i].visible - hidden[i] < 0.4 * objects[i].total) return;
        for (std::size_t i = 0; i < objects.size(); ++i) objects[i].visible -= hidden[i];
        object.visible = object.total;

        Colour const first = contrasting(canvas.used, random), second = near(first, random, 45);
        float const angle = detail::real(random, 0, 6.2831853);
        float const reach = std::max(object.right - object.left, object.bottom - object.top);
        float const dx = std::cos(angle) / reach, dy = std::sin(angle) / reach;
        for (Cover const& cover : covers) {
            Colour& pixel = canvas.pixels[cover.pixel];
            float const t = std::clamp(0.5f + cover.x * dx + cover.y * dy, 0.0f, 1.0f);
            pixel = blend(pixel, blend(first, second, t), cover.share);
            if (cover.share >= 0.5f) canvas.owner[cover.pixel] = static_cast<int>(objects.size());
        }
        canvas.used.push_back(first);
        canvas.used.push_back(second);
        objects.push_back(std::move(object));
    }

    // Adds noise (the sum of four uniform values is close enough to a normal one) and rounds.
    cv::Mat develop(Canvas const& canvas, Random& random) const {
        float const sigma = detail::real(random, options_.noise / 4, options_.noise),
                    unit = sigma / 37837.22f;  // 65536 / sqrt(3)
        cv::Mat image(canvas.size, canvas.size, CV_8UC3);
        for (int y = 0; y < canvas.size; ++y)
            for (int x = 0; x < canvas.size; ++x)
                for (int c = 0; c < 3; ++c) {
                    std::uint64_t const bits = random.bits();
                    auto const sum =
                        (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
                    float const value = canvas.pixels[at(canvas, x, y)][static_cast<std::size_t>(c)] +
                                        unit * (static_cast<float>(sum) - 131070.0f);
                    image.at<cv::Vec3b>(y, x)[c] =
                        static_cast<std::uint8_t>(std::clamp(value + 0.5f, 0.0f, 255.0f));
                }
        return image;
    }

    static std::vector<PixelBox> boxes(Canvas const& canvas, std::vector<DrawnShape> const& objects) {
        float const size = static_cast<float>(canvas.size);
        std::vector<PixelBox> result;
        for (DrawnShape const& object : objects)
            result.push_back({static_cast<float>(object.kind), size, size, 0, 0});
        for (int y = 0; y < canvas.size; ++y)
            for (int x = 0; x < canvas.size; ++x) {
                int const owner = canvas.owner[at(canvas, x, y)];
                if (owner < 0) continue;
                PixelBox& box = result[static_cast<std::size_t>(owner)];
                float const left = static_cast<float>(x), top = static_cast<float>(y);
                box = {box.cls, std::min(box.x1, left), std::min(box.y1, top), std::max(box.x2, left + 1),
                       std::max(box.y2, top + 1)};
            }
        return result;
    }

    static std::string label_text(Sample const& sample) {
        std::string text;
        for (PixelBox const& box : sample.boxes) {
            double const width = sample.image.cols, height = sample.image.rows;
            char line[96];
            std::snprintf(line, sizeof line, "%d %.6f %.6f %.6f %.6f\n", static_cast<int>(box.cls),
                          (box.x1 + box.x2) / 2 / width, (box.y1 + box.y2) / 2 / height, box.width() / width,
                          box.height() / height);
            text += line;
        }
        return text;
    }
    static void write_text(std::filesystem::path const& path, std::string const& text) {
        std::ofstream out(path, std::ios::binary);
        out << text;
        if (!out.flush()) throw std::runtime_error(path.string() + ": cannot be written");
    }

    ShapesOptions options_;
};

/// A data set of generated shapes in `folder`; see Shapes::write.
inline void write_shapes(std::filesystem::path const& folder, ShapesOptions const& options) {
    Shapes(options).write(folder);
}

}  // namespace data

using data::Shapes;
using data::ShapesOptions;
using data::write_shapes;

}  // namespace yolo
