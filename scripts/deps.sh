#!/bin/sh
# Installs what the build needs beside Rust: LLVM's development files (the newest of 19 to 22 that the system offers)
# and a C compiler as linker. Does nothing when they are there. Uses apt; elsewhere it says what to install.
# With --mpi also what the feature `mpi` needs (Open MPI); where that cannot be installed it says so and goes on.
set -eu
here=$(dirname "$0")
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$here/../Cargo.toml" | head -n 1)

say() { echo "deps: $*" >&2; }

rust_is_there() {
    if ! command -v cargo >/dev/null 2>&1; then
        if [ -x "${HOME:-}/.cargo/bin/cargo" ]; then
            say "cargo is installed but not in the PATH: run  . \"\$HOME/.cargo/env\"  and try again"
        else
            say "cargo is missing. Install Rust $wanted or newer (no root needed):"
            say "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""
        fi
        return 1
    fi
    have=$(rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/')
    [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ] && return 0
    say "Rust $have is too old, $wanted or newer is needed: run  rustup update stable"
    say "(a system's package of Rust is often older: https://rustup.rs installs the newest)"
    return 1
}

cc_works() {
    echo 'int main(void) { return 0; }' | cc -x c - -o /dev/null 2>/dev/null
}

offered() { # the newest version that apt knows
    for version in 22 21 20 19; do
        if [ -n "$(apt-cache madison "llvm-$version-dev" 2>/dev/null)" ]; then echo "$version"; return; fi
    done
}

without_apt() {
    say "please install a C compiler (cc) and LLVM 19, 20, 21 or 22 with its headers and shared library:"
    say "  Fedora: dnf install gcc llvm-devel    Arch: pacman -S gcc llvm    openSUSE: zypper install gcc llvm-devel"
    say "then set LLVM_SYS_<version>1_PREFIX (for example LLVM_SYS_221_PREFIX=/opt/llvm) if it lies in an unusual place"
}

not_offered() {
    say "apt offers none of llvm-22-dev, llvm-21-dev, llvm-20-dev, llvm-19-dev; LLVM's own packages do. As root:"
    say "  apt-get install wget lsb-release software-properties-common gnupg"
    say "  wget https://apt.llvm.org/llvm.sh && bash llvm.sh 22"
    say "then run make deps again"
}

mpi_works() {
    command -v "${MPICC:-mpicc}" >/dev/null 2>&1 && command -v mpirun >/dev/null 2>&1
}

mpi_if_possible() {
    mpi_works && return 0
    command -v apt-get >/dev/null 2>&1 || { say "no MPI (mpicc, mpirun) and no apt-get to install one"; return 0; }
    as_root=""
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    say "installing libopenmpi-dev openmpi-bin"
    { $as_root apt-get install -q -y --no-install-recommends libopenmpi-dev openmpi-bin ||
        { $as_root apt-get update -q; $as_root apt-get install -q -y --no-install-recommends libopenmpi-dev openmpi-bin; }
    } >&2 || say "no MPI could be installed: what needs it will not be tested"
}

rust_is_there || exit 1
[ "${1:-}" != --mpi ] || { export DEBIAN_FRONTEND=noninteractive; mpi_if_possible; }
packages=""
cc_works || packages="gcc libc6-dev"
llvm_missing=""
"$here/llvm.sh" >/dev/null || llvm_missing=yes
[ -n "$packages$llvm_missing" ] || exit 0
command -v apt-get >/dev/null 2>&1 || { without_apt; exit 1; }

as_root=""
if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null 2>&1; then
        as_root=sudo
    else
        version=$(offered)
        [ -z "$llvm_missing" ] || packages="$packages llvm-${version:-22}-dev"
        say "not root and no sudo: ask somebody who is root to run: apt-get install $packages"
        say "(or unpack an LLVM of your own and set LLVM_SYS_<version>1_PREFIX to its folder)"
        exit 1
    fi
fi

# Some source of packages may be out of reach while the others have all that is needed.
$as_root apt-get update -q >&2 || say "apt-get update failed; going on with the lists that are here"
if [ -n "$llvm_missing" ]; then
    version=$(offered)
    [ -n "$version" ] || { not_offered; exit 1; }
    packages="$packages llvm-$version-dev"
fi
say "installing $packages"
# shellcheck disable=SC2086 # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages >&2
"$here/llvm.sh" >/dev/null || { say "LLVM was installed but its headers or shared library are not found"; exit 1; }
