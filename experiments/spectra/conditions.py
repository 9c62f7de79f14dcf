"""(b) How well conditioned H_z is, by depth and along training: plain, skip and batch-normalized blocks."""
import math
from statistics import median

from tool import number

TITLES = {
    "plain_gaussian": "plain, Gaussian",
    "plain_orthogonal": "plain, orthogonal",
    "skip_large": "skip, large branch",
    "skip_small": "skip, small branch",
    "batch_normalized": "batch normalized",
}
STEPS = (0, 10, 100, 1000)
BATCH = 64
SUMMARIZED = ("condition_of_nonzero", "condition_paper_form", "decades_to_geometric_mean", "rank", "m_z")


def measure(tool):
    rows = []
    for network in TITLES:
        for step, weights in tool.checkpoints("chains.blk", network, STEPS).items():
            rows += [{"network": network, "step": step, **row} for row in blocks(tool, network, weights)]
    return {"batch": BATCH, "rows": rows}


def blocks(tool, network, weights):
    """Of every hidden block: H_z of the whole batch, and where a batch norm is, the paper's form too."""
    names = [f"hidden[{index}]" for index in range(8)]
    chosen = [word for name in names for word in ("--block", name)]
    options = ["--batch", BATCH, *chosen, *weights]
    report = tool.inspect("chains.blk", network, *options, "--form", "gauss-newton")
    paper = tool.inspect("chains.blk", network, *options, "--form", "paper") if network == "batch_normalized" else None
    rows = []
    for depth, name in enumerate(names):
        block = find(report["blocks"], "name", name)
        spectrum, verdict = block["H_z"]["gauss-newton"], find(report["verdict"], "block", name)
        row = {
            "block": depth,
            "condition_of_nonzero": number(spectrum["condition_nonzero"]),
            "rank": spectrum["rank"],
            "rows": spectrum["dim"],
            "decades_to_geometric_mean": verdict["conditioning"],
            "m_z": block["m_z"]["trace"],
        }
        if paper:
            row["condition_paper_form"] = number(find(paper["blocks"], "name", name)["H_z"]["paper"]["condition_nonzero"])
        if block["skip"]:
            row["skip"] = skip(block["skip"]["jacobians"])
        rows.append(row)
    return rows


def find(entries, key, value):
    return next(entry for entry in entries if entry[key] == value)


def skip(jacobians):
    """Over the samples: medians, and how often the conditions of the paper's remark, and the corrected ones, hold and are right."""
    middle = lambda key: sorted(number(one[key]) for one in jacobians)[len(jacobians) // 2]
    count = lambda conditions, improves: sum(one[conditions] and one["improves"] == improves for one in jacobians)
    return {
        "samples": len(jacobians),
        "sigma_max": middle("sigma_max"),
        "condition_branch": middle("condition_branch"),
        "condition": middle("condition"),
        "improves": sum(one["improves"] for one in jacobians),
        "paper_conditions_right": count("paper_conditions", True),
        "paper_conditions_wrong": count("paper_conditions", False),
        "corrected_conditions_right": count("corrected_conditions", True),
        "corrected_conditions_wrong": count("corrected_conditions", False),
    }


def summary(data):
    """Over the eight blocks: medians, and sums of the counts of samples."""
    found = {}
    for network in TITLES:
        for step in STEPS:
            rows = [row for row in data["rows"] if (row["network"], row["step"]) == (network, step)]
            one = {key: median(row[key] for row in rows) for key in SUMMARIZED if key in rows[0]}
            if "skip" in rows[0]:
                one |= {key: median(row["skip"][key] for row in rows) for key in ("sigma_max", "condition_branch")}
                counts = [key for key in rows[0]["skip"] if key.endswith(("samples", "improves", "right", "wrong"))]
                one |= {key: sum(row["skip"][key] for row in rows) for key in counts}
            found.setdefault(network, {})[f"step {step}"] = one
    return found


def draw(data, figure):
    axes = figure.subplots(2, len(TITLES), sharex=True, sharey="row")
    colours = dict(zip(STEPS, ("#b0b8c0", "#6cb0ff", "#1f6feb", "#cf2455")))
    for column, network in enumerate(TITLES):
        for step in STEPS:
            rows = [row for row in data["rows"] if row["network"] == network and row["step"] == step]
            depth, line = [row["block"] + 1 for row in rows], {"color": colours[step], "marker": ".", "label": f"step {step}"}
            axes[0, column].semilogy(depth, [row["condition_of_nonzero"] for row in rows], **line)
            if "condition_paper_form" in rows[0]:
                axes[0, column].semilogy(depth, [row["condition_paper_form"] for row in rows], linestyle=":", color=colours[step])
            axes[1, column].plot(depth, [row["decades_to_geometric_mean"] for row in rows], **line)
        axes[0, column].set_title(TITLES[network])
        axes[1, column].set_xlabel("block")
        axes[1, column].set_ylim(0, math.ceil(max(row["decades_to_geometric_mean"] for row in data["rows"])))
    axes[0, 0].set_ylabel("condition of $H_z$, nonzero part")
    axes[1, 0].set_ylabel("decades from geometric\nmean to largest")
    axes[1, 0].legend(frameon=False)


SIZE = (13, 5.6)
