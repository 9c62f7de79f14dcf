#!/usr/bin/env python3
"""Times one training step of the example networks here, in PyTorch and in JAX, alternating, on this machine.

usage: compare.py [--blkc PATH] [--threads N] [--rounds N] [NETWORK]...     (networks: digits, mlp)
Each round times every program once; the table shows the median over the rounds of each program's fastest step, and its
ratio to the fastest peer. All train with momentum and weight decay on synthetic data. A missing peer is left out.
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

ROOT = pathlib.Path(__file__).resolve().parent.parent
NETWORKS = {  # widths, batch, timed steps
    "digits": ([64, 128, 128, 10], 64, 400),
    "mlp": ([784, 1024, 1024, 1024, 10], 128, 60),
}
RATE, MOMENTUM, DECAY = 0.1, 0.9, 5e-4


def fastest(step, count):
    """Milliseconds of the fastest of `count` steps after three to warm up."""
    times = []
    for _ in range(count + 3):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return min(times[3:]) * 1e3


def time_blkc(blkc, name, threads):
    command = [blkc, "bench", str(ROOT / "examples" / f"{name}.blk"), "--threads", str(threads), "--format", "json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["ms_min"]


def time_torch(name, threads):
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    widths, batch, count = NETWORKS[name]
    layers = []
    for a, b in zip(widths[:-2], widths[1:-1]):
        layers += [nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(*widths[-2:]))
    x, y = torch.randn(batch, widths[0]), torch.randint(0, widths[-1], (batch,))
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY, foreach=True)

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()

    return fastest(step, count)


def time_jax(name, _threads):
    import jax
    import jax.numpy as jnp
    import numpy as np

    widths, batch, count = NETWORKS[name]
    rng = np.random.default_rng(0)
    hidden = [(jnp.asarray(rng.normal(size=(a, b)) / a**0.5, jnp.float32), jnp.ones(b), jnp.zeros(b))
              for a, b in zip(widths[:-2], widths[1:-1])]
    params = (hidden, (jnp.zeros(widths[-2:]), jnp.zeros(widths[-1])))
    x = jnp.asarray(rng.normal(size=(batch, widths[0])), jnp.float32)
    y = jnp.asarray(rng.integers(0, widths[-1], batch))

    def loss(params):
        hidden, (w, b) = params
        z = x
        for weight, gamma, beta in hidden:
            a = z @ weight
            z = jax.nn.relu((a - a.mean(0)) * jax.lax.rsqrt(a.var(0) + 1e-5) * gamma + beta)
        return -jnp.take_along_axis(jax.nn.log_softmax(z @ w + b), y[:, None], 1).mean()

    @jax.jit
    def update(params, velocity):
        value, gradient = jax.value_and_grad(loss)(params)
        velocity = jax.tree.map(lambda v, g, p: MOMENTUM * v + g + DECAY * p, velocity, gradient, params)
        return jax.tree.map(lambda p, v: p - RATE * v, params, velocity), velocity, value

    state = [params, jax.tree.map(jnp.zeros_like, params)]

    def step():
        *state[:], value = update(*state)
        value.block_until_ready()

    return fastest(step, count)


def in_own_process(peer, name, threads):
    """Peers get a fresh process, so that their thread pools do not disturb each other; none when it fails."""
    result = subprocess.run([sys.executable, __file__, "--only", peer, "--threads", str(threads), name],
                            capture_output=True, text=True)
    return float(result.stdout) if result.returncode == 0 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blkc", default=str(ROOT / "target" / "release" / "blkc"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["torch", "jax"], help=argparse.SUPPRESS)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    args = parser.parse_args()
    if args.only:
        print({"torch": time_torch, "jax": time_jax}[args.only](args.networks[0], args.threads))
        return
    print("| network | batch | blkc | PyTorch | JAX | ratio to the fastest peer |\n|---|---|---|---|---|---|")
    for name in args.networks:
        times = {"blkc": [], "torch": [], "jax": []}
        for _ in range(args.rounds):
            times["blkc"].append(time_blkc(args.blkc, name, args.threads))
            for peer in ("torch", "jax"):
                times[peer].append(in_own_process(peer, name, args.threads))
        medians = {who: statistics.median(found) for who, found in times.items() if None not in found}
        peers = [value for who, value in medians.items() if who != "blkc"]
        cells = [f"{medians[who]:.3f} ms" if who in medians else "–" for who in times]
        ratio = f"{medians['blkc'] / min(peers):.2f}" if peers else "–"
        print(f"| {name} | {NETWORKS[name][1]} | {' | '.join(cells)} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
