#!/bin/sh
# Installs what the build needs beside Rust: LLVM's development files (the newest of 19 to 22 that the system offers)
# and a C compiler as linker. Does nothing when they are there. Uses apt; elsewhere it says what to install.
set -eu
here=$(dirname "$0")

say() { echo "deps: $*" >&2; }

if ! command -v cargo >/dev/null 2>&1; then
    say "cargo is missing: install Rust 1.89 or newer from https://rustup.rs"
    exit 1
fi

missing=""
command -v cc >/dev/null 2>&1 || missing="gcc libc6-dev"
"$here/llvm.sh" >/dev/null || missing="$missing llvm"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    say "please install a C compiler (cc) and LLVM 19, 20, 21 or 22 with its headers and shared library:"
    say "  Fedora: dnf install gcc llvm-devel    Arch: pacman -S gcc llvm    macOS: brew install llvm"
    say "then set LLVM_SYS_<version>1_PREFIX (for example LLVM_SYS_221_PREFIX=/opt/llvm) if it lies in an unusual place"
    exit 1
fi

as_root=""
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        say "not root and no sudo: as root, run: apt-get install gcc libc6-dev llvm-22-dev (or llvm-19-dev)"
        exit 1
    fi
    as_root=sudo
fi
export DEBIAN_FRONTEND=noninteractive

offered() { # the newest version that apt knows
    for version in 22 21 20 19; do
        if [ -n "$(apt-cache madison "llvm-$version-dev" 2>/dev/null)" ]; then echo "$version"; return; fi
    done
}

$as_root apt-get update -q >&2
version=$(offered)
if [ -z "$version" ]; then
    say "apt offers none of llvm-22-dev, llvm-21-dev, llvm-20-dev, llvm-19-dev"
    say "add the packages of https://apt.llvm.org, then run make deps again"
    exit 1
fi
say "installing llvm-$version-dev"
$as_root apt-get install -q -y --no-install-recommends gcc libc6-dev "llvm-$version-dev" >&2
"$here/llvm.sh" >/dev/null || { say "LLVM $version was installed but its headers or library are not found"; exit 1; }
