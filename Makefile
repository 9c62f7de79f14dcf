# make demo    everything from a fresh machine to a trained network
# make test    everything from a fresh machine to a tested compiler
# make deps    installs what the build needs (LLVM 19 to 22, a C compiler)
# make bench   times the compiled training step of the example networks
# make lint    formatting and clippy

SHELL := /bin/sh
LLVM = $(shell scripts/llvm.sh)
export LLVM_SYS_221_PREFIX ?= $(wildcard /usr/lib/llvm-22)
export LLVM_SYS_211_PREFIX ?= $(wildcard /usr/lib/llvm-21)
export LLVM_SYS_201_PREFIX ?= $(wildcard /usr/lib/llvm-20)
export LLVM_SYS_191_PREFIX ?= $(wildcard /usr/lib/llvm-19)
FEATURES = --no-default-features --features llvm$(LLVM)
BLKC = target/release/blkc

.PHONY: all deps build demo test bench lint clean
all: build

deps:
	@scripts/deps.sh

build: deps
	cargo build --release $(FEATURES)

test: deps
	cargo test --release --workspace $(FEATURES)

demo: build
	@scripts/demo.sh $(BLKC)

bench: build
	$(BLKC) bench examples/digits.blk
	$(BLKC) bench examples/mlp.blk

lint: deps
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets $(FEATURES) -- -D warnings

clean:
	cargo clean
	rm -rf build
