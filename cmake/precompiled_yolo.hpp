// Precompiled for tests and apps of yolo::yolo; see precompiled.hpp. Without spdlog and CLI11: only the command lines need them.
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
