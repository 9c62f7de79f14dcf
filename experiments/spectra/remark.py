"""(e) The paper's remark on skip connections: its counterexample by the tool, and random branches."""
import numpy

from tool import number, write_weights

# sigma_max < 1 - s and C > (1 + s)/(1 - s) for s = 0.1, and yet the skip connection makes the condition worse.
DIAGONAL = (-0.89, 0.89, 0.70)
SIZES = (2, 3, 4, 8, 16, 32)
DRAWS = 2000


def measure(tool):
    tool.work.mkdir(parents=True, exist_ok=True)
    file = tool.work / "counterexample.safetensors"
    write_weights(file, {"twist.residual.phi.diagonal.s": numpy.array(DIAGONAL), "head.dense.W": numpy.eye(3)})
    report = tool.inspect("counterexample.blk", "counterexample", "--batch", 1, "--block", "twist", "--weights", file)
    block = next(block for block in report["blocks"] if block["name"] == "twist")
    found = {key: number(value) if key in ("sigma_max", "condition", "condition_branch", "bound") else value
             for key, value in block["skip"]["jacobians"][0].items()}
    return {"diagonal": DIAGONAL, "counterexample": found, "random": [random(size) for size in SIZES]}


def random(size):
    """Gaussian branches of that many features, scaled to a largest singular value uniform in (0, 1): how often the printed
    conditions hold (for some s in (0, 1)) and how often the condition number then grows; the same of the corrected ones."""
    generator = numpy.random.default_rng(size)
    branches = generator.standard_normal((DRAWS, size, size))
    values = numpy.linalg.svd(branches, compute_uv=False)
    sigma = generator.uniform(0, 1, DRAWS)
    before = values[:, 0] / values[:, -1]
    after = numpy.linalg.cond(numpy.eye(size) + branches * (sigma / values[:, 0])[:, None, None])
    # Some s has sigma < 1 - s and C > (1 + s)/(1 - s) as soon as a small one has: for s towards 0 both become sigma < 1, C > 1.
    printed = (sigma < 1) & (before > 1)
    corrected = before > (1 + sigma) / (1 - sigma)
    return {
        "features": size,
        "draws": DRAWS,
        "printed": int(printed.sum()),
        "printed_wrong": int((printed & (after >= before)).sum()),
        "corrected": int(corrected.sum()),
        "corrected_wrong": int((corrected & (after >= before)).sum()),
    }


def summary(data):
    return data


def draw(data, figure):
    place = figure.subplots()
    size = [row["features"] for row in data["random"]]
    share = lambda wrong, of: [row[wrong] / max(1, row[of]) for row in data["random"]]
    place.plot(size, share("printed_wrong", "printed"), marker="o", color="#cf2455", label="as printed")
    place.plot(size, share("corrected_wrong", "corrected"), marker="o", color="#1f6feb", label="corrected")
    place.set_xscale("log", base=2)
    place.set_xlabel("features")
    place.set_ylabel("share of branches where $C(I+\\Phi) \\geq C(\\Phi)$\nalthough the conditions hold")
    place.legend(frameon=False)


SIZE = (5.5, 3.6)
