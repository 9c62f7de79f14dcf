"""Results: what is kept of a finished cell, as data."""
import functools
import hashlib
import json
import os
import pathlib
import shutil
import subprocess

from blkc import write
from plan import BATCH, Mistake

# Rows that keep their factors, of which every one may name dozens of tensors.
FACTOR_ROWS = 30


def is_done(cell, results):
    """Whether the results have this cell, made by the program that it has now."""
    folder = results / cell.path
    if not (folder / "cell.json").exists():
        return False
    for name, content in cell.files().items():
        kept = folder / name
        if not kept.exists() or stripped(kept.read_text(encoding="utf-8")) != stripped(content):
            raise Mistake(f"{folder} was made by another program than {name} is now\n  help: remove it, or give another --results")
    return True


def stripped(program):
    """Without comments."""
    return [line.rstrip() for line in program.splitlines() if line.strip() and not line.lstrip().startswith("//")]


def read(folder):
    """A cell's `cell.json`."""
    file = folder / "cell.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise Mistake(f"{file} is damaged: {cause}\n  help: remove {folder} to run the cell anew") from None


def keep(cell, folder, results, blkc, threads, diverged):
    """Copies what matters of the run in `folder` to the results; `diverged` is None or blkc's word on it."""
    run, place = folder / "run", results / cell.path
    rows = read_rows(run / "metrics.jsonl")
    last = next((row for row in reversed(rows) if row["kind"] == "epoch"), {})
    if not diverged and last.get("epoch") != cell.protocol.epochs:
        what = f"{run} is damaged: its metrics do not reach epoch {cell.protocol.epochs}"
        raise Mistake(f"{what}\n  help: remove {folder} to run the cell anew")
    for name, content in cell.files().items():
        write(place / name, content)
    write(place / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in slim(rows)))
    description = json.loads((run / "run.json").read_text(encoding="utf-8"))
    del description["spec"]
    description["settings"]["data"] = public(cell.data)
    write(place / "run.json", json.dumps(description, indent=1) + "\n")
    write(place / "cell.json", json.dumps(summary(cell, folder, blkc, threads, last, diverged), indent=1) + "\n")


def summary(cell, folder, blkc, threads, last, diverged):
    sessions = json.loads((folder / "sessions.json").read_text(encoding="utf-8"))
    protocol = cell.protocol
    options = [word.replace(cell.data.spec, public(cell.data)) for word in cell.options(threads)]
    measured = ("loss", "accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy", "test_top5")
    return {
        "data": cell.data.name,
        "network": cell.network.name,
        "optimizer": cell.optimizer.label,
        "rate": cell.rate,
        "seed": cell.seed,
        "epochs": protocol.epochs,
        "precision": protocol.precision,
        "batch": BATCH,
        "validation": protocol.validation,
        "command": " ".join(["blkc", "train", "cell.blk", *options, "--out", "run"]),
        "status": "diverged" if diverged else "done",
        "message": diverged,
        "epochs_done": last.get("epoch", 0),
        **{key: last.get(key) for key in measured},
        "seconds": round(sum(session["ended"] - session["began"] for session in sessions), 1),
        "sessions": len(sessions),
        "machine": machine(),
        "compiler": compiler(blkc),
    }


def public(data):
    """The data set without the place of its folder on this machine."""
    return f"{data.name}:DIR" if ":" in data.spec else data.spec


def read_rows(file):
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as cause:
        raise Mistake(f"{file} is damaged: {cause}\n  help: remove {file.parents[1]} to run the cell anew") from None


def slim(rows):
    """Six significant digits, and factors in some rows only: what curves need."""
    stride = -(-len(rows) // FACTOR_ROWS)
    rows = [rounded(row) for row in rows]
    for index, row in enumerate(rows):
        if index % stride and index != len(rows) - 1:
            row.pop("blocks", None)
    return rows


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


@functools.cache
def machine():
    file = pathlib.Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {"processor": model, "cores": os.cpu_count()}


@functools.cache
def compiler(blkc):
    """Its version and digest, and the commit of the checkout that this script is in."""
    version = subprocess.run([blkc, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    digest = hashlib.sha256(pathlib.Path(blkc).read_bytes()).hexdigest()
    return {"version": version, "sha256": digest, "checkout": commit()}


def commit():
    if not shutil.which("git"):
        return None
    here = pathlib.Path(__file__).resolve().parent
    answer = subprocess.run(["git", "-C", here, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
