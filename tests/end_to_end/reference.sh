#!/usr/bin/env bash
# yolo-val's figures are those of the reference, YOLOv5 v7.0's val.py in float32 on the CPU, to 0.001; and so are COCO's
# twelve of what it found, which pycocotools 2.0.11 computed, to 0.002.
#   tests/end_to_end/reference.sh BIN_FOLDER SHARED_FOLDER
set -euo pipefail
bin=$1
shared=${QAT_SHARED:-$2}
if [ ! -d "$shared/data/coco-mini" ]; then
    echo "skipped: wants $shared/data (set QAT_SHARED)"
    [ -z "${CI:-}" ] || exit 1
    exit 77
fi
shared=$(cd "$shared" && pwd)
. "$(dirname "$0")/common.sh" "$bin"

wrong=0
compare() {                    # compare WEIGHTS DATA PX P R MAP50 MAP [ARGUMENT...]
    "$bin/yolo-val" --data "$shared/data/$2/$2.yaml" --weights "$shared/data/weights/$1.pt" --imgsz "$3" --batch-size 16 \
        --json "$work/v.json" "${@:8}" > "$work/out.txt" 2>&1 || { cat "$work/out.txt"; exit 1; }
    local expected=("$4" "$5" "$6" "$7") i=0 key found
    for key in precision recall map50 map; do
        found=$(number "$work/v.json" "$key")
        printf '%-12s %-9s %s px  %-9s %.4f (reference %s)\n' "$1" "$2" "$3" "$key" "$found" "${expected[$i]}"
        near "$found" "${expected[$i]}" 0.001 || wrong=1
        i=$((i + 1))
    done
}
compare_coco() {               # compare_coco AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl, of the last run
    local key found
    grep -q "Average Precision  (AP) @\[ IoU=0.50:0.95 | area=   all | maxDets=100 \] = 0[.]" "$work/out.txt" ||
        { cat "$work/out.txt"; echo "the twelve lines are missing"; wrong=1; }
    for key in AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl; do
        found=$(number "$work/v.json" "$key")
        printf '%-5s %.4f (reference %s)\n' "$key" "$found" "$1"
        near "$found" "$1" 0.002 || wrong=1
        shift
    done
}
compare yolov5n coco128 640 0.6290 0.4969 0.5641 0.3639
compare yolov5s_v6.0 coco128 640 0.6922 0.5808 0.6461 0.4361
compare yolov5n coco-mini 320 0.5731 0.3041 0.3415 0.2033 \
    --save-json --annotations "$shared/data/coco-mini/annotations/instances_val.json" --project "$work/val"
compare_coco .2025 .3404 .2051 .0638 .2290 .4428 .2090 .3213 .3554 .1326 .4391 .6266
compare yolov5s_v6.0 coco-mini 320 0.6114 0.3942 0.4372 0.2815 \
    --save-json --annotations "$shared/data/coco-mini/annotations/instances_val.json" --project "$work/val"
compare_coco .2803 .4362 .2957 .0972 .3274 .5801 .2468 .3935 .4305 .1951 .5376 .7122
compare yolov5n coco-mini 384 0.5556 0.3389 0.3733 0.2218
compare yolov5s_v6.0 coco-mini 384 0.6142 0.4131 0.4601 0.2968
[ "$wrong" = 0 ] || { echo "FAILED: a figure is further than 0.001 from the reference's"; exit 1; }
