"""PyTorch's modules of networks of the library, and what their tensors are called in a program."""
from torch import nn


class Residual(nn.Module):
    def __init__(self, c_in, c, stride):
        super().__init__()
        self.phi = nn.Sequential(*conv_norm(c_in, c, 3, stride), nn.ReLU(), *conv_norm(c, c, 3, 1))
        same = stride == 1 and c_in == c
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv_norm(c_in, c, 1, stride))

    def forward(self, x):
        return (self.shortcut(x) + self.phi(x)).relu()


def conv_norm(c_in, c, kernel, stride):
    return nn.Conv2d(c_in, c, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(c)


class Names:
    """Modules by the paths that their ops have in the program."""

    def __init__(self):
        self.modules = {}
        self.counts = {}

    def add(self, path, module):
        self.modules[path] = module
        return module

    def block(self, name):
        index = self.counts.get(name, 0)
        self.counts[name] = index + 1
        return f"{name}[{index}]"

    def conv_norm(self, conv, norm, path, index=""):
        self.add(f"{path}.conv{index}", conv)
        self.add(f"{path}.batch_norm{index}", norm)


# A module's tensors by their names in an op, and in PyTorch.
WEIGHTED = {"W": "weight", "b": "bias"}
NORMALIZED = {"gamma": "weight", "beta": "bias", "mu": "running_mean", "var": "running_var"}


def tensors_of(names):
    """The program's name of every tensor, with the module and its own name for it."""
    for path, module in names.modules.items():
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        for ours, theirs in (NORMALIZED if norm else WEIGHTED).items():
            if getattr(module, theirs) is not None:
                yield f"{path}.{ours}", module, theirs


def mlp(widths):
    names, layers = Names(), []
    for i, (d, n) in enumerate(zip(widths[:-2], widths[1:-1])):
        layers += [names.add(f"h{i + 1}.dense", nn.Linear(d, n, bias=False)),
                   names.add(f"h{i + 1}.batch_norm", nn.BatchNorm1d(n)), nn.ReLU()]
    return nn.Sequential(*layers, names.add("out.dense", nn.Linear(*widths[-2:]))), names


def vgg(stages):
    names, layers, c_in = Names(), [], 3
    for widths in stages:
        for c in widths:
            conv, norm = conv_norm(c_in, c, 3, 1)
            names.conv_norm(conv, norm, names.block("conv"))
            layers += [conv, norm, nn.ReLU()]
            c_in = c
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), names.add("head.dense", nn.Linear(c_in, 10))), names


def resnet(n):
    names, c_in = Names(), 16
    stem = conv_norm(3, 16, 3, 1)
    names.conv_norm(*stem, "stem")
    layers = [*stem, nn.ReLU()]
    for c in (16, 32, 64):
        for i in range(n):
            block = Residual(c_in, c, 2 if i == 0 and c > 16 else 1)
            path = f"{names.block('res')}.basic_block.residual"
            names.conv_norm(block.phi[0], block.phi[1], f"{path}.phi", "[0]")
            names.conv_norm(block.phi[3], block.phi[4], f"{path}.phi", "[1]")
            if not isinstance(block.shortcut, nn.Identity):
                names.conv_norm(block.shortcut[0], block.shortcut[1], f"{path}.shortcut")
            layers.append(block)
            c_in = c
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         names.add("head.dense", nn.Linear(64, 10))), names
