#!/usr/bin/env bash
# yolo-val and yolo-detect with every option, on a small generated data set and a network that was trained on its like.
#   tests/end_to_end/evaluation.sh BIN_FOLDER
set -euo pipefail
. "$(dirname "$0")/common.sh" "$1"

"$bin/yolo-shapes" --output shapes --train 2 --val 12 --imgsz 128 --seed 5 > /dev/null
data=shapes/shapes.yaml
val=("$bin/yolo-val" --weights "$trained" --imgsz 128 --batch-size 4)

# COCO's annotations of the same labels, written by hand: boxes in pixels of pictures of 128 x 128
awk '
    FNR == 1 { name = FILENAME; sub(/.*\//, "", name); sub(/\.txt$/, "", name)
               images = images (images ? "," : "") "{\"id\":" name + 0 ",\"file_name\":\"" name ".jpg\"}" }
    { w = $4 * 128; h = $5 * 128; x = $2 * 128 - w / 2; y = $3 * 128 - h / 2
      boxes = boxes (boxes ? "," : "") sprintf("{\"id\":%d,\"image_id\":%d,\"category_id\":%d,\"bbox\":[%f,%f,%f,%f],\"area\":%f,\"iscrowd\":0}",
                                               ++id, name, $1 * 10 + 3, x, y, w, h, w * h) }
    END { for (c = 0; c < 5; ++c) kinds = kinds (c ? "," : "") "{\"id\":" c * 10 + 3 ",\"name\":\"" c "\"}"
          print "{\"images\":[" images "],\"annotations\":[" boxes "],\"categories\":[" kinds "]}" }' shapes/labels/val/*.txt > truth.json
for label in shapes/labels/val/*.txt; do [ -s "$label" ] || fail "$label is empty: take another seed"; done

# everything that is saved; names of pictures that are numbers are numbers in COCO's files
"${val[@]}" --data "$data" --save-txt --save-conf --save-json --annotations truth.json --json val.json > val.txt 2>&1 || { cat val.txt; exit 1; }
has val.txt "Average Precision  (AP) @\[ IoU=0.50:0.95 | area=   all | maxDets=100 \] = 0[.]"
has val.txt "Average Recall     (AR) @\[ IoU=0.50:0.95 | area= large | maxDets=100 \]"
has val.txt "results in runs/val/exp"
near "$(number val.json map)" 0.6 0.4 || fail "mAP $(number val.json map): the network finds nothing"
near "$(number val.json AP)" "$(number val.json map)" 0.03 || fail "COCO's AP $(number val.json AP) is not near $(number val.json map)"
near "$(number val.json AP50)" "$(number val.json map50)" 0.03 || fail "COCO's AP50"
for name in confusion_matrix.png PR_curve.png P_curve.png R_curve.png F1_curve.png val_batch0_labels.jpg val_batch0_pred.jpg; do
    [ -s "runs/val/exp/$name" ] || fail "no $name"
done
[ "$(files runs/val/exp/labels '*.txt')" = 12 ] || fail "not one label file a picture"
awk 'NF != 6 || $1 > 4 || $2 < 0 || $2 > 1 || $6 <= 0.001 || $6 > 1 { exit 1 }' runs/val/exp/labels/*.txt || fail "a line of --save-txt"
[ "$(cat runs/val/exp/labels/*.txt | wc -l)" = "$(grep -o image_id runs/val/exp/shapes-silu_predictions.json | wc -l)" ] ||
    fail "the result file and the label files differ"

# a result file without a network: the same figures
"$bin/yolo-val" --predictions runs/val/exp/shapes-silu_predictions.json --annotations truth.json --json coco.json > coco.txt 2>&1
diff <(grep Average val.txt) <(grep Average coco.txt) || fail "the result file says something else than its run"
for key in AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl; do
    near "$(number val.json "$key")" "$(number coco.json "$key")" 1e-12 || fail "$key of the result file"
done

# COCO's own list, by its name: result file and figures without being asked, also at the end of training
mkdir -p coco/annotations
cp truth.json coco/annotations/instances_val2017.json
find "$PWD/shapes/images/val" -name '*.jpg' | sort > coco/val2017.txt
sed -e "s#^path: .*#path: $PWD/coco#" -e 's#^\(train\|val\): .*#\1: val2017.txt#' "$data" > coco.yaml
"${val[@]}" --data coco.yaml --noplots --project runs/coco --json own.json > own.txt 2>&1 || { cat own.txt; exit 1; }
near "$(number own.json AP)" "$(number val.json AP)" 1e-12 || fail "AP of COCO's list: $(number own.json AP)"
cmp runs/coco/exp/shapes-silu_predictions.json runs/val/exp/shapes-silu_predictions.json || fail "the result file of COCO's list"
"$bin/yolo-train" --data coco.yaml --weights "$trained" --imgsz 128 --batch-size 4 --epochs 1 --noplots --json trained.json > trained.txt 2>&1 ||
    { cat trained.txt; exit 1; }
near "$(number trained.json AP50)" "$(number trained.json map50)" 0.05 || fail "COCO's figures after training"
[ -s runs/train/exp/best_predictions.json ] || fail "no result file after training"
sed 's#{"id":[0-9]*,"file_name":"[^"]*"},##' truth.json > lacking.json
refused 1 "lacking.json lacks image [0-9]* (.*); give the annotations of the images that are looked at" \
    "${val[@]}" --data "$data" --save-json --annotations lacking.json
cp lacking.json coco/annotations/instances_val2017.json
"$bin/yolo-train" --data coco.yaml --weights "$trained" --imgsz 128 --batch-size 4 --epochs 1 --noplots > lacking.txt 2>&1 || { cat lacking.txt; exit 1; }
has lacking.txt "lacks image .*; COCO's figures are left out"
"${val[@]}" --data coco.yaml --noplots --project runs/coco > lacking.txt 2>&1 || { cat lacking.txt; exit 1; }
has lacking.txt "lacks image .*; COCO's figures are left out"

# tasks and ways to look
"${val[@]}" --data "$data" --augment --json augment.json > augment.txt 2>&1
near "$(number augment.json map)" "$(number val.json map)" 0.2 || fail "--augment: mAP $(number augment.json map)"
near "$(number augment.json map)" "$(number val.json map)" 0 && fail "--augment changed nothing"
"${val[@]}" --data "$data" --single-cls --json single.json > single.txt 2>&1
near "$(number single.json labels)" "$(number val.json labels)" 0 || fail "--single-cls has other labels"
[ "$(grep -c '"class"' single.json)" = 1 ] || fail "--single-cls has classes"
awk -v one="$(number single.json map50)" -v all="$(number val.json map50)" 'BEGIN { exit !(one > all - 0.1) }' || fail "--single-cls"
"${val[@]}" --data "$data" --half --device cpu --json half.json > half.txt 2>&1
has half.txt "half needs CUDA and the network runs on the CPU; it is ignored"
near "$(number half.json map)" "$(number val.json map)" 0.001 || fail "--half on the CPU changed figures"
"${val[@]}" --data "$data" --task train --json train.json > train.txt 2>&1
[ "$(number train.json images)" = 2 ] || fail "--task train"
(cat "$data" && echo "test: images/train") > shapes/tested.yaml
"${val[@]}" --data shapes/tested.yaml --task test --noplots --json test.json > test.txt 2>&1
[ "$(number test.json map)" = "$(number train.json map)" ] || fail "--task test"
"${val[@]}" --data "$data" --task speed --json speed.json > speed.txt 2>&1
has speed.txt "Speed: "
near "$(number speed.json recall)" 0.5 0.5 || fail "--task speed"
head -n 1 <(find "$PWD/shapes/images/val" -name '*.jpg' | sort) > one.txt
sed "s#^val: .*#val: $PWD/one.txt#" "$data" > shapes/one.yaml
"${val[@]}" --data shapes/one.yaml --noplots --save-json --annotations truth.json --json one.json > one.out 2>&1 || { cat one.out; exit 1; }
near "$(number one.json AP50)" "$(number one.json map50)" 0.1 || fail "images that were not looked at count: AP50 $(number one.json AP50), mAP50 $(number one.json map50)"
# five pictures of each of the five runs above that draw
[ "$(files runs/val '*.png')" = 25 ] || fail "--noplots or --task speed draws: $(find runs/val -name '*.png')"
"${val[@]}" --data shapes/one.yaml --task study --project runs/study --json made/study.json > study.txt 2>&1 || { cat study.txt; exit 1; }
awk 'NF != 10 { exit 1 } END { exit NR != 11 }' runs/study/exp/study_one_shapes-silu.txt || fail "the study's lines"
has study.txt "1536 px"
[ "$(grep -c '"imgsz"' made/study.json)" = 11 ] || fail "--json of a study"
[ -s runs/study/exp/study.png ] || fail "no study.png"

# yolo-detect
detect=("$bin/yolo-detect" --weights "$trained" --imgsz 128 --conf-thres 0.3 --project runs/detect)
"${detect[@]}" --source shapes/images/val --save-txt --save-conf --save-crop --name all --json all.json > detect.txt 2>&1 || { cat detect.txt; exit 1; }
has detect.txt "image 12/12 shapes/images/val/.*[0-9] ms"
[ "$(find runs/detect/all -maxdepth 1 -name '*.jpg' | wc -l)" = 12 ] || fail "not one picture an image"
lines=$(cat runs/detect/all/labels/*.txt | wc -l)
[ "$lines" -gt 10 ] || fail "detects $lines objects"
[ "$(files runs/detect/all/crops '*.jpg')" = "$lines" ] || fail "not one cut-out a box"
[ "$(grep -c '"confidence"' all.json)" = "$lines" ] || fail "not one box a label in --json"
"${detect[@]}" --source 'shapes/images/val/*.jpg' --nosave --save-txt --name pattern > /dev/null 2>&1
[ "$(files runs/detect/pattern '*.jpg')" = 0 ] || fail "--nosave"
[ "$(cat runs/detect/pattern/labels/*.txt | wc -l)" = "$lines" ] || fail "a pattern finds other objects than its folder"
awk 'NF != 5 { exit 1 }' runs/detect/pattern/labels/*.txt || fail "labels without --save-conf have a confidence"
"${detect[@]}" --source one.txt --imgsz 96 160 --classes 0 1 --max-det 2 --agnostic-nms --augment --hide-conf --line-thickness 1 \
    --name one --json one.json > one.out 2>&1 || { cat one.out; exit 1; }
has one.out "image 1/1"
[ "$(grep -c '"confidence"' one.json)" -le 2 ] || fail "--max-det"
if grep '"class": [2-9]' one.json; then fail "--classes"; fi
"${detect[@]}" --source one.txt --classes 0 --classes 99 --nosave --json none.json > none.txt 2>&1
if grep '"confidence"' none.json; then fail "the first --classes counts beside the last"; fi
printf '\xef\xbb\xbf  ' | cat - one.txt > marked.txt
"${detect[@]}" --source marked.txt --nosave > marked.out 2>&1 || { cat marked.out; fail "a list with a byte order mark"; }
cp "$(cat one.txt)" shapes/a.jpg
echo none > shapes/b.jpg
"${detect[@]}" --source shapes --hide-labels --name broken > broken.txt 2>&1
has broken.txt "b.jpg: cannot be decoded as an image; it is passed over"
has broken.txt "a.jpg: "
"${detect[@]}" --source one.txt --imgsz 64 70 --name sides > sides.txt 2>&1 || { cat sides.txt; exit 1; }
has sides.txt "an image size of 70 is no multiple of 32; 96 is used"
mkdir other
cp "$(cat one.txt)" other/a.jfif
"${detect[@]}" --source other --name other > other.txt 2>&1 || { cat other.txt; fail "an image whose name is not OpenCV's"; }
[ -s runs/detect/other/a.jpg ] || fail "a.jfif was not drawn"

# bad input
refused 2 "--data" "$bin/yolo-val" --weights "$trained"
refused 2 "--weights" "$bin/yolo-val" --data "$data"
refused 2 "--annotations" "$bin/yolo-val" --predictions coco.json
refused 2 "--save-json" "${val[@]}" --data "$data" --annotations truth.json
refused 1 "nothing.json" "$bin/yolo-val" --predictions nothing.json --annotations truth.json
refused 2 "0 is too small; want 32" "${detect[@]}" --source one.txt --imgsz 64 0
refused 1 "test" "${val[@]}" --data "$data" --task test
refused 1 "nowhere: no such picture, video, folder or list" "${detect[@]}" --source nowhere
refused 1 "nothing in it could be read" "${detect[@]}" --source shapes/b.jpg --name none
echo "every option did its work"
