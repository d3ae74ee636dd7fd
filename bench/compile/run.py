#!/usr/bin/env python3
"""What the headers cost to compile: user CPU seconds, and memory that the compiler allocates.

usage: run.py [--json FILE] [--runs N] [--check RECORDED | --record RECORDED] BUILD_FOLDER

    umbrella    qat/qat.hpp in a file that includes LibTorch anyway
    schedule    one more experiment, of the same arithmetic, with its description and its plan
    arithmetic  one more YOLOv5, built, bound and run

Compiled as the build folder compiles, with its precompiled header of LibTorch, whose seconds would hide what is measured
(qat_pch; compile_commands.json says how). For the seconds each file is compiled N times, all in turn, and the fastest
counts. On a machine that others share they still differ by half from one run to the next, so what is recorded and checked
is the memory: the bytes that g++ allocates for trees, templates, constant evaluation and optimisation
(-ftime-report's last column), which are the same each time and grow as the seconds do.
"""
import argparse
import json
import os
import re
import resource
import shlex
import subprocess
import sys
import tempfile

TORCH = "#include <qat/torch.hpp>\nint rank(torch::Tensor const& x) { return static_cast<int>(x.dim()); }\n"
NETWORK = """#include <qat/torch.hpp>
#include <qat/nn/bind.hpp>
#include <yolo/experiments.hpp>
#include <yolo/model/yolov5.hpp>
#include <iostream>
using yolo::experiments::ShiftOutputs, yolo::experiments::AffineWeights, yolo::experiments::stock;
using Base = yolo::experiments::exp2;
template <class E> void print() {
    for (auto const& [about, choice] : qat::describe<E>()) std::cout << about << choice;
    for (auto const& event : qat::plan(E::schedule, 100, E::schedule.epochs)) std::cout << event.what;
}
template <class E> torch::Tensor run(torch::Tensor const& image) {
    yolo::YoloV5<typename E::arithmetic> model({.size = yolo::nano, .classes = 80});
    qat::nn::bind(model);
    return model(image).p3;
}
template void print<Base>();
template torch::Tensor run<Base>(torch::Tensor const&);
"""

SCHEDULES = 10  # at once, since one is lost in the noise
ARITHMETICS = 2


def schedules():
    lines = []
    for i in range(SCHEDULES):
        lines.append(f'using e{i} = Base::vary<"e{i}", qat::StopObservers<qat::after_steps({i + 7})>, qat::Epochs<{i + 3}>>;')
        lines.append(f"template void print<e{i}>();")
        lines.append(f"template torch::Tensor run<e{i}>(torch::Tensor const&);")
    return "\n".join(lines) + "\n"


def arithmetics():  # as different as networks of one program are: other fragments, another head
    return """using a0 = Base::vary<"a0", qat::ReLU6, qat::Outputs<ShiftOutputs::vary<qat::Int<4>>>, qat::HeadFloat>;
using a1 = stock::vary<"a1", qat::LiveBatchNorm, qat::Weights<AffineWeights::vary<qat::Int<6>>>>;
template torch::Tensor run<a0>(torch::Tensor const&);
template torch::Tensor run<a1>(torch::Tensor const&);
"""


SOURCES = {
    "torch": TORCH,
    "umbrella": TORCH + "#include <qat/qat.hpp>\n",
    "network": NETWORK,
    "schedule": NETWORK + schedules(),
    "arithmetic": NETWORK + arithmetics(),
}
# What is added: by which file, to which, so many times; and how much is wanted at most, in seconds on two cores of 2023.
ADDS = {
    "umbrella": ("umbrella", "torch", 1, 1.5),
    "schedule": ("schedule", "network", SCHEDULES, 0.3),
    "arithmetic": ("arithmetic", "network", ARITHMETICS, 8.0),
}


def user_seconds(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def command_of(build_folder):
    """How the build compiles a file that uses the precompiled header, without the file and the outputs."""
    path = os.path.join(build_folder, "compile_commands.json")
    try:
        with open(path) as file:
            entries = [e for e in json.load(file) if os.path.basename(e["file"]) == "qat_pch.cpp"]
    except OSError as error:
        sys.exit(f"{path}: {error.strerror}; configure with CMAKE_EXPORT_COMPILE_COMMANDS=ON")
    if not entries:
        sys.exit(f"{path} does not say how qat_pch.cpp is compiled; was the build configured with qat::torch?")
    words = shlex.split(entries[0]["command"])
    compiler = next(i for i, w in enumerate(words) if os.path.basename(w).startswith(("c++", "g++", "clang++")))
    command = words[compiler : words.index("-o")]  # behind a launcher, if there is one
    return [*command, "-w", "-Werror=invalid-pch"]


def allocated_mb(command):
    """In MB (2^20 bytes). g++ only."""
    done = subprocess.run([*command, "-ftime-report"], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    total = re.search(r"^ *TOTAL .* (\d+)([kM])$", done.stderr, re.MULTILINE)
    if done.returncode != 0 or not total:
        sys.exit(f"{' '.join(command)} -ftime-report\n{done.stderr}")
    return int(total[1]) / {"k": 1024, "M": 1}[total[2]]


def measure(command, figure, runs=1):
    """The least of the runs, for each of SOURCES."""
    least = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in SOURCES.items():
            with open(os.path.join(folder, name + ".cpp"), "w") as file:
                file.write(text)
        for _ in range(runs):
            for name in SOURCES:
                source = os.path.join(folder, name + ".cpp")
                value = figure([*command, "-c", "-o", os.path.join(folder, name + ".o"), source])
                least[name] = min(value, least.get(name, value))
    return least


def added(figures, digits):
    return {name: round((figures[with_it] - figures[without]) / count, digits)
            for name, (with_it, without, count, _) in ADDS.items()}


def write(path, result):
    with open(path, "w") as file:
        json.dump(result, file, indent=2)
        file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="write the figures there")
    parser.add_argument("--runs", type=int, default=3, help="for the seconds")
    parser.add_argument("--check", help="no seconds; fail where the memory is more than 25 %% above this file's")
    parser.add_argument("--record", help="no seconds; write the memory there")
    parser.add_argument("build_folder", help="of a configured build")
    arguments = parser.parse_args()
    command = command_of(arguments.build_folder)
    recorded = {}
    if arguments.check:
        with open(arguments.check) as file:
            recorded = json.load(file)["adds_mb"]
    version = subprocess.run([command[0], "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    result = {"compiler": version, "adds_mb": added(measure(command, allocated_mb), 1)}
    if arguments.record:
        write(arguments.record, result)
    if not arguments.check and not arguments.record:
        result["adds_s"] = added(measure(command, user_seconds, arguments.runs), 3)
    if arguments.json:
        write(arguments.json, result)
    for name, mb in result["adds_mb"].items():
        seconds = f", {result['adds_s'][name]:.2f} s (wanted: below {ADDS[name][3]} s)" if "adds_s" in result else ""
        print(f"{name:11} adds {mb:6.1f} MB of the compiler's memory{seconds}")
    failures = [f"{name}: {result['adds_mb'][name]} MB, recorded {mb}, allowed {1.25 * mb:.1f}"
                for name, mb in recorded.items() if result["adds_mb"][name] > 1.25 * mb]
    if failures:
        sys.exit("compiling costs more than recorded; if that is wanted, record it anew (bench-compile-record)\n" +
                 "\n".join(failures))


if __name__ == "__main__":
    main()
