#pragma once
// Is this file a whole picture, and how large? JPEG and PNG are answered from their structure without
// decoding; anything else is decoded.

#include <yolo/data/image.hpp>
#include <yolo/data/image_structure.hpp>

namespace yolo {

/// Size of the picture in a file, EXIF orientation applied.
/// throws std::runtime_error with the reason (without the file's name) where the file is no whole picture,
/// has a side below 10 pixels, or more pixels than OpenCV decodes. A JPEG that ends early is none: YOLOv5
/// writes a repaired copy over it, here files of the data set are never changed.
inline ImageSize probe_image(std::filesystem::path const& path) {
    std::error_code failed;
    auto const bytes = std::filesystem::file_size(path, failed);
    if (failed) throw std::runtime_error("no such file");
    if (bytes == 0) throw std::runtime_error("the file is empty");
    detail::BigEndianReader in(path);
    detail::Structure found{{}, false};
    std::string const start = in.text(std::min<std::size_t>(bytes, 2));
    if (start == "\xff\xd8")
        found = detail::jpeg_structure(in);
    else if (start == "\x89P" && bytes >= 8 && in.text(6) == "NG\r\n\x1a\n")
        found = detail::png_structure(in);
    if (found.certain || found.size.height > 0) require_usable(found.size);
    if (found.certain) return found.size;
    cv::Mat image;
    try {
        image = cv::imread(path.string(), cv::IMREAD_COLOR);
    } catch (cv::Exception const& error) {
        std::string const limits[] = {"CV_IO_MAX_IMAGE_PIXELS", "CV_IO_MAX_IMAGE_WIDTH",
                                      "CV_IO_MAX_IMAGE_HEIGHT"};
        for (std::string const& limit : limits)
            if (error.err.find(limit) != std::string::npos)
                throw std::runtime_error("the image has more pixels than OpenCV decodes (" + limit + ")");
    }  // else an empty picture says the same
    if (image.empty()) throw std::runtime_error("it cannot be decoded as an image");
    require_usable({image.rows, image.cols});
    return {image.rows, image.cols};
}

}  // namespace yolo
