#!/usr/bin/env python3
"""Trains one small network in PyTorch and with blkc from the same weights on the same batches, and compares.

usage: compare.py BLKC FOLDER   (FOLDER must exist; exit status 77 when PyTorch is missing)
Runs every optimizer that PyTorch has too.
Losses must agree to 1e-4 relative over ten steps, parameters to 1e-4 of their largest entry (adam: updates to 2e-2 of
their norm, because it divides by the square root of squared gradients that may be rounding noise).
"""
import pathlib
import sys

try:
    import numpy as np
    import torch
    from torch import nn
except ImportError:
    sys.exit(77)

import runs
import tensors

WIDTHS, CLASSES, BATCH, STEPS = [20, 33, 17], 7, 32, 10
NET = """
network net(x: f32[20]) -> class[7] {
    x
    |> block h1 { dense(33) |> batch_norm |> relu }
    |> block h2 { dense(17, bias = true) |> layer_norm |> gelu }
    |> block h3 { residual(dense(17, bias = true) |> tanh) }
    |> block out { dense(7, bias = true) }
    |> cross_entropy
}
train net {
    batch = 32
    epochs = 1
    optimizer = %s
    seed = 1
}
"""
OPTIMIZERS = {
    "sgd": ("sgd(lr = 0.05, momentum = 0.9, weight_decay = 5e-4)",
            lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=5e-4)),
    "nesterov": ("sgd(lr = 0.05, momentum = 0.9, nesterov = true)",
                 lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True)),
    "adam": ("adam(lr = 0.001)", lambda p: torch.optim.Adam(p, lr=0.001)),
    "adamw": ("adamw(lr = 0.001, weight_decay = 0.01)", lambda p: torch.optim.AdamW(p, lr=0.001, weight_decay=0.01)),
}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.an = nn.Linear(20, 33, bias=False), nn.BatchNorm1d(33)
        self.b, self.bn = nn.Linear(33, 17), nn.LayerNorm(17)
        self.c, self.d = nn.Linear(17, 17), nn.Linear(17, 7)

    def forward(self, x):
        x = self.an(self.a(x)).relu()
        x = nn.functional.gelu(self.bn(self.b(x)))
        return self.d(x + self.c(x).tanh())

    def named(self):
        return {
            "h1.dense.W": self.a.weight, "h1.batch_norm.gamma": self.an.weight, "h1.batch_norm.beta": self.an.bias,
            "h2.dense.W": self.b.weight, "h2.dense.b": self.b.bias,
            "h2.layer_norm.gamma": self.bn.weight, "h2.layer_norm.beta": self.bn.bias,
            "h3.residual.phi.dense.W": self.c.weight, "h3.residual.phi.dense.b": self.c.bias,
            "out.dense.W": self.d.weight, "out.dense.b": self.d.bias,
        }


def torch_steps(net, optimizer, x, y):
    losses = []
    for step in range(STEPS):
        at = slice(step * BATCH, (step + 1) * BATCH)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(torch.from_numpy(x[at])), torch.from_numpy(y[at]))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def compare(blkc, folder, name):
    spec, make = OPTIMIZERS[name]
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(BATCH * STEPS, 20)).astype("f4")
    y = rng.integers(0, CLASSES, BATCH * STEPS)
    np.savez(folder / "data.npz", x_train=x, y_train=y)
    net = Net()
    start = {key: value.detach().numpy().copy() for key, value in net.named().items()}
    tensors.write(folder / "start.safetensors", start)
    theirs = torch_steps(net, make(net.parameters()), x, y)
    ours, weights = runs.train(blkc, folder, name, NET % spec, STEPS)
    loss_error = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs))
    assert loss_error <= 1e-4, f"{name}: losses differ by {loss_error:.2e}: {ours} {theirs}"
    for key, value in net.named().items():
        value = value.detach().numpy()
        if name.startswith("adam"):
            error = np.linalg.norm(weights[key] - value) / np.linalg.norm(value - start[key])
            assert error <= 2e-2, f"{name}: {key}: update differs by {error:.2e} of its norm"
        else:
            error = np.abs(weights[key] - value).max() / np.abs(value).max()
            assert error <= 1e-4, f"{name}: {key}: differs by {error:.2e}"
    print(f"{name}: losses agree to {loss_error:.1e}")


for optimizer in OPTIMIZERS:
    compare(sys.argv[1], pathlib.Path(sys.argv[2]), optimizer)
