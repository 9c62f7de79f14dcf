#!/usr/bin/env python3
"""Weights to and fro between PyTorch and blkc: exported, trained on for ten steps, evaluated, and taken back.

usage: exchange.py BLKC FOLDER NETWORK   (NETWORK: mlp, vgg11, resnet20; exit status 77 when PyTorch is missing)

From the same weights on the same batches, losses agree to 1e-4 relative, the update of every tensor to 1e-3 of its norm
(adam: 2e-2, because it divides by the square root of squared gradients that may be rounding noise) and what rounds when it
is added to the weights, probabilities by the running statistics to 1e-4, with the same classes.
"""
import copy
import pathlib
import subprocess
import sys

try:
    import numpy as np
    import torch
    from torch.nn import functional as F
except ImportError:
    sys.exit(77)

import modules
import runs
import tensors

BATCH, STEPS, TESTED = 16, 10, 40
MLP = """
network mlp(x: f32[784]) -> class[10] {
    x
    |> block h1 { dense(1024) |> batch_norm |> relu }
    |> block h2 { dense(1024) |> batch_norm |> relu }
    |> block h3 { dense(1024) |> batch_norm |> relu }
    |> block out { dense(10, bias = true) }
    |> cross_entropy
}
"""
NETWORKS = {
    "mlp": (MLP, lambda: modules.mlp([784, 1024, 1024, 1024, 10]), (784,)),
    "vgg11": ("use std.vgg\n", lambda: modules.vgg([[64], [128], [256] * 2, [512] * 2, [512] * 2]), (3, 32, 32)),
    "resnet20": ("use std.resnet\n", lambda: modules.resnet(3), (3, 32, 32)),
}
TRAIN = "train %s { batch = %d, epochs = 1, seed = 1, optimizer = %s }\n"


