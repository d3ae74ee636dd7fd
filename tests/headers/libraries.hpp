// What clang precompiles for the headers test: whole libraries, which one header alone would take seconds to read. That a
// header reaches the library that it names is the layers test's to find.
#pragma once
#include <qat/torch.hpp>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <spdlog/spdlog.h>
#include <yaml-cpp/yaml.h>
