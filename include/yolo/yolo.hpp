#pragma once
// The detector: network, experiments, data, loss, metrics, checkpoints, training. Without the command lines (yolo/apps).

#include <yolo/data/auto_anchor.hpp>
#include <yolo/data/draw.hpp>
#include <yolo/data/loader.hpp>
#include <yolo/data/shapes.hpp>
#include <yolo/experiments.hpp>
#include <yolo/io/checkpoint.hpp>
#include <yolo/io/coco_json.hpp>
#include <yolo/io/dataset_yaml.hpp>
#include <yolo/io/hyperparameters.hpp>
#include <yolo/io/results_json.hpp>
#include <yolo/io/tensorboard.hpp>
#include <yolo/io/transfer.hpp>
#include <yolo/model/typed_detector.hpp>
#include <yolo/plot/evaluation_plots.hpp>
#include <yolo/plot/labels_plot.hpp>
#include <yolo/plot/results_plot.hpp>
#include <yolo/train/evolve.hpp>
#include <yolo/train/run_folder.hpp>
#include <yolo/train/trainer.hpp>
