#!/usr/bin/env bash
# The command lines as a user runs them, on a small generated data set: every step must do its work, and bad input must
# be one clear sentence and a non-zero exit status.
#   tests/end_to_end/run.sh BIN_FOLDER
set -euo pipefail
. "$(dirname "$0")/common.sh" "$1"

"$bin/yolo-shapes" --output shapes --train 24 --val 8 --imgsz 128 --seed 3 --json shapes.json > /dev/null
has shapes.json '"train": 24'
data=shapes/shapes.yaml
common=(--data "$data" --imgsz 128 --batch-size 8 --epochs 2 --threads 1)

# from nothing
"$bin/yolo-train" "${common[@]}" --imgsz 64 --model 0.33,0.125 --name silu --json silu.json > silu.txt 2>&1
has silu.txt "mAP50-95"
has silu.json '"map50"'

# from a network that finds something: ReLU, then quantized; the first run is described by a file
echo '{"data": "shapes/shapes.yaml", "imgsz": 128, "batch-size": 8, "epochs": 9, "experiment": "relu", "set": ["lr0=0.001", "warmup_bias_lr=0.001"]}' > run.json
"$bin/yolo-train" --run run.json --epochs 2 --weights "$trained" --name relu --json relu.json > relu.txt 2>&1
has relu.txt "transferred 349/349"
has runs/train/relu/opt.json '"ema": null'
has runs/train/relu/opt.json '"epochs": 2'
has runs/train/relu/hyp.yaml "lr0: 0.001"
"$bin/yolo-train" "${common[@]}" --weights runs/train/relu/weights/best.pt --experiment exp2 --name exp2 > exp2.txt 2>&1
has exp2.txt "plan: observers stop at step 3 = end of epoch 0"
has exp2.txt "batch norm freezes at step 3"
[ "$(wc -l < runs/train/exp2/results.csv)" = 3 ] || fail "results.csv has not one row per epoch"

# what people look at
for name in results.csv results.png labels.png confusion_matrix.png P_curve.png R_curve.png F1_curve.png PR_curve.png hyp.yaml opt.json \
    train_batch0.jpg train_batch1.jpg train_batch2.jpg val_batch0_labels.jpg val_batch0_pred.jpg weights/best.pt weights/last.pt; do
    [ -s "runs/train/relu/$name" ] || fail "the run left no $name"
done

# many options at once: each leaves a trace
"$bin/yolo-train" "${common[@]}" --weights "$trained" --experiment relu --name many --tensorboard --multi-scale --image-weights --cache disk \
    --cos-lr --label-smoothing 0.1 --freeze 3 --optimizer AdamW --save-period 1 --mosaic-tiles 9 --noautoanchor --single-cls --noplots \
    --no-ema --seed 3 --hyp "$(dirname "$trained")/../../configs/hyp/m-relu-tune.yaml" > many.txt 2>&1 || { cat many.txt; fail "many options"; }
[ "$(files runs/train/many 'events.out.tfevents.*')" = 1 ] || fail "--tensorboard"
[ -s runs/train/many/weights/epoch0.pt ] || fail "--save-period"
[ "$(files shapes '*.npy')" -ge 24 ] || fail "--cache disk kept $(files shapes '*.npy') images"
[ "$(files runs/train/many '*.png')" = 0 ] || fail "--noplots"
has many.txt ", 1 classes"
has runs/train/many/hyp.yaml "label_smoothing: 0.1"
if grep -q AutoAnchor many.txt; then fail "--noautoanchor"; fi
find shapes -name '*.npy' -delete
"$bin/yolo-train" --data "$data" --imgsz 64 --batch-size 8 --epochs 1 --threads 1 --weights "$trained" --experiment relu --patience 1 --nosave \
    --no-cache --name none > none.txt 2>&1
has none.txt "best.pt holds the best epoch\|last.pt holds the last epoch"

# evolution: the hyper-parameters as given, and a mutation of them
"$bin/yolo-train" --data "$data" --imgsz 64 --batch-size 8 --epochs 1 --threads 1 --weights "$trained" --experiment relu --evolve 2 --name evolved \
    --json evolved.json > evolved.txt 2>&1 || { cat evolved.txt; fail "--evolve"; }
