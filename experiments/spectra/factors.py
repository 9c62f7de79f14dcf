"""(c) How the scale factors m_z and m_W of each block move during a run."""

NETWORKS = ("by_paper", "by_trace")
EVERY = 10


def measure(tool):
    return {"runs": {network: rows(tool.metrics("widths.blk", network, EVERY)) for network in NETWORKS}}


def rows(metrics):
    kept = [row for row in metrics if row["kind"] == "step"]
    return [
        {"step": row["step"], "loss": row["loss"],
         "blocks": {name: {"m_z": block["m_z"], "m_W": weight(block["m_W"])} for name, block in row["blocks"].items()}}
        for row in kept
    ]


def weight(factors):
    """Of the block's one weight; `amend = weights` gives the other parameters none."""
    return next(value for name, value in factors.items() if name.endswith(".W"))


def summary(data):
    """Of every run and block: m_z and m_W at the first and the last recorded step."""
    return {
        network: {f"step {row['step']}": row["blocks"] for row in (rows[0], rows[-1])} for network, rows in data["runs"].items()
    }


def draw(data, figure):
    axes = figure.subplots(1, 4, sharex=True)
    for place, (network, factor) in zip(axes, [(network, factor) for factor in ("m_W", "m_z") for network in NETWORKS]):
        run = data["runs"][network]
        for block in sorted(run[0]["blocks"], key=lambda name: (name == "head", name)):
            place.plot([row["step"] for row in run], [row["blocks"][block][factor] for row in run], label=block)
        place.set_title(f"${factor}$, mode {network.removeprefix('by_')}")
        place.set_xlabel("step")
        if network == "by_trace":
            place.set_yscale("log")
    axes[0].legend(frameon=False)


SIZE = (13, 3.4)
