#pragma once
// Video files, frame by frame: BGR [H, W, 3], as pictures are.

#include <yolo/data/image.hpp>

#include <opencv2/core/utils/logger.hpp>
#include <opencv2/videoio.hpp>

#include <array>
#include <cctype>

namespace yolo {

/// Does the name end like a video's? (YOLOv5's endings, in any case)
inline bool is_video_name(std::filesystem::path const& path) {
    static constexpr std::array known{".asf", ".avi", ".gif",  ".m4v", ".mkv", ".mov",
                                      ".mp4", ".mpg", ".mpeg", ".ts",  ".wmv"};
    std::string extension = path.extension().string();
    for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return std::find(known.begin(), known.end(), extension) != known.end();
}

namespace detail {
/// OpenCV asks one library after the other to open a video, and lets each complain: the last word is ours.
class QuietOpenCv {
public:
    QuietOpenCv() = default;
    QuietOpenCv(QuietOpenCv const&) = delete;
    QuietOpenCv& operator=(QuietOpenCv const&) = delete;
    ~QuietOpenCv() { cv::utils::logging::setLogLevel(before_); }

private:
    cv::utils::logging::LogLevel before_ =
        cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
};
}  // namespace detail

class VideoReader {
public:
    /// Every stride-th frame is read, beginning with frame number `stride`, as YOLOv5 does.
    /// throws std::runtime_error naming the file where there is none or its codec is not known.
    explicit VideoReader(std::filesystem::path const& path, int stride = 1) : stride_(std::max(1, stride)) {
        std::error_code ignored;
        if (!std::filesystem::is_regular_file(path, ignored))
            throw std::runtime_error(path.string() + ": no such video file");
        detail::QuietOpenCv const quiet;
        try {
            video_.open(path.string());
        } catch (cv::Exception const&) {}  // a video that is not open says the same
        if (!video_.isOpened())
            throw std::runtime_error(path.string() + ": cannot be decoded as a video; OpenCV's videoio reads "
                                                     "what its FFmpeg or GStreamer does, convert it to .mp4");
    }

    /// Of the frames that are read, together with their stride; 0 where the file does not say.
    double frames_per_second() const { return known(cv::CAP_PROP_FPS); }
    int frames() const { return static_cast<int>(known(cv::CAP_PROP_FRAME_COUNT)) / stride_; }

    /// False after the last frame. `frame` has pixels of its own.
    bool next(cv::Mat& frame) {
        for (int i = 0; i < stride_; ++i)
            if (!video_.grab()) return false;
        cv::Mat decoded;
        if (!video_.retrieve(decoded) || decoded.empty()) return false;
        decoded.copyTo(frame);
        return true;
    }

private:
    double known(int property) const {
        double const value = video_.get(property);
        return std::isfinite(value) && value > 0 ? value : 0;
    }

    cv::VideoCapture video_;
    int stride_;
};

/// Writes frames of one size. Opened by the first one: MPEG-4 in .mp4 where there is an encoder for it, else motion JPEG
/// in .avi, which OpenCV has of its own.
class VideoWriter {
public:
    /// file: its ending is replaced.
    VideoWriter(std::filesystem::path file, double frames_per_second)
        : file_(std::move(file)), frames_per_second_(frames_per_second > 0 ? frames_per_second : 30) {}

    /// throws std::runtime_error naming the file where it cannot be written or the frame has another size.
    void write(cv::Mat const& frame) {
        if (!video_.isOpened()) open(frame.size());
        if (frame.size() != size_)
            throw std::runtime_error(file_.string() + ": a frame has " + std::to_string(frame.cols) + " x " +
                                     std::to_string(frame.rows) + " pixels and the first had " +
                                     std::to_string(size_.width) + " x " + std::to_string(size_.height) +
                                     "; a video has one size");
        video_.write(frame);
    }

    /// The file as it is named now.
    std::filesystem::path const& file() const { return file_; }

private:
    void open(cv::Size size) {
        detail::QuietOpenCv const quiet;
        struct Form {
            char const* ending;
            int codec;
        };
        for (auto const& [ending, codec] : {Form{".mp4", cv::VideoWriter::fourcc('m', 'p', '4', 'v')},
                                            Form{".avi", cv::VideoWriter::fourcc('M', 'J', 'P', 'G')}}) {
            file_.replace_extension(ending);
            try {
                if (video_.open(file_.string(), codec, frames_per_second_, size)) {
                    size_ = size;
                    return;
                }
            } catch (cv::Exception const&) {}  // not open says the same
        }
        throw std::runtime_error(file_.string() +
                                 ": the video cannot be written, neither as .mp4 nor as .avi; "
                                 "want a folder that can be written to, or add --nosave");
    }

    cv::VideoWriter video_;
    std::filesystem::path file_;
    double frames_per_second_;
    cv::Size size_;
};

}  // namespace yolo
