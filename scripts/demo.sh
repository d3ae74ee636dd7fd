#!/usr/bin/env bash
# From nothing to a quantized network on generated images: installs what is missing, builds, and runs the main job.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_dependencies.sh
cmake --preset release > /dev/null
cmake --build --preset release --target yolo-shapes yolo-train yolo-val yolo-detect yolo-describe
bin=build/release/bin

# (the demo's content goes here)
