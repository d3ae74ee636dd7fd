#!/usr/bin/env bash
# Configures, builds what the tests need (all but the benchmarks) and runs all tests. Ends with ctest's summary; the exit code is ctest's.
#
#   scripts/test.sh [PRESET [CTEST ARGUMENT...]]      default: release
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
[ $# = 0 ] || shift

scripts/install_dependencies.sh
# One test lets Python's torch.load read what we write, where a Python with torch is (install_dependencies.sh --torch2).
python=${QAT_TORCH2_VENV:-$HOME/.cache/qat/torch-2.11}/bin/python
[ -n "${QAT_PYTHON:-}" ] || [ ! -x "$python" ] || export QAT_PYTHON=$python
cmake --preset "$preset"
cmake --build --preset "$preset" --target tested
exec ctest --preset "$preset" "$@"
