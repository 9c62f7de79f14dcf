#!/usr/bin/env python3
"""How much longer a training step takes with data than without.

usage: benches/overlap.py DATA [--program examples/vgg11.blk] [--blkc target/release/blkc] [--steps 20] [--rounds 3]

DATA is what `--data` takes, such as cifar10:DIR. Per round, alternating, it runs `bench` (the step on one batch that never
changes) and `train` on DATA with the program's augmentation, and takes the time between metrics of single steps: reading,
converting, changing and copying the samples are in it, decoding the files before the first step is not. The minimum of a
run's steps counts, and the median of the rounds' ratios.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile


def without(options):
    text = subprocess.run([options.blkc, "bench", options.program, "--steps", str(options.steps), "--format", "json"],
                          check=True, capture_output=True, text=True).stdout
    return json.loads(text)["ms_min"]


def with_data(options):
    """Fastest step, in milliseconds, from the mean speed since the epoch began: S/v(S) is the time of S samples."""
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        subprocess.run([options.blkc, "train", options.program, "--data", options.data, "--steps", str(options.steps),
                        "--log-every", "1", "--out", str(run)], check=True, capture_output=True)
        batch = json.loads((run / "run.json").read_text())["batch"]
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    ends = [row["step"] * batch / row["samples_per_s"] for row in rows if row["kind"] == "step"]
    return min(b - a for a, b in zip(ends, ends[1:])) * 1e3


parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("--program", default="examples/vgg11.blk")
parser.add_argument("--blkc", default="target/release/blkc")
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--rounds", type=int, default=3)
options = parser.parse_args()
ratios = []
for _ in range(options.rounds):
    alone, fed = without(options), with_data(options)
    ratios.append(fed / alone)
    print(f"without data {alone:.2f} ms, with data {fed:.2f} ms, ratio {ratios[-1]:.3f}")
print(f"median ratio {statistics.median(ratios):.3f}")
