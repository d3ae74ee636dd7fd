// expect: Except names a stage that this network does not have; its stages are
#include <yolo/model/yolov5.hpp>
using namespace qat;
using E = Experiment<"x", Except<"backbone.c3_6", Float>>;
static_assert(sizeof(yolo::YoloV5Impl<E::arithmetic>) > 0);
