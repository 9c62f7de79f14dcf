#!/usr/bin/env python3
"""Every figure of docs/performance.md that compares: one training step here, in PyTorch and in JAX, on this machine.

usage: compare.py [--blkc PATH] [--threads N] [--rounds N] [--precision P]... [--features ±F,…]... [--json FILE] [NETWORK]...

Each round times every program once, one after the other; the table shows the median over the rounds of each program's
fastest step, and ours relative to the fastest peer. For bf16 the fastest peer in either precision counts. --features
(repeatable) adds rows for our code with `blkc bench --target-features`; --plain adds those without AMX and AVX-512.
What a peer or this compiler cannot run is left out and said below the table. Run it on an idle machine.
Needs: pip install torch "jax[cpu]" numpy
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import peers

ROOT = pathlib.Path(__file__).resolve().parent.parent
WARM_UP = 3
PLAIN = ["-amx-bf16,-amx-tile", "-avx512f"]


def fastest(step, count):
    """Milliseconds of the fastest of `count` steps after some to warm up."""
    times = []
    for _ in range(count + WARM_UP):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return min(times[WARM_UP:]) * 1e3


def run_ours(args, name, precision, features):
    """The report of `blkc bench`, or the reason why there is none."""
    command = [args.blkc, "bench", str(ROOT / "examples" / f"{name}.blk"), "--threads", str(args.threads),
               "--precision", precision, "--format", "json"]
    command += [f"--target-features={features}"] if features else []
    result = subprocess.run(command, capture_output=True, text=True)
    return json.loads(result.stdout) if result.returncode == 0 else result.stderr.strip().splitlines()[0]


def run_peer(args, name, variant):
    """Milliseconds, or the reason. A fresh process for each, so that their thread pools do not disturb each other."""
    command = [sys.executable, __file__, "--only", variant, "--threads", str(args.threads), name]
    result = subprocess.run(command, capture_output=True, text=True)
    return float(result.stdout) if result.returncode == 0 else result.stderr.strip().splitlines()[-1]


class Network:
    """The times of one network, round by round."""

    def __init__(self, args, name):
        self.args, self.name, self.problems = args, name, []
        self.peers = {variant: [] for variant in peers.variants() if peers.makes_sense(variant, name)}
        self.ours = {(precision, features): [] for precision in args.precision for features in args.features}
        self.reports = {}

    def round(self):
        for way in list(self.ours):
            report = run_ours(self.args, self.name, *way)
            if isinstance(report, str):
                self.give_up(self.ours, way, report)
            else:
                self.ours[way].append(report["ms_min"])
                self.reports[way] = report
        for variant in list(self.peers):
            found = run_peer(self.args, self.name, variant)
            if isinstance(found, str):
                self.give_up(self.peers, variant, found)
            else:
                self.peers[variant].append(found)

    def give_up(self, times, way, why):
        del times[way]
        self.problems.append(f"{self.name}, {' '.join(way) if isinstance(way, tuple) else way}: {why}")

    def rows(self):
        found = {variant: statistics.median(times) for variant, times in self.peers.items()}
        for (precision, features), times in self.ours.items():
            rivals = {variant: ms for variant, ms in found.items() if precision == "bf16" or " f32" in variant}
            best = min(rivals, key=rivals.get, default=None)
            ms = statistics.median(times)
            yield {"network": self.name, "batch": peers.NETWORKS[self.name][2], "precision": precision,
                   "features": features, "ms": ms, "peers": found, "fastest_peer": best,
                   "ratio": ms / rivals[best] if best else None, "report": self.reports[precision, features]}


def cell(ms):
    return "–" if ms is None else f"{ms:.3f} ms" if ms < 10 else f"{ms:.1f} ms"


def table(rows):
    variants = list(peers.variants())
    head = ["network", "batch", "precision", "blkc", *variants, "ratio to the fastest"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        precision = f"{row['precision']} {row['features']}".strip()
        ratio = "–" if row["ratio"] is None else f"{row['ratio']:.2f}"
        cells = [row["network"], str(row["batch"]), precision, cell(row["ms"]),
                 *(cell(row["peers"].get(variant)) for variant in variants), ratio]
        print(f"| {' | '.join(cells)} |")


def where_behind(rows):
    behind = [row for row in rows if row["ratio"] is not None and row["ratio"] > 1]
    print("\nWhere a peer is ahead:" if behind else "\nNo peer is ahead in these rows.")
    for row in sorted(behind, key=lambda row: -row["ratio"]):
        what = f"{row['network']} {row['precision']} {row['features']}".strip()
        print(f"- {what}: {row['fastest_peer']} is {row['ratio']:.2f} times as fast")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blkc", default=str(ROOT / "target" / "release" / "blkc"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", action="append", choices=["f32", "f32_strict", "bf16"])
    parser.add_argument("--features", action="append", default=[""])
    parser.add_argument("--plain", action="store_true", help="also without AMX and without AVX-512")
    parser.add_argument("--json", help="write all times and our last reports to this file")
    parser.add_argument("--only", choices=list(peers.variants()), help=argparse.SUPPRESS)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(peers.NETWORKS))
    args = parser.parse_args()
    unknown = [name for name in args.networks if name not in peers.NETWORKS]
    if unknown:
        parser.error(f"unknown network {unknown[0]}; known are {', '.join(peers.NETWORKS)}")
    if args.only:
        name = args.networks[0]
        print(fastest(peers.variants()[args.only](name, args.threads), peers.NETWORKS[name][3]))
        return
    args.precision = args.precision or ["f32", "bf16"]
    args.features += PLAIN if args.plain else []
    rows, problems = [], []
    for name in args.networks or peers.NETWORKS:
        network = Network(args, name)
        for number in range(args.rounds):
            print(f"{name}: round {number + 1} of {args.rounds}", file=sys.stderr)
            network.round()
        rows += network.rows()
        problems += network.problems
    table(rows)
    where_behind(rows)
    for problem in problems:
        print(f"\nLeft out: {problem}")
    for warning in sorted({warning for row in rows for warning in row["report"].get("warnings", [])}):
        print(f"\nWarning: {warning}")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