class Lars(torch.optim.Optimizer):
    """You, Gitman and Ginsburg, 2017: v = mu v + lr eta |w| / (|g| + beta |w|) (g + beta w), w = w - v."""

    def __init__(self, params, lr, eta, momentum, decay):
        super().__init__(params, dict(lr=lr, eta=eta, momentum=momentum, decay=decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                own, slope = w.norm(), w.grad.norm()
                trust = group["eta"] * own / (slope + group["decay"] * own) if own > 0 and slope > 0 else 1.0
                v = self.state[w].setdefault("v", torch.zeros_like(w))
                v.mul_(group["momentum"]).add_(w.grad + group["decay"] * w, alpha=float(group["lr"] * trust))
                w.sub_(v)


OPTIMIZERS = {
    "sgd": ("sgd(lr = 0.01, momentum = 0.9, weight_decay = 5e-4)", 1e-3,
            lambda params: torch.optim.SGD(params, lr=0.01, momentum=0.9, weight_decay=5e-4)),
    "lars": ("lars(lr = 1, eta = 0.001, momentum = 0.9, weight_decay = 5e-4)", 1e-3,
             lambda params: Lars(params, lr=1.0, eta=0.001, momentum=0.9, decay=5e-4)),
    "adam": ("adam(lr = 1e-4)", 2e-2, lambda params: torch.optim.Adam(params, lr=1e-4)),
}


def exported(names):
    return {ours: getattr(module, theirs).detach().numpy().copy()
            for ours, module, theirs in modules.tensors_of(names)}


def taken_back(net, names, weights):
    """PyTorch's own loader takes the tensors by its names: all of them, and no other."""
    paths = {module: path for path, module in net.named_modules()}
    state = {f"{paths[module]}.{theirs}": torch.from_numpy(weights[ours].copy())
             for ours, module, theirs in modules.tensors_of(names)}
    assert len(state) == len(weights), sorted(weights)
    left = net.load_state_dict(state, strict=False)
    assert not left.unexpected_keys, left
    assert all(key.endswith("num_batches_tracked") for key in left.missing_keys), left


def move_from_defaults(net, names, x):
    """Nothing keeps the value that it begins with; the running statistics are those of `x`.

    Channels are on or off for nearly all samples, and a sum of two branches is on: near a rectifier's kink rounding
    decides, and after ten steps of a deep network PyTorch's own results in float32 and float64 are 10 % apart.
    """
    with torch.no_grad():
        for ours, module, theirs in modules.tensors_of(names):
            tensor = getattr(module, theirs)
            noise = 0.1 * torch.randn_like(tensor)
            if ours.endswith(".gamma"):
                tensor.copy_(0.35 + 0.25 * noise)
            elif ours.endswith(".beta"):
                summed = ".phi.batch_norm[1]" in ours or ".shortcut" in ours
                off = torch.rand_like(tensor) < (0 if summed else 0.3)
                tensor.copy_(noise + torch.where(off, -1.0, 1.0))
        norms = [module for module in net.modules() if hasattr(module, "running_var")]
        for norm in norms:
            norm.momentum = 1.0
        net.train()
        net(x)
        for norm in norms:
            norm.momentum = 0.1
        # Else all samples would be of the class that the channels that are on prefer.
        net.eval()
        list(names.modules.values())[-1].bias.sub_(net(x).mean(0))


def probabilities(blkc, folder, text, weights):
    (folder / "net.blk").write_text(text)
    subprocess.run([blkc, "predict", str(folder / "net.blk"), "--weights", str(weights), "--data",
                    f"npz:{folder / 'data.npz'}", "-o", str(folder / "p.npz")], check=True, stderr=subprocess.DEVNULL)
    found = np.load(folder / "p.npz")
    return found["probabilities"], found["class"]


def check_predictions(what, net, found, x):
    net.eval()
    with torch.no_grad():
        expected = torch.softmax(net(torch.from_numpy(x)), 1).numpy()
    ours, classes = found
    error = np.abs(ours - expected).max()
    assert error <= 1e-4, f"{what}: probabilities differ by {error:.2e}"
    assert (classes == expected.argmax(1)).all(), f"{what}: classes differ"
    assert len(set(classes)) > 1, f"{what}: one class for all tells nothing"
    print(f"{what}: probabilities agree to {error:.1e}")


def torch_steps(net, optimizer, x, y):
    net.train()
    losses = []
    for step in range(STEPS):
        at = slice(step * BATCH, (step + 1) * BATCH)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(torch.from_numpy(x[at])), torch.from_numpy(y[at]))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def entries_per_feature(names, net, x):
    """How many numbers each batch norm takes its statistics over, by its path."""
    counts, hooks = {}, []
    for path, module in names.modules.items():
        hooks.append(module.register_forward_hook(
            lambda module, inputs, out, path=path: counts.update({path: out.numel() // out.shape[1]})))
    net.eval()
    net(torch.from_numpy(x[:BATCH]))
    for hook in hooks:
        hook.remove()
    return counts


def exactly(net, make_optimizer, x, y):
    """The tensors after the same steps in float64."""
    double = copy.deepcopy(net).double()
    torch_steps(double, make_optimizer(double.parameters()), x.astype("f8"), y)
    modules_of = dict(zip(net.modules(), double.modules()))
    return lambda names: {ours: getattr(modules_of[module], theirs).detach().numpy()
                          for ours, module, theirs in modules.tensors_of(names)}


def check_updates(what, start, ours, theirs, exact, tolerance):
    """Each update against the one in float64, as closely as PyTorch's own in float32 comes to it and `tolerance` besides."""
    worst = 0.0
    for key in start:
        if key.endswith((".mu", ".var")):
            continue
        change = exact[key] - start[key]
        size, own = np.linalg.norm(change), np.linalg.norm(theirs[key] - exact[key])
        error = max(0.0, np.linalg.norm(ours[key] - exact[key]) - 3 * own) / size
        worst = max(worst, error)
        assert error <= tolerance, f"{what}: {key}: update differs by {error:.2e} of its norm, PyTorch's by {own / size:.2e}"
    return worst


def check_statistics(what, start, ours, exact, counts):
    for key in start:
        expected = exact[key]
        if key.endswith(".var"):
            # PyTorch averages the unbiased variance: after S steps at momentum 0.1, 0.9^S of the start and the rest of
            # batches, each M / (M - 1) of the variance.
            kept, m = 0.9**STEPS * start[key], counts[key.rsplit(".", 1)[0]]
            expected = kept + (expected - kept) * (m - 1) / m
        elif not key.endswith(".mu"):
            continue
        # A mean as a share of the deviation where it is nearly zero.
        scale = np.linalg.norm(expected) + np.linalg.norm(np.sqrt(exact[key.rsplit(".", 1)[0] + ".var"]))
        error = np.linalg.norm(ours[key] - expected) / scale
        assert error <= 1e-4, f"{what}: {key} differs by {error:.2e}"


def samples(rng, shape, count, spread):
    """Noise around a level of each sample's channels."""
    levels = rng.normal(size=(count, *shape[:1], *(1 for _ in shape[1:])))
    return (spread * levels + rng.normal(size=(count, *shape))).astype("f4"), rng.integers(0, 10, count)


def compare(blkc, folder, network):
    text, make, shape = NETWORKS[network]
    torch.manual_seed(5)
    rng = np.random.default_rng(5)
    x, y = samples(rng, shape, BATCH * STEPS, 0)
    # Images of noise alone would all be of one class.
    x_test, y_test = samples(rng, shape, TESTED, 3)
    np.savez(folder / "data.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    net, names = make()
    move_from_defaults(net, names, torch.from_numpy(x_test))
    start, state = exported(names), {key: value.clone() for key, value in net.state_dict().items()}
    tensors.write(folder / "start.safetensors", start)
    program = lambda optimizer: text + TRAIN % (network, BATCH, optimizer)

    plain = program("sgd(lr = 0.01)")
    found = probabilities(blkc, folder, plain, folder / "start.safetensors")
    check_predictions(f"{network}, exported weights", net, found, x_test)
    counts = entries_per_feature(names, net, x)
    for name, (spec, tolerance, optimizer) in OPTIMIZERS.items():
        what = f"{network}, {name}"
        net.load_state_dict(state)
        exact = exactly(net, optimizer, x, y)(names)
        theirs = torch_steps(net, optimizer(net.parameters()), x, y)
        ours, weights = runs.train(blkc, folder, f"{network}-{name}", program(spec), STEPS)
        error = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs))
        assert error <= 1e-4, f"{what}: losses differ by {error:.2e}: {ours} {theirs}"
        worst = check_updates(what, start, weights, exported(names), exact, tolerance)
        check_statistics(what, start, weights, exact, counts)
        print(f"{what}: losses agree to {error:.1e}, updates to {worst:.1e} of their norm")

    # The weights of the last run.
    other, other_names = make()
    taken_back(other, other_names, weights)
    found = probabilities(blkc, folder, plain, folder / f"{network}-{name}" / "last.safetensors")
    check_predictions(f"{what}, weights taken back", other, found, x_test)


compare(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3])
