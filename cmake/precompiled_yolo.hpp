// Precompiled for tests and apps of yolo::yolo; see precompiled.hpp. Without spdlog: the wheel of LibTorch 2 brings another fmt.
#pragma once
#include "precompiled.hpp"

#include <nlohmann/json.hpp>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <range/v3/action/sort.hpp>
#include <range/v3/action/transform.hpp>
#include <range/v3/action/unique.hpp>
#include <yaml-cpp/yaml.h>
