#!/bin/sh
# Training loss of the digits network after 20 epochs, for every mode of the scale factors and several learning rates.
# Usage: benches/modes.sh [BLKC]
set -eu
blkc=${1:-target/release/blkc}
here=$(dirname "$0")
program=$(mktemp --suffix=.blk)
trap 'rm -f "$program"' EXIT
echo "| mode | lr = 0.02 | lr = 0.002 | lr = 0.0002 |"
echo "|---|---|---|---|"
for mode in paper analytic measured trace; do
    row="| $mode |"
    for lr in 0.02 0.002 0.0002; do
        sed "s/lr = 0.02,/lr = $lr, mode = $mode,/" "$here/../examples/digits.blk" > "$program"
        loss=$("$blkc" train "$program" 2>&1 | sed -n 's/^epoch 20\/20 loss \([0-9.]*\).*/\1/p') || true
        row="$row ${loss:-stopped: not finite} |"
    done
    echo "$row"
done
