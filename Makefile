# make demo    everything from a fresh machine to a trained network
# make test    everything from a fresh machine to a tested compiler
# make test-mpi  the part of it that needs an MPI
# make deps    installs what the build needs (LLVM 19 to 22, a C compiler)
# make bench   times the compiled training step of the example networks
# make lint    formatting and clippy

SHELL := /bin/sh
LLVM = $(shell scripts/llvm.sh)
# Where that LLVM lies, as its bindings want to hear it.
CARGO = LLVM_SYS_$(LLVM)1_PREFIX="$(shell scripts/llvm.sh --prefix)" cargo
FEATURES = --no-default-features --features llvm$(LLVM)
BLKC = target/release/blkc

.PHONY: all deps build demo test test-mpi bench lint clean
all: build

deps:
	@scripts/deps.sh

build: deps
	$(CARGO) build --release $(FEATURES)

# The same random cases every time; `cargo test` alone draws new ones.
test: export PROPTEST_RNG_SEED ?= 1
test: deps
	$(CARGO) test --release --workspace $(FEATURES)
	@$(MAKE) --no-print-directory test-mpi

# Two ranks under mpirun, where there is an MPI or one can be installed.
test-mpi:
	@scripts/deps.sh --mpi
	@if command -v mpirun >/dev/null && command -v $${MPICC:-mpicc} >/dev/null; \
	then $(CARGO) test --release --workspace $(FEATURES),mpi --test mpi; \
	else echo "SKIPPED: no MPI here, training on several ranks is not tested"; fi

demo: build
	@scripts/demo.sh $(BLKC)

bench: build
	$(BLKC) bench examples/digits.blk
	$(BLKC) bench examples/mlp.blk

lint: deps
	cargo fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets $(FEATURES) -- -D warnings

clean:
	cargo clean
	rm -rf build
