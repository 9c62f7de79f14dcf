"""Runs of blkc on given batches from given weights."""
import json
import subprocess

import tensors


def train(blkc, folder, name, text, steps):
    """Losses of `steps` steps and the weights after them. The folder holds start.safetensors and data.npz, whose batches
    are taken in their order."""
    (folder / f"{name}.blk").write_text(text)
    run = folder / name
    subprocess.run([blkc, "train", str(folder / f"{name}.blk"), "--data", f"npz:{folder / 'data.npz'}", "--weights",
                    str(folder / "start.safetensors"), "--no-shuffle", "--steps", str(steps), "--log-every", "1",
                    "--out", str(run)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = {row["step"]: row["loss"] for row in rows if row["kind"] == "step"}
    return [losses[step] for step in range(1, steps + 1)], tensors.read(run / "last.safetensors")
