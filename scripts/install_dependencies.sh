#!/usr/bin/env bash
# Installs what building and testing needs, on Debian or Ubuntu. Quick when everything is there. The flags may be combined.
#
#   scripts/install_dependencies.sh           packages of the distribution: compilers, LibTorch (CPU), OpenCV, ...
#   scripts/install_dependencies.sh --fuzz    also libFuzzer, for the preset fuzz
#   scripts/install_dependencies.sh --torch2  also LibTorch 2.11 (CUDA 13.0) out of PyPI's wheel, in a virtual
#                                             environment, $QAT_TORCH2_VENV or ~/.cache/qat/torch-2.11; the last line
#                                             printed is its prefix, for QAT_TORCH_PREFIX and the preset cuda
set -euo pipefail

fuzz=no torch2=no
for argument in "$@"; do
    case $argument in
        --fuzz) fuzz=yes ;;
        --torch2) torch2=yes ;;
        *) echo "install_dependencies: unknown argument $argument; want --fuzz or --torch2" >&2; exit 2 ;;
    esac
done

packages=(
    g++ cmake ninja-build ccache pkg-config git python3 python3-venv graphviz
    clang clang-format
    libtorch-dev libopencv-dev librange-v3-dev libboost-dev doctest-dev nlohmann-json3-dev libyaml-cpp-dev
    libcli11-dev libspdlog-dev libbenchmark-dev
    libopenblas0-openmp  # matrices for LibTorch, which takes the BLAS it finds: the default is four times slower
    python3-torch  # torch.ao, on the same LibTorch, for one test
    gnuplot-nox    # plots of yolo-train, yolo-val and yolo-calibrate
)
say() { echo "install_dependencies: $*" >&2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    elif command -v sudo > /dev/null; then
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    else
        say "needs root to run: $*"
        exit 1
    fi
}

installed() { dpkg-query -W -f '${db:Status-Status}\n' "$1" 2> /dev/null | grep -qx installed; }

# libFuzzer and the sanitizers' run time come with the clang that `clang` means: libclang-rt-14-dev on Debian 12.
# Older distributions keep them in libclang-common-*-dev, which clang brings along.
runtime_of_clang() {
    local version
    version=$(apt-cache depends clang 2> /dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
    if [ -n "$version" ] && apt-cache show "libclang-rt-$version-dev" > /dev/null 2>&1; then
        echo "libclang-rt-$version-dev"
    fi
}
has_fuzzer() {
    command -v clang++ > /dev/null || return 1
    local libraries
    libraries=$(clang++ -print-runtime-dir 2> /dev/null) || return 1
    ls "$libraries"/libclang_rt.fuzzer*.a "$(dirname "$libraries")"/*/libclang_rt.fuzzer*.a > /dev/null 2>&1 ||
        [ -n "$(find "$(dirname "$libraries")" -name 'libclang_rt.fuzzer*.a' -print -quit 2> /dev/null)" ]
}

missing=()
if command -v dpkg-query > /dev/null; then
    for package in "${packages[@]}"; do
        installed "$package" || missing+=("$package")
    done
    wants_fuzzer=no
    if [ "$fuzz" = yes ] && ! has_fuzzer; then wants_fuzzer=yes; fi
    if [ "${#missing[@]}" != 0 ] || [ "$wants_fuzzer" = yes ]; then
        say "installing: ${missing[*]:-libFuzzer}"
        as_root apt-get update -q >&2
        runtime=
        [ "$wants_fuzzer" = no ] || runtime=$(runtime_of_clang)
        as_root apt-get install -q -y --no-install-recommends "${missing[@]}" $runtime < /dev/null >&2
    fi
else
    say "this is no Debian or Ubuntu; please install the equivalents of: ${packages[*]}"
    exit 1
fi

if [ "$torch2" = yes ]; then
    venv=${QAT_TORCH2_VENV:-$HOME/.cache/qat/torch-2.11}
    python=$venv/bin/python
    has_torch() { [ -x "$python" ] && "$python" -c 'import torch; assert torch.__version__.startswith("2.11.")' 2> /dev/null; }
    if ! has_torch; then
        say "installing LibTorch 2.11 into $venv"
        mkdir -p "$(dirname "$venv")"
        [ -x "$python" ] || python3 -m venv "$venv" >&2
        # Where the CUDA 13 toolkit is installed, its libraries serve; these three are not part of it.
        "$python" -m pip install -q --no-deps torch==2.11.0 \
            nvidia-cusparselt-cu13==0.8.0 nvidia-nvshmem-cu13==3.4.5 nvidia-cufile >&2
        "$python" -m pip install -q numpy typing_extensions sympy filelock fsspec jinja2 networkx setuptools >&2
        if ! has_torch; then
            say "torch does not load with this machine's CUDA toolkit; installing it with all of its dependencies"
            "$python" -m pip install -q torch==2.11.0 >&2
        fi
        has_torch || { say "torch 2.11 cannot be imported in $venv"; "$python" -c 'import torch' >&2; exit 1; }
    fi
    # TensorBoard itself reads our event files, in one test.
    "$python" -c 'import tensorboard' 2> /dev/null || "$python" -m pip install -q tensorboard==2.21.0 >&2
    "$python" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parent)'
fi
