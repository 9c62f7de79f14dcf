"""The two verbs of blkc that the figures come from."""
import json
import pathlib
import shutil
import struct
import subprocess

import numpy

HERE = pathlib.Path(__file__).resolve().parent


class Mistake(Exception):
    """What is missing or failed, and how to mend it."""


class Tool:
    """blkc at `path`, with the folder `work` for runs and arrays."""

    def __init__(self, path, work, threads):
        own = HERE.parents[1] / "target" / "release" / "blkc"
        found = shutil.which(path) if path else (str(own) if own.exists() else shutil.which("blkc"))
        if not found:
            raise Mistake(f"there is no blkc {path or f'at {own} or on the PATH'}\n  help: `make build`, or name it by --blkc PATH")
        self.path, self.work = str(pathlib.Path(found).resolve()), work
        self.threads = ["--threads", str(threads)] if threads else []

    def call(self, *words):
        answer = subprocess.run([self.path, *map(str, words)], cwd=HERE, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise Mistake(f"blkc {' '.join(map(str, words))}\n{answer.stderr.strip()}")
        return answer.stdout

    def inspect(self, program, network, *options):
        """The report as JSON (docs/inspect.md)."""
        return json.loads(self.call("inspect", program, "--network", network, *options, "--format", "json"))

    def dump(self, program, network, *options):
        """The report and the arrays by name of file."""
        folder = self.work / "arrays"
        shutil.rmtree(folder, ignore_errors=True)
        self.call("inspect", program, "--network", network, *options, "--dump", folder)
        arrays = {file.name.removesuffix(".npy"): numpy.load(file) for file in folder.glob("grad.*.npy")}
        return json.loads((folder / "scalars.json").read_text()), arrays

    def checkpoints(self, program, network, steps):
        """Options of `inspect` for the weights after each number of steps of one run; 0 are the initial ones."""
        run, found = self.fresh(network), {}
        for step in steps:
            if step:
                place = ["--resume", run] if run.exists() else ["--out", run]
                self.call("train", program, "--network", network, "--steps", step, *self.threads, *place)
                kept = self.work / f"{network}-{step}.safetensors"
                shutil.copy(run / "last.safetensors", kept)
                found[step] = ["--weights", kept]
            else:
                found[step] = []
        return found

    def metrics(self, program, network, every):
        """The rows of a whole run's metrics.jsonl, one every so many steps."""
        run = self.fresh(network)
        self.call("train", program, "--network", network, "--out", run, "--log-every", every, *self.threads)
        return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]

    def fresh(self, network):
        self.work.mkdir(parents=True, exist_ok=True)
        run = self.work / network
        shutil.rmtree(run, ignore_errors=True)
        return run


def write_weights(file, tensors):
    """A safetensors file of f64 tensors."""
    header, offset = {}, 0
    for name, array in tensors.items():
        size = 8 * array.size
        header[name] = {"dtype": "F64", "shape": list(array.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(numpy.ascontiguousarray(array, "<f8").tobytes() for array in tensors.values())
    file.write_bytes(struct.pack("<Q", len(text)) + text + body)


def number(value):
    """JSON's word for infinity and for what is unknown, as floats."""
    return float("nan") if value is None else float(value)


def short(value):
    """Five significant digits, in lists and dictionaries too."""
    if isinstance(value, dict):
        return {key: short(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [short(entry) for entry in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