[ "$(wc -l < runs/evolve/evolved/evolve.csv)" = 3 ] || fail "evolve.csv has not a row a generation"
has runs/evolve/evolved/hyp_evolve.yaml "^lr0: "
has evolved.json '"generations": 2'

# a checkpoint knows its experiment; what training measured is what validation measures
"$bin/yolo-train" "${common[@]}" --weights runs/train/relu/weights/best.pt --experiment stock --set lr0=0.001 --name stock --json stock.json > stock.txt 2>&1
for name in relu stock; do
    "$bin/yolo-val" --data "$data" --weights "runs/train/$name/weights/best.pt" --imgsz 128 --batch-size 16 --json val.json --verbose > val.txt 2>&1
    has val.txt "YOLOv5 $name"
    has val.txt "circle"
    has val.txt "Speed:"
    diff <(grep '"map' "$name.json") <(grep '"map' val.json) || fail "training and yolo-val disagree"
    map50=$(number val.json map50)
    awk -v map50="$map50" 'BEGIN { exit !(map50 > 0.3) }' || fail "$name: mAP50 $map50 is that of a network that finds nothing"
done
for key in precision recall map50 map per_class speed_ms; do has val.json "\"$key\""; done

# going on where a run ended
if "$bin/yolo-train" --resume runs/train/exp2/weights/last.pt > out.txt 2> err.txt; then fail "resumed a finished run"; fi
has err.txt "has finished its 2 epochs"
sed -i 's/"epochs": 2/"epochs": 3/' runs/train/exp2/opt.json
touch runs/train/exp2/weights/last.pt
"$bin/yolo-train" --resume > resumed.txt 2>&1
[ "$(wc -l < runs/train/exp2/results.csv)" = 4 ] || fail "the resumed run did not add one row"

# from within the run's folder; of a list that is given twice the last one counts
small=(--imgsz 64 --batch-size 8 --threads 1 --weights "$trained" --experiment relu)
"$bin/yolo-train" --data "$PWD/$data" "${small[@]}" --epochs 2 --freeze 10 --freeze 3 --noplots --stop-after-epoch 0 --name inside > inside.txt 2>&1
tr -d ' \n' < runs/train/inside/opt.json | grep -q '"freeze":\[3\]' || fail "--freeze adds up"
(cd runs/train/inside && "$bin/yolo-train" --resume weights/last.pt) > inside.txt 2>&1 || { cat inside.txt; fail "--resume from within the run's folder"; }
(cd runs/train/inside/weights && refused 1 "has finished its 2 epochs" "$bin/yolo-train" --resume last.pt)

# without images to validate on there are results all the same, in folders that did not exist
grep -v '^val:' "$data" > shapes/no-val.yaml
"$bin/yolo-train" --data shapes/no-val.yaml "${small[@]}" --epochs 1 --name no-val --json made/for/it.json > no-val.txt 2>&1 || { cat no-val.txt; fail "no val:"; }
has made/for/it.json '"epochs": 1'
[ -s runs/train/no-val/results.png ] || fail "no results.png without val:"

# a picture that cannot be written is a warning
mkdir -p runs/train/pictures/train_batch1.jpg
"$bin/yolo-train" --data "$data" "${small[@]}" --epochs 1 --exist-ok --name pictures > pictures.txt 2>&1 || { cat pictures.txt; fail "a picture ended a run"; }
has pictures.txt "train_batch1.jpg: the image cannot be written"

# Ctrl-C: exit status 130, a usable last.pt
"$bin/yolo-train" "${common[@]}" --epochs 500 --weights runs/train/relu/weights/best.pt --experiment exp2 --noval --name stopped > stopped.txt 2>&1 &
for _ in $(seq 100); do [ -f runs/train/stopped/weights/last.pt ] && break; sleep 0.3; done
kill -INT $!
code=0; wait $! || code=$?
[ "$code" = 130 ] || { cat stopped.txt; fail "interrupted with status $code"; }
has stopped.txt "keeps what was learnt\|can be resumed"
"$bin/yolo-train" --resume runs/train/stopped/weights/last.pt --epochs 3 > again.txt 2>&1 &
for _ in $(seq 100); do grep -q "500 epochs; results" again.txt && break; sleep 0.1; done
kill -INT $!
wait $! || true
has again.txt "500 epochs; results"                              # the run's own options, not those beside --resume
"$bin/yolo-val" --data "$data" --weights runs/train/stopped/weights/last.pt --imgsz 128 > /dev/null 2>&1

