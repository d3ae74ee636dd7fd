#pragma once
// What a loader is told, and what it gives.

#include <qat/torch.hpp>
#include <yolo/data/cache.hpp>
#include <yolo/train/hyperparameters.hpp>

namespace yolo {

struct LoaderOptions {
    int image_size = 640;    // pixels of the longer side, and of square batches; a multiple of the stride
    int batch_size = 16;     // pictures
    int workers = 2;         // threads; 0: next() does the work itself
    bool augment = false;    // mosaic, views, colours, flips as `hyp` says
    bool shuffle = false;    // a new order each epoch (of whole batches where rect)
    bool drop_last = false;  // leave out an incomplete last batch
    bool rect = false;       // batches of similar aspect ratio, each as small as it can be; no mosaic
    double pad = 0.0;        // strides added to both sides of rect batches (YOLOv5 validates with 0.5)
    int stride = 32;         // sides of rect batches are multiples of it, pixels
    std::uint64_t seed = 0;
    ImageCaching caching = ImageCaching::ram;                // where decoded pictures are kept
    std::int64_t cache_limit_bytes = std::int64_t{1} << 30;  // of ImageCaching::ram
    int mosaic_tiles = 4;                                    // pictures of a mosaic, 4 or 9
    Hyperparameters hyp{};                                   // augmentation only
};

/// throws std::runtime_error: what cannot work and what would.
inline LoaderOptions const& checked(LoaderOptions const& options) {
    auto const want = [](bool good, std::string const& what) {
        if (!good) throw std::runtime_error("loader: " + what);
    };
    want(options.batch_size > 0, "batch size " + std::to_string(options.batch_size) + ", want at least 1");
    want(options.workers >= 0, std::to_string(options.workers) + " workers, want 0 or more");
    want(options.stride > 0, "stride " + std::to_string(options.stride) + ", want at least 1");
    want(options.image_size > 0 && options.image_size % options.stride == 0,
         "image size " + std::to_string(options.image_size) + ", want a multiple of the stride " +
             std::to_string(options.stride));
    want(options.mosaic_tiles == 4 || options.mosaic_tiles == 9,
         "a mosaic of " + std::to_string(options.mosaic_tiles) + " images, want 4 or 9");
    return options;
}

/// Where a picture of a batch comes from. x_batch = x_original * ratio_w + pad_w; so for y.
struct ImageInfo {
    std::filesystem::path path;       // of a mosaic: its first picture
    std::size_t index = 0;            // in the data set
    int height0 = 0, width0 = 0;      // original pixels
    double ratio_h = 1, ratio_w = 1;  // meaningless after a mosaic or a random view, as are the pads
    double pad_h = 0, pad_w = 0;      // pixels
    int label_count = 0;              // rows of the targets
};

struct Batch {
    torch::Tensor images;          // uint8 [N, 3, H, W], RGB
    torch::Tensor targets;         // float [n, 6]: image in the batch, class, cx, cy, w, h (fractions)
    std::vector<ImageInfo> infos;  // N
};

}  // namespace yolo
