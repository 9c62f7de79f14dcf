"""What is to be run: data sets, networks, optimizers, and the cells that they make."""
import pathlib
import re
import string
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
BATCH = 128
# Training samples, from which the logging interval follows; of other data sets blkc's own interval is taken.
SAMPLES = {"cifar10": 50000, "cifar100": 50000, "digits": 1437}
STEP_ROWS = 80
VGG = ("vgg11", "vgg13", "vgg16", "vgg19")
SHARED = {"momentum": "0.9", "weight_decay": "5e-4"}
OWN = {"sgd": {}, "lars": {}, "lsalr": {}, "scale_amended": {"accumulate": "false"}}
# Least rate of the grid of the search, in half powers of ten: -4 is 0.01. README.md says why there.
LEAST = {
    "sgd": -4,
    "lars": -1,
    "lsalr": -5,
    "scale_amended": -5,
    "scale_amended:accumulate=true": -8,
    "scale_amended:mode=trace": -7,
    "scale_amended:mode=measured": -7,
}


class Mistake(Exception):
    """The command line, the data or a folder is at fault; the message says which and how to mend it."""


@dataclass(frozen=True)
class Data:
    """A data set as blkc's --data names it; its kind is its name in the table."""

    spec: str

    @property
    def name(self):
        return self.spec.split(":")[0]

    @staticmethod
    def parse(text):
        kind, colon, place = text.partition(":")
        if not colon:
            if kind in ("cifar10", "cifar100"):
                raise Mistake(f"--data {kind} needs the folder that holds it: --data {kind}:DIR")
            return Data(kind)
        path = pathlib.Path(place).expanduser().resolve()
        if not path.exists():
            raise Mistake(f"--data {text}: there is no {path}\n  help: unpack the binary version of CIFAR there (docs/data.md)")
        return Data(f"{kind}:{path}")


@dataclass(frozen=True)
class Network:
    """One of std.vgg, or one of a .blk file that stands by itself and has no `train` item for it."""

    name: str
    file: pathlib.Path | None = None

    @staticmethod
    def parse(text):
        if text in VGG:
            return Network(text)
        place, _, name = text.partition(".blk")
        if place == text:
            raise Mistake(f"no network `{text}`: one of {', '.join(VGG)}, or FILE.blk, or FILE.blk:NAME")
        file = pathlib.Path(place + ".blk").resolve()
        if not file.is_file():
            raise Mistake(f"--networks {text}: there is no {file}")
        names = re.findall(r"^network\s+(\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        name = name.lstrip(":") or (names[0] if len(names) == 1 else "")
        if name not in names:
            raise Mistake(f"--networks {text}: write {file.name}:NAME with one of {', '.join(names) or 'its networks (it has none)'}")
        return Network(name, file)

    def source(self, data):
        """The line that brings it in, its name there, and the text of the file beside the program, if there is one."""
        if self.file:
            return 'use "network.blk"', self.name, self.file.read_text(encoding="utf-8")
        if data.name == "cifar100":
            return 'use "network.blk"', self.name + "_100", (HERE / "vgg.blk").read_text(encoding="utf-8")
        return "use std.vgg", self.name, None


@dataclass(frozen=True)
class Optimizer:
    """One of stdlib/optim.blk with its arguments, apart from the rate. `label` is what the command line says, in order."""

    label: str

    @staticmethod
    def parse(text):
        name, *arguments = text.split(":")
        if name not in OWN:
            raise Mistake(f"no optimizer `{name}`: one of {', '.join(OWN)}, with arguments as in scale_amended:accumulate=true")
        if wrong := [word for word in arguments if not re.fullmatch(r"\w+=[\w.+-]+", word)]:
            raise Mistake(f"--optimizers {text}: write NAME:key=value, not `{wrong[0]}`")
        optimizer = Optimizer(":".join([name, *sorted(arguments)]))
        changed = [word for word in arguments if OWN[name].get(word.split("=")[0]) == word.split("=")[1]]
        if changed:
            raise Mistake(f"--optimizers {text}: {changed[0]} is what {name} has anyway")
        return optimizer

    @property
    def name(self):
        return self.label.split(":")[0]

    @property
    def folder(self):
        return self.label.replace(":", ",")

    def call(self, rate):
        own = dict(word.split("=") for word in self.label.split(":")[1:])
        arguments = {"lr": text(rate), **SHARED, **OWN[self.name], **own}
        return f"{self.name}({', '.join(f'{key} = {value}' for key, value in arguments.items())})"

    @property
    def least(self):
        return LEAST.get(self.label, LEAST[self.name])


@dataclass(frozen=True)
class Protocol:
    """What all cells of a table share. `validation` is held back from the training set in searches, 0 in cells; `warmup` is a
    share of all epochs, None for that of cell.blk."""

    epochs: int
    precision: str
    validation: float = 0
    warmup: float | None = None

    @property
    def name(self):
        kind = "search-" if self.validation else ""
        warmup = "" if self.warmup is None else f"-warmup{self.warmup:g}"
        return f"{kind}epochs{self.epochs}-{self.precision}{warmup}"


@dataclass(frozen=True)
class Cell:
    protocol: Protocol
    data: Data
    network: Network
    optimizer: Optimizer
    rate: float
    seed: int

    @property
    def path(self):
        """Relative folder, both of the run and of its results: all that determines them is in it."""
        names = (self.protocol.name, self.data.name, self.network.name, self.optimizer.folder)
        return pathlib.Path(*names, f"lr{text(self.rate)}", f"seed{self.seed}")

    def files(self):
        """The program by name of file: `cell.blk`, and `network.blk` where it is not of the standard library."""
        use, network, source = self.network.source(self.data)
        values = {
            "use": use,
            "network": network,
            "validation": f"validation = {self.protocol.validation}" if self.protocol.validation else "",
            "epochs": self.protocol.epochs,
            "optimizer": self.optimizer.call(self.rate),
            "precision": self.protocol.precision,
            "warmup": "" if self.protocol.warmup is None else f"warmup = {self.protocol.warmup:g}",
        }
        lines = (HERE / "cell.blk").read_text(encoding="utf-8").splitlines()
        lines = [(line, string.Template(line).substitute(values)) for line in lines if not line.startswith("// ")]
        program = "".join(filled + "\n" for line, filled in lines if filled.strip() or not line.strip())
        return {"cell.blk": program} | ({"network.blk": source} if source else {})

    def options(self, threads):
        """Of `blkc train cell.blk`, but for the folder of the run."""
        options = ["--data", self.data.spec, "--seed", str(self.seed)]
        if samples := SAMPLES.get(self.data.name):
            steps = self.protocol.epochs * int(samples * (1 - self.protocol.validation)) // BATCH
            options += ["--log-every", str(max(1, steps // STEP_ROWS))]
        return options + (["--threads", str(threads)] if threads else [])


def text(rate):
    return f"{rate:g}"


def rate(half_power):
    """10^(k/2), to three digits."""
    return float(f"{10 ** (half_power / 2):.3g}")
