"""One training step of the example networks in PyTorch and in JAX, as functions to be timed by compare.py.

Every network is trained by momentum with weight decay on one batch of synthetic data, as `blkc bench` does.
"""
RATE, MOMENTUM, DECAY = 0.1, 0.9, 5e-4

# name: (what it is, samples of this shape, batch, steps to time)
NETWORKS = {
    "digits": (("dense", [128, 128]), (64,), 64, 400),
    "mlp": (("dense", [1024, 1024, 1024]), (784,), 128, 60),
    "vgg11": (("vgg", [[64], [128], [256] * 2, [512] * 2, [512] * 2]), (3, 32, 32), 128, 6),
    "vgg16": (("vgg", [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3]), (3, 32, 32), 128, 4),
    "resnet20": (("resnet", 3), (3, 32, 32), 128, 6),
    "separable": (("separable", [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1)]), (3, 32, 32), 128, 6),
}
CLASSES = 10


def variants():
    """Every peer's way to run a step: name, function (network, threads) -> step, precisions."""
    return {
        "PyTorch f32": lambda name, threads: torch_step(name, threads, False, False),
        "PyTorch f32 channels last": lambda name, threads: torch_step(name, threads, False, True),
        "PyTorch bf16": lambda name, threads: torch_step(name, threads, True, False),
        "PyTorch bf16 channels last": lambda name, threads: torch_step(name, threads, True, True),
        "JAX f32": lambda name, threads: jax_step(name),
    }


def makes_sense(variant, name):
    """Memory formats are for images; JAX on a CPU is several times slower than PyTorch on residual networks and on
    convolutions in groups."""
    images = len(NETWORKS[name][1]) == 3
    slow = variant.startswith("JAX") and NETWORKS[name][0][0] in ("resnet", "separable")
    return (images or "channels last" not in variant) and not slow


def torch_network(kind, widths, inputs):
    from torch import nn

    def normed(layer, channels, norm, relu=True):
        return [layer, norm(channels)] + ([nn.ReLU(inplace=True)] if relu else [])

    def conv(c_in, c_out, kernel=3, stride=1, relu=True, groups=1):
        layer = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        return normed(layer, c_out, nn.BatchNorm2d, relu)

    class Residual(nn.Module):
        def __init__(self, c_in, c_out, stride):
            super().__init__()
            self.phi = nn.Sequential(*conv(c_in, c_out, 3, stride), *conv(c_out, c_out, relu=False))
            same = stride == 1 and c_in == c_out
            self.shortcut = nn.Identity() if same else nn.Sequential(*conv(c_in, c_out, 1, stride, relu=False))

        def forward(self, x):
            return nn.functional.relu(self.phi(x) + self.shortcut(x))

    layers, c = [], inputs
    if kind == "dense":
        for width in widths:
            layers += normed(nn.Linear(c, width, bias=False), width, nn.BatchNorm1d)
            c = width
    elif kind == "vgg":
        for stage in widths:
            for width in stage:
                layers += conv(c, width)
                c = width
            layers.append(nn.MaxPool2d(2))
        layers.append(nn.Flatten())
    elif kind == "separable":
        layers += conv(c, 32)
        c = 32
        for width, stride in widths:
            layers += conv(c, c, stride=stride, groups=c) + conv(c, width, 1)
            c = width
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    else:
        layers += conv(c, 16)
        c = 16
        for width in (16, 32, 64):
            for number in range(widths):
                layers.append(Residual(c, width, 2 if width > 16 and number == 0 else 1))
                c = width
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(c, CLASSES))


def torch_step(name, threads, bf16, channels_last):
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    what, shape, batch, _ = NETWORKS[name]
    net = torch_network(*what, shape[0])
    x, y = torch.randn(batch, *shape), torch.randint(0, CLASSES, (batch,))
    if channels_last:
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY, foreach=True)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = torch.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()

    return step


def jax_step(name):
    import jax
    import jax.numpy as jnp
    import numpy as np

    (kind, widths), shape, batch, _ = NETWORKS[name]
    rng = np.random.default_rng(0)
    draw = lambda *extents: jnp.asarray(rng.normal(size=extents) / np.prod(extents[:-1]) ** 0.5, jnp.float32)
    stages = [widths] if kind == "dense" else widths
    hidden, c = [], shape[0]
    for width in sum(stages, []):
        weight = draw(c, width) if kind == "dense" else draw(3, 3, c, width)
        hidden.append((weight, jnp.ones(width), jnp.zeros(width)))
        c = width
    params = (hidden, (jnp.zeros((c, CLASSES)), jnp.zeros(CLASSES)))
    x = draw(batch, *(shape if kind == "dense" else (*shape[1:], shape[0])))
    y = jnp.asarray(rng.integers(0, CLASSES, batch))

    def layer(z, weight, gamma, beta):
        if kind == "dense":
            z = z @ weight
        else:
            z = jax.lax.conv_general_dilated(z, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        axes = tuple(range(z.ndim - 1))
        return jax.nn.relu((z - z.mean(axes)) * jax.lax.rsqrt(z.var(axes) + 1e-5) * gamma + beta)

    def loss(params):
        hidden, (weight, bias) = params
        z, rest = x, iter(hidden)
        for stage in stages:
            for _ in stage:
                z = layer(z, *next(rest))
            if kind == "vgg":
                z = jax.lax.reduce_window(z, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        logits = jax.nn.log_softmax(z.reshape(batch, -1) @ weight + bias)
        return -jnp.take_along_axis(logits, y[:, None], 1).mean()

    @jax.jit
    def update(params, velocity):
        value, gradient = jax.value_and_grad(loss)(params)
        velocity = jax.tree.map(lambda v, g, p: MOMENTUM * v + g + DECAY * p, velocity, gradient, params)
        return jax.tree.map(lambda p, v: p - RATE * v, params, velocity), velocity, value

    state = [params, jax.tree.map(jnp.zeros_like, params)]

    def step():
        *state[:], value = update(*state)
        value.block_until_ready()

    return step
