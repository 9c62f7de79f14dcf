#!/bin/sh
# Installs blkc somewhere and uses it away from the checkout: new, check, train, build, and the native trainer there.
# Not part of `make test` (it builds everything once more). Usage: installed.sh [options of cargo install, such as --debug]
# With CARGO_TARGET_DIR set to a folder that is built already, that is used.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
llvm=$("$here/scripts/llvm.sh") || { echo "installed: no LLVM, run make deps first" >&2; exit 1; }
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

cargo install --quiet --locked --path "$here" --root "$place" --no-default-features --features "llvm$llvm" "$@"

mkdir "$place/away"
cd "$place/away"
blkc() { "$place/bin/blkc" "$@"; }
blkc new first
blkc check first/first.blk
blkc explain first/first.blk > explained.txt
test -s explained.txt
blkc train first/first.blk --epochs 2 --out jit
blkc build first/first.blk -o trainer
./trainer --epochs 2 --out native
cmp jit/last.safetensors native/last.safetensors
blkc build first/first.blk -o libfirst.so --emit lib
echo "installed: blkc works away from its checkout"
