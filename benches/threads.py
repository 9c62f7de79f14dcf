#!/usr/bin/env python3
"""What a busy neighbour costs, and threads beyond the cores: the figures on threads in docs/performance.md.

usage: threads.py [--blkc PATH] [--rounds N] [NETWORK]...

For each network: the median step with 1, 2, 4, … threads up to four times the cores of this machine, on the idle machine
and with one core loaded by another process; the last column is loaded over idle. The neighbour is a loop of this script,
bound to the first core. Linux only (it binds processes to cores).
"""
import argparse
import json
import multiprocessing
import os
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


def spin(core):
    os.sched_setaffinity(0, {core})
    while True:
        pass


def measure(blkc, name, threads):
    command = [blkc, "bench", str(ROOT / "examples" / f"{name}.blk"), "--threads", str(threads), "--format", "json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["ms_per_step"]


def loaded(blkc, name, threads):
    neighbour = multiprocessing.Process(target=spin, args=(min(os.sched_getaffinity(0)),), daemon=True)
    neighbour.start()
    try:
        return measure(blkc, name, threads)
    finally:
        neighbour.terminate()
        neighbour.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blkc", default=str(ROOT / "target" / "release" / "blkc"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("networks", nargs="*", default=["digits", "mlp", "vgg11"])
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    counts = [1 << power for power in range((4 * cores).bit_length()) if 1 << power <= 4 * cores]
    print("| network | threads | idle | one core loaded | ratio |\n|---|---|---|---|---|")
    for name in args.networks:
        for threads in counts:
            idle, busy = [], []
            for _ in range(args.rounds):
                idle.append(measure(args.blkc, name, threads))
                busy.append(loaded(args.blkc, name, threads))
            idle, busy = statistics.median(idle), statistics.median(busy)
            print(f"| {name} | {threads} | {idle:.3f} ms | {busy:.3f} ms | {busy / idle:.2f} |", flush=True)


if __name__ == "__main__":
    main()
