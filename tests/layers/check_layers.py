#!/usr/bin/env python3
"""An include only points down; a third-party library is named in one place; headers hold no macros.

usage: check_layers.py INCLUDE_FOLDER        (prints one line for each breach; the exit code says whether there was one)
       check_layers.py --self-test           (feeds it headers that break each rule)
"""
import pathlib
import re
import sys
import tempfile

# From the bottom up; what stands in one line may include each other (without a cycle), and all below.
LAYERS = [
    ["qat/torch.hpp", "qat/core/"],
    ["qat/graph/"],
    ["qat/core.hpp", "qat/ops/"],
    ["qat/nn/"],
    ["qat/calibrate/"],
    ["qat/deploy/"],
    ["qat/qat.hpp"],
    ["yolo/model/", "yolo/train/hyperparameters.hpp", "yolo/experiments.hpp"],  # plain values, read by all above
    ["yolo/data/", "yolo/loss/", "yolo/metrics/", "yolo/io/"],
    ["yolo/plot/"],
    ["yolo/train/"],
    ["yolo/apps/"],
    ["yolo/yolo.hpp"],
]
TORCH_FREE = ("qat/core/", "qat/graph/", "qat/core.hpp")

# (which includes, who may)
THIRD_PARTY = [
    (r"(torch|ATen|c10)/", ["qat/torch.hpp", "qat/ops/cuda/"]),
    (r"caffe2/", ["yolo/io/"]),
    (r"opencv2/", ["yolo/data/image.hpp", "yolo/data/draw.hpp", "yolo/data/shapes.hpp", "yolo/data/video.hpp"]),
    (r"(yaml-cpp|nlohmann)/", ["yolo/io/"]),
    (r"CLI/", ["yolo/apps/"]),
]


def matches(path, entry):
    return path.startswith(entry) if entry.endswith("/") else path == entry


def layer(path):
    best = None
    for height, entries in enumerate(LAYERS):
        for entry in entries:
            if matches(path, entry) and (best is None or len(entry) > best[0]):
                best = (len(entry), height)
    return None if best is None else best[1]


def without_comments(text):
    pattern = r'R"\(.*?\)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'|//[^\n]*|/\*.*?\*/'
    return re.sub(pattern, lambda m: m.group(0) if m.group(0)[0] in "\"'R" else " ", text, flags=re.S)


def without_strings(text):
    return re.sub(r'R"\(.*?\)"|"(?:\\.|[^"\\\n])*"', '""', text, flags=re.S)


# Which includes bring a namespace: the headers test precompiles these libraries and would not miss one.
LIBRARIES = {"cv": "opencv2/", "nlohmann": "nlohmann/", "YAML": "yaml-cpp/", "CLI": "CLI/", "spdlog": "spdlog/"}


