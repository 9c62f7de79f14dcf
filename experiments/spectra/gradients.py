"""(d) How far a step would carry each block's weights, relative to their size, without and with the amendment."""
import numpy

NETWORKS = ("equal", "unequal")
MODES = ("paper", "trace")
SEED = 1


def measure(tool):
    rows = []
    for network in NETWORKS:
        report, arrays = tool.dump("gains.blk", network, "--data", "digits", "--batch", 64, "--seed", SEED, "--form", "gauss-newton")
        rows += [{"network": network, **row(block, arrays)} for block in report["blocks"]]
    return {"rows": rows}


def row(block, arrays):
    name, shape = next((parameter["name"], parameter["shape"]) for parameter in block["parameters"] if parameter["name"].endswith(".W"))
    factors = block["m_W"][name]
    # Mode `paper` is n_out over the squared norm: the norm of the initial weights, which `inspect` does not write.
    norm = numpy.sqrt(shape[0] / factors["paper"])
    step = float(numpy.linalg.norm(arrays[f"grad.{name}"])) / norm
    found = {"block": block["name"], "norm": norm, "plain": step}
    for mode in MODES:
        found[f"own_{mode}"] = step / factors[mode]
        found[f"accumulated_{mode}"] = step / (factors[mode] * block["m"][mode])
    return found


def summary(data):
    """The greatest relative step over the least, among the blocks but the head, and among all."""
    found = {}
    for network in NETWORKS:
        rows = [row for row in data["rows"] if row["network"] == network]
        hidden = [row for row in rows if row["block"] != "head"]
        spread = lambda rows, key: max(row[key] for row in rows) / min(row[key] for row in rows)
        found[network] = {key: {"hidden": spread(hidden, key), "all": spread(rows, key)} for key in KINDS}
    return found


KINDS = {
    "plain": ("gradient", "#57606a", "-"),
    "own_paper": (r"by $m_W$, paper", "#1f6feb", "-"),
    "accumulated_paper": (r"by $m\,m_W$, paper", "#1f6feb", ":"),
    "own_trace": (r"by $m_W$, trace", "#d9590f", "-"),
    "accumulated_trace": (r"by $m\,m_W$, trace", "#d9590f", ":"),
}


def draw(data, figure):
    axes = figure.subplots(1, 2, sharey=True)
    for place, network in zip(axes, NETWORKS):
        rows = [row for row in data["rows"] if row["network"] == network]
        for key, (label, colour, line) in KINDS.items():
            place.semilogy([row["block"] for row in rows], [row[key] for row in rows], line, color=colour, marker=".", label=label)
        place.set_title(f"{network} scales at the start")
        place.tick_params(axis="x", labelrotation=30)
    axes[0].set_ylabel("length of the step / norm of the weight")
    axes[0].legend(frameon=False)


SIZE = (10, 4.4)
