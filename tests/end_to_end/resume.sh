#!/usr/bin/env bash
# What a run survives: ended after an epoch and resumed in another process it is the same run, bit for bit; killed at any
# moment it loses at most its current epoch; a full disk and a signal leave the last checkpoint whole.
#   tests/end_to_end/resume.sh BIN_FOLDER
set -euo pipefail
. "$(dirname "$0")/common.sh" "$1"

"$bin/yolo-shapes" --output shapes --train 16 --val 4 --imgsz 64 --seed 3 > /dev/null
small_run=(--data shapes/shapes.yaml --weights "$trained" --imgsz 64 --batch-size 4 --threads 1 --workers 1 --exist-ok)
train() {                      # train NAME ARGUMENT...
    "$bin/yolo-train" "${small_run[@]}" --name "$@" > "$1.txt" 2>&1 || { cat "$1.txt"; fail "$1"; }
}
resume() { "$bin/yolo-train" --resume "runs/train/$1/weights/last.pt" > "$1.txt" 2>&1 || { cat "$1.txt"; fail "$1"; }; }
same() {                       # of two runs: what they learnt, and what they wrote down
    for file in weights/last.pt weights/best.pt results.csv; do
        cmp "runs/train/$1/$file" "runs/train/$2/$file" || fail "$1 and $2 differ in $file"
    done
}

# N epochs = N/2, a new process, N/2: float with its average, and quantized. The run knows its hyper-parameters.
for experiment in relu exp2; do
    echo "lr0: 0.002" > told.yaml
    train "$experiment" --experiment "$experiment" --epochs 4 --hyp told.yaml
    train "$experiment-halves" --experiment "$experiment" --epochs 4 --hyp told.yaml --stop-after-epoch 1
    rm told.yaml
    has "$experiment-halves.txt" "stopped after epoch 1"
    [ "$(wc -l < "runs/train/$experiment-halves/results.csv")" = 3 ] || fail "it did not stop after epoch 1"
    resume "$experiment-halves"
    same "$experiment" "$experiment-halves"
done

# killed 20 times at random moments, also while it writes: whatever is there can be read and gone on with. Where all epochs
# are there the run must be the one that was left alone, and another begins.
RANDOM=7
train steady --experiment exp2 --epochs 60
lines() { { cat runs/train/killed/results.csv 2> /dev/null || true; } | wc -l; }
go_on() {
    if [ -e runs/train/killed/weights/last.pt ]; then
        exec "$bin/yolo-train" --resume runs/train/killed/weights/last.pt
    fi
    exec "$bin/yolo-train" "${small_run[@]}" --name killed --experiment exp2 --epochs 60
}
whole() { [ "$1" = 0 ] || { [ "$1" = 1 ] && grep -q 'has finished its 60 epochs' killed.txt; }; }  # whole STATUS
kills=0
until [ "$kills" = 20 ]; do
    before=$(lines)
    (go_on > killed.txt 2>&1) &
    sleep "$(printf '%d.%03d' $((RANDOM % 2)) $((RANDOM % 1000)))"
    kill -KILL $! 2> /dev/null || true
    code=0
    wait $! 2> /dev/null || code=$?
    whole "$code" || [ "$code" = 137 ] || { cat killed.txt; fail "after $kills kills a run gave status $code"; }
    [ "$code" != 137 ] || kills=$((kills + 1))
    for file in runs/train/killed/weights/*.pt; do
        [ -e "$file" ] || continue
        "$bin/yolo-val" --data shapes/shapes.yaml --weights "$file" --imgsz 64 --threads 1 --noplots > val.txt 2>&1 ||
            { cat val.txt; fail "$file cannot be read after kill $kills"; }
    done
    after=$(lines)
    [ "$after" -ge "$((before - 1))" ] || fail "kill $kills lost more than an epoch: $before lines, now $after"
    if whole "$code"; then
        same steady killed
        rm -r runs/train/killed
    fi
done
code=0
(go_on > killed.txt 2>&1) || code=$?
whole "$code" || { cat killed.txt; fail "the run after $kills kills"; }
same steady killed
[ -z "$(find runs/train/killed -name '*.tmp')" ] || fail "temporary files are left"

# a full disk (a limit on the size of files stands for it): a clear error, and the checkpoint from before
train full --experiment relu --epochs 2 --stop-after-epoch 0
cp runs/train/full/weights/last.pt last-before.pt
code=0
(trap '' XFSZ; ulimit -f 300; exec "$bin/yolo-train" --resume runs/train/full/weights/last.pt > full.txt 2>&1) || code=$?
[ "$code" = 1 ] || { cat full.txt; fail "a full disk gave status $code"; }
has full.txt "cannot be written (File too large); is the disk full? A file that was there before is unchanged"
cmp last-before.pt runs/train/full/weights/last.pt || fail "the checkpoint from before is gone"

terminated() {                 # terminated NAME ARGUMENT...: as train, with a SIGTERM once last.pt is there
    "$bin/yolo-train" "${small_run[@]}" --name "$@" > "$1.txt" 2>&1 &
    for _ in $(seq 500); do [ -e "runs/train/$1/weights/last.pt" ] && break; sleep 0.02; done
    kill -TERM $!
    local code=0
    wait $! || code=$?
    [ "$code" = 143 ] || { cat "$1.txt"; fail "SIGTERM gave status $code"; }
}

# SIGTERM: the step is finished, what is saved is resumed within the epoch, and the run is the same
train term --experiment exp2 --epochs 30
terminated ended --experiment exp2 --epochs 30
resume ended
same term ended

# SIGTERM once the last epoch is saved, while the best one is shown: nothing is left to do, and the status tells
terminated shown --experiment relu --epochs 1
echo "nothing was lost"
