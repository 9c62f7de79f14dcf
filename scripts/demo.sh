#!/bin/sh
# The tour: check, explain, train just in time, build a native trainer, train with it. Usage: demo.sh BLKC
set -eu
blkc=$1
network=examples/digits.blk
work=build/demo
rm -rf "$work"
mkdir -p "$work"

step() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
run() { step "$@"; "$@"; }

run "$blkc" check "$network"
run "$blkc" summary "$network"
step "$blkc" explain "$network"
"$blkc" explain "$network" > "$work/explain.txt"
head -n 60 "$work/explain.txt"
echo "… ($(wc -l < "$work/explain.txt") lines in $work/explain.txt)"
run "$blkc" train "$network" --out "$work/jit"
run "$blkc" build "$network" -o "$work/digits"
ls -l "$work/digits"
run "$work/digits" --out "$work/native"
step cmp "$work/jit/last.safetensors" "$work/native/last.safetensors"
cmp "$work/jit/last.safetensors" "$work/native/last.safetensors"
echo "just-in-time and native training give the same bits"
grep '"test_accuracy"' "$work/native/metrics.jsonl" | tail -n 1 |
    sed -E 's/.*"test_accuracy": ?([0-9.]+).*/\1/' | xargs printf 'test accuracy: %.4f\n'