def check(root):
    breaches = []
    code = {str(p.relative_to(root)): without_comments(p.read_text())
            for p in sorted(root.rglob("*")) if p.suffix in (".hpp", ".cuh", ".cu")}
    includes = {path: re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', text, flags=re.M) for path, text in code.items()}

    def reached(path, seen):
        for other in includes.get(path, []):
            if other not in seen:
                seen.add(other)
                reached(other, seen)
        return seen

    for path, text in code.items():
        say = lambda what: breaches.append(f"{path}: {what}")
        here = layer(path)
        if here is None:
            say("stands in no layer; add its folder to tests/layers/check_layers.py")
            continue
        plain = without_strings(text)
        if path.endswith((".hpp", ".cuh")) and not plain.lstrip().startswith("#pragma once"):
            say("does not begin with #pragma once")
        if re.search(r"^\s*#\s*define\b", plain, flags=re.M) and path != "qat/core/host_device.hpp":
            say("defines a macro; only qat/core/host_device.hpp may")
        if re.search(r"\busing\s+namespace\b", plain):
            say("has a using namespace")
        if path.startswith("qat/") and re.search(r"\byolo\s*(::|/)", plain):
            say("names yolo; qat/ knows nothing of it")

        for other in includes[path]:
            if other.startswith(("qat/", "yolo/")):
                if other not in code:
                    say(f"includes <{other}>, which does not exist")
                elif layer(other) is not None and layer(other) > here:
                    say(f"includes <{other}>, which stands above it")
            for pattern, owners in THIRD_PARTY:
                if re.match(pattern, other) and not any(matches(path, owner) for owner in owners):
                    say(f"includes <{other}>; only {', '.join(owners)} may")

        seen = reached(path, set())
        names_torch = re.search(r"\b(torch|at|c10)::", plain)
        if any(matches(path, free) for free in TORCH_FREE):
            if "qat/torch.hpp" in seen or names_torch:
                say("needs LibTorch; qat/core and qat/graph do without")
        elif names_torch and "qat/torch.hpp" not in seen | {path} and path.endswith(".hpp"):
            say(f"names {names_torch.group(0)} but does not reach <qat/torch.hpp> by its includes")
        for name, library in LIBRARIES.items():
            if path.endswith(".hpp") and re.search(rf"\b{name}::", plain) and not any(
                    other.startswith(library) for other in seen | {path}):
                say(f"names {name}:: but does not reach <{library}...> by its includes")
        if path in seen:
            say("reaches itself by its includes")
    return breaches


def self_test():
    cases = {
        "qat/nn/a.hpp": ("#include <yolo/model/size.hpp>", "stands above"),
        "qat/core/b.hpp": ("#include <qat/torch.hpp>", "needs LibTorch"),
        "qat/nn/c.hpp": ("#include <ATen/Parallel.h>", "only qat/torch.hpp"),
        "qat/nn/d.hpp": ("inline torch::Tensor f();", "does not reach"),
        "yolo/data/n.hpp": ("inline cv::Mat f();", "does not reach"),
        "yolo/model/e.hpp": ("#include <yolo/train/g.hpp>", "stands above"),
        "yolo/data/f.hpp": ("#include <yaml-cpp/yaml.h>", "only yolo/io/"),
        "yolo/train/g.hpp": ("#define G 1", "macro"),
        "yolo/loss/h.hpp": ("#include <yolo/loss/i.hpp>", "reaches itself"),
        "yolo/loss/i.hpp": ("#include <yolo/loss/h.hpp>", "reaches itself"),
        "yolo/io/j.hpp": ("#include <opencv2/core.hpp>", "only yolo/data/image.hpp"),
        "qat/else/k.hpp": ("", "no layer"),
        "qat/ops/l.hpp": ("using namespace std;", "using namespace"),
        "yolo/metrics/m.hpp": ("#include <caffe2/serialize/inline_container.h>", "only yolo/io/"),
        "yolo/loss/n.hpp": ("#include <yolo/loss/none.hpp>", "does not exist"),
        "qat/nn/o.hpp": ("namespace yolo::x {}", "names yolo"),
        "yolo/data/p.hpp": ("#include <yolo/plot/r.hpp>", "stands above"),
        "yolo/plot/r.hpp": ("#include <yolo/data/f.hpp>", None),
        "qat/torch.hpp": ("#include <torch/torch.h>", None),
        "yolo/model/size.hpp": ("// torch:: in a comment, and R\"(text)\" \"at::\"", None),
        "yolo/io/q.hpp": ("#include <caffe2/serialize/inline_container.h>\n#include <nlohmann/json.hpp>", None),
    }
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for path, (text, _) in cases.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text("#pragma once\n" + text + "\n")
        found = check(root)
    wrong = []
    for path, (_, wanted) in cases.items():
        mine = [breach for breach in found if breach.startswith(path + ":")]
        if (wanted is None and mine) or (wanted and not any(wanted in breach for breach in mine)):
            wrong.append(f"{path}: want {wanted!r}, found {mine}")
    return wrong


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--self-test":
        breaches = self_test()
    else:
        breaches = check(pathlib.Path(sys.argv[1]))
    print("\n".join(breaches) if breaches else "no breach")
    sys.exit(bool(breaches))


if __name__ == "__main__":
    main()
