#pragma once
// One picture through a detector: letterbox, forward, NMS, boxes in its own pixels. YOLOv5's detect.py.

#include <yolo/data/scale_boxes.hpp>
#include <yolo/metrics/nms.hpp>
#include <yolo/model/augmented.hpp>
#include <yolo/train/mixed_precision.hpp>

namespace yolo {

struct PictureOptions {
    int height = 640,
        width = 640;  // pixels that the picture is made to fit, multiples of 32; bars stay below a stride
    NmsOptions nms{.confidence = 0.25, .iou = 0.45, .max_detections = 1000, .multi_label = false};
    Precision precision = Precision::float32;  // of the network on CUDA; no effect on the CPU
    bool augment = false;                      // three views of the picture
};

/// The letterbox of a picture: enlarged or made smaller until it fits, with as little grey as whole strides allow.
/// picture: BGR [H, W, 3]                                                          -> uint8 [1, 3, height, width], RGB
inline torch::Tensor picture_input(cv::Mat const& picture, int height, int width) {
    auto const place = place_letterbox(picture.rows, picture.cols, height, width, ScaleUp::yes, strides[2]);
    auto const input = torch::empty({1, 3, place.height, place.width}, torch::kUInt8);
    write_letterbox(picture, place, input.data_ptr<std::uint8_t>());
    return input;
}

/// x1, y1, x2, y2 in whole pixels of the picture, confidence, class; the most confident first. The detector must be in
/// evaluation mode.  picture: BGR [H, W, 3]                                                               -> [n, 6]
inline torch::Tensor detect_picture(Detector& detector, cv::Mat const& picture,
                                    PictureOptions const& options) {
    torch::NoGradGuard no_grad;
    auto const bytes = picture_input(picture, options.height, options.width);
    auto const input = network_input(bytes, detector.device());
    torch::Tensor predictions;
    {
        Autocast const precision(detector.device().is_cuda() ? options.precision : Precision::float32);
        predictions = options.augment ? augmented_predictions(detector, input)
                                      : decode(detector(input), detector.options());
    }
    auto boxes = nms(predictions, options.nms)[0];
    if (boxes.size(0) == 0) return boxes;
    boxes = scale_boxes(boxes, static_cast<int>(bytes.size(2)), static_cast<int>(bytes.size(3)), picture.rows,
                        picture.cols);
    boxes.slice(1, 0, 4).round_();
    return boxes;
}

}  // namespace yolo
