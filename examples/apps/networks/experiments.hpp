#pragma once
// The experiments that the applications offer, with their networks compiled elsewhere: see the .cpp files beside this.

#include <yolo/experiments.hpp>
#include <yolo/model/typed_detector.hpp>

#define QAT_NETWORK(prefix, experiment)                                                                      \
    prefix template std::unique_ptr<yolo::Detector>                                                          \
    yolo::make_detector<yolo::experiments::experiment::arithmetic>(yolo::YoloV5Options const&);

#ifndef QAT_NETWORKS_HERE
QAT_NETWORK(extern, silu)
QAT_NETWORK(extern, relu)
QAT_NETWORK(extern, relu6)
QAT_NETWORK(extern, stock)
QAT_NETWORK(extern, stock_silu)
QAT_NETWORK(extern, exp1)
QAT_NETWORK(extern, exp2)  // exp3 and exp2_as_run differ in schedule only: the same network
#endif