# pictures
"$bin/yolo-detect" --source shapes/images/val --weights runs/train/exp2/weights/best.pt --imgsz 128 --conf-thres 0.0001 --json boxes.json > detect.txt 2>&1
[ "$(find runs/detect/exp -name '*.jpg' | wc -l)" = 8 ] || fail "not one picture per image"
has boxes.json '"confidence"'

# seeing it
"$bin/yolo-describe" --experiment exp2 --model n --images 118287 --batch-size 32 --dot exp2.dot --json exp2.json > describe.txt
has describe.txt "observers stop at step 3697 = end of epoch 0"
has describe.txt "joins whose inputs share one quantizer: 20 of 20: all"
has describe.txt "1872157 parameters"
has exp2.dot "scale group g16"
[ -s exp2.unbound.dot ] || fail "no graph before binding"
if command -v dot > /dev/null; then dot -Tsvg exp2.dot -o exp2.svg || fail "Graphviz refuses the network"; fi
"$bin/yolo-describe" --experiment exp1 > exp1.txt
has exp1.txt "not backbone.c3_2.m0.add"
"$bin/yolo-describe" --list | grep -q exp2-as-run || fail "--list"

# bad input
refused 1 "nowhere.yaml does not exist" "$bin/yolo-val" --data nowhere.yaml --weights runs/train/exp2/weights/best.pt
refused 1 "nothing.pt" "$bin/yolo-val" --data "$data" --weights nothing.pt
refused 1 "there is no experiment \"exp9\"; known are silu, relu" "$bin/yolo-train" "${common[@]}" --experiment exp9
refused 2 "16 is too small; want 32, 64, 96" "$bin/yolo-train" "${common[@]}" --imgsz 16
refused 2 "batch-size: 0 is too small; want 1 or more" "$bin/yolo-train" "${common[@]}" --batch-size 0
refused 2 "imgsz: 0 is too small" "$bin/yolo-shapes" --output none --imgsz 0
refused 1 "data" "$bin/yolo-train" --epochs 1
refused 1 "every layer is frozen" "$bin/yolo-train" "${common[@]}" --experiment relu --freeze 25
refused 1 "there is no such CUDA device" "$bin/yolo-train" "${common[@]}" --device 99999999999
refused 2 "is too large; want 65536 at most" "$bin/yolo-train" "${common[@]}" --batch-size 2000000000
refused 1 "small would round\|would round the scales" "$bin/yolo-train" "${common[@]}" --weights runs/train/relu/weights/best.pt --experiment exp2 --half
cp -r shapes unlabelled && rm -r unlabelled/labels
refused 1 "no image to train on has a label; the first one's is looked for in .*unlabelled/labels/train" "$bin/yolo-train" "${common[@]}" --data unlabelled/shapes.yaml
refused 1 "no run in runs/none has a weights/last.pt" "$bin/yolo-train" --project runs/none --resume
refused 1 "leave --stop-after-epoch out" "$bin/yolo-train" "${common[@]}" --evolve --stop-after-epoch 0
echo '{"data": "shapes/shapes.yaml", "epocs": 9}' > wrong.json
refused 1 'unknown key "epocs"; did you mean "epochs"' "$bin/yolo-train" --run wrong.json
refused 1 'unknown key "epocs"' "$bin/yolo-train" --run=wrong.json
head -c 20000 runs/train/exp2/weights/best.pt > broken.pt
refused 1 "broken.pt: " "$bin/yolo-val" --data "$data" --weights broken.pt
sed 's#images/val#images/none#' "$data" > shapes/none.yaml
refused 1 "images/none does not exist" "$bin/yolo-val" --data shapes/none.yaml --weights runs/train/exp2/weights/best.pt
printf 'path: .\ntrain: images/train\nval: images/val\nnc: 2\nnames: [a, b]\n' > shapes/two.yaml
refused 1 "knows 5 classes and shapes/two.yaml has 2" "$bin/yolo-val" --data shapes/two.yaml --weights runs/train/exp2/weights/best.pt
echo "every command did its work"
