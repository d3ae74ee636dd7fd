#!/usr/bin/env bash
# From nothing to a quantized network on generated images, in minutes and without other data: installs what is missing,
# builds, draws a data set, takes the small SiLU network that is shipped (docs/reproducing.md: how it was trained),
# replaces SiLU by ReLU and retrains, trains quantization-aware (exp2: power-of-two scales, aligned joins), and shows
# what each step cost.
#
#   scripts/demo.sh [FOLDER]        default: build/demo; what was there is replaced
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-build/demo}

scripts/install_dependencies.sh
cmake --preset release > /dev/null
cmake --build --preset release --target yolo-shapes yolo-train yolo-val yolo-detect
bin=build/release/bin
silu=examples/demo/shapes-silu.pt

rm -rf "$out"
mkdir -p "$out"
start=$SECONDS
"$bin/yolo-shapes" --output "$out/shapes" --train 400 --val 200 --imgsz 256 --seed 7
data=$out/shapes/shapes.yaml
train=(--data "$data" --imgsz 256 --batch-size 16 --optimizer AdamW --cos-lr --set momentum=0.9 --set mosaic=0
    --set scale=0.3 --set warmup_epochs=1 --project "$out" --noval)

echo; echo "==== SiLU -> ReLU"
"$bin/yolo-train" "${train[@]}" --weights "$silu" --experiment relu --epochs 12 --set lr0=0.001 --set lrf=0.01 \
    --set warmup_bias_lr=0.001 --name relu
echo; echo "==== quantization-aware training"
"$bin/yolo-train" "${train[@]}" --weights "$out/relu/weights/last.pt" --experiment exp2 --epochs 8 --set lr0=0.0003 \
    --set lrf=0.01 --set warmup_bias_lr=0.0003 --name exp2

figure() {                     # figure FILE KEY: the first number of that name, which is that of all classes
    sed -n "s/^ *\"$2\": \([0-9.e-]*\),*\$/\1/p" "$1" | head -n 1
}
rows=()
for row in "silu:$silu" "relu:$out/relu/weights/last.pt" "exp2:$out/exp2/weights/last.pt"; do
    name=${row%%:*}
    "$bin/yolo-val" --data "$data" --weights "${row#*:}" --imgsz 256 --json "$out/$name.json" > /dev/null 2>&1
    rows+=("$(printf '%-28s %8.3f %10.3f' "$name" "$(figure "$out/$name.json" map50)" "$(figure "$out/$name.json" map)")")
done
"$bin/yolo-detect" --source "$out/shapes/images/val" --weights "$out/exp2/weights/last.pt" --imgsz 256 \
    --project "$out" --name detections > "$out/detections.txt"

echo
printf '%-28s %8s %10s\n' "experiment" "mAP50" "mAP50-95"
printf '%s\n' "${rows[@]}"
echo "detections of the quantized network: $out/detections/ (for example $(ls "$out"/detections/*.jpg | head -n 1))"
echo "took $((SECONDS - start)) s after the build"
