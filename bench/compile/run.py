#!/usr/bin/env python3
"""What the headers cost to compile, in user CPU seconds.

usage: run.py [--json FILE] [--check RECORDED] [--runs N] BUILD_FOLDER

    umbrella    qat/qat.hpp in a file that includes LibTorch anyway
    schedule    one more experiment, of the same arithmetic, with its description and its plan
    arithmetic  one more YOLOv5, built, bound and run

Compiled as the build folder compiles, with its precompiled header of LibTorch, whose seconds would hide what is measured
(qat_pch; compile_commands.json says how). Each file is compiled N times, all in turn, and the fastest counts: other work on
the machine only adds. To check, N is the most: one run that passes is enough. What is recorded and checked is the ratio to
a yardstick that has nothing of this project, compiled in the same run, since machines differ.
"""
import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile

TORCH = "#include <qat/torch.hpp>\nint rank(torch::Tensor const& x) { return static_cast<int>(x.dim()); }\n"
YARDSTICK = """#include <qat/torch.hpp>
#include <regex>
bool matches(std::string const& text, std::string const& what) { return std::regex_search(text, std::regex(what)); }
bool matches(std::wstring const& text, std::wstring const& what) { return std::regex_search(text, std::wregex(what)); }
"""

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
    "yardstick": YARDSTICK,
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


def measure(command, runs):
    fastest = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in SOURCES.items():
            with open(os.path.join(folder, name + ".cpp"), "w") as file:
                file.write(text)
        for _ in range(runs):
            for name in SOURCES:
                source = os.path.join(folder, name + ".cpp")
                seconds = user_seconds([*command, "-c", "-o", os.path.join(folder, name + ".o"), source])
                fastest[name] = min(seconds, fastest.get(name, seconds))
    return fastest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="write the figures there")
    parser.add_argument("--check", help="fail where a ratio is more than 25 %% above this file's")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("build_folder", help="of a configured build")
    arguments = parser.parse_args()
    command = command_of(arguments.build_folder)
    recorded = {}
    if arguments.check:
        with open(arguments.check) as file:
            recorded = json.load(file)["adds"]
    seconds, failures = {}, ["not measured yet"]
    runs = 0
    while failures and runs < arguments.runs:
        # To record: all runs. To check: as many as it takes, at most that many.
        for name, s in measure(command, 1 if recorded else arguments.runs).items():
            seconds[name] = min(s, seconds.get(name, s))
        runs += 1 if recorded else arguments.runs
        adds, failures = {}, []
        for name, (with_it, without, count, limit) in ADDS.items():
            added = (seconds[with_it] - seconds[without]) / count
            ratio = added / (seconds["yardstick"] - seconds["torch"])
            adds[name] = {"seconds": round(added, 3), "ratio": round(ratio, 4), "wanted_below_s": limit}
            if name in recorded:
                # A few hundredths of a second are noise: 2 % of the yardstick are always allowed.
                allowed = max(1.25 * recorded[name]["ratio"], recorded[name]["ratio"] + 0.02)
                if ratio > allowed:
                    failures.append(f"{name}: {ratio:.3f} of the yardstick, recorded {recorded[name]['ratio']:.3f}, "
                                    f"allowed {allowed:.3f}")
    for name, a in adds.items():
        print(f"{name:11} adds {a['seconds']:6.2f} s, {a['ratio']:.3f} of the yardstick"
              f" (wanted: below {a['wanted_below_s']} s)")
    if arguments.json:
        version = subprocess.run([command[0], "--version"], capture_output=True, text=True).stdout.splitlines()[0]
        result = {"compiler": version, "runs": runs,
                  "seconds": {name: round(s, 3) for name, s in seconds.items()}, "adds": adds}
        with open(arguments.json, "w") as file:
            json.dump(result, file, indent=2)
            file.write("\n")
    if failures:
        sys.exit("compiling has become slower; if that is wanted, record it anew (bench-compile-record)\n" +
                 "\n".join(failures))


if __name__ == "__main__":
    main()
