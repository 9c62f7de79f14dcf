"""(a) The spectrum of H_z = W^T W of one dense block at initialization, against the law of Marchenko and Pastur."""
import numpy

from tool import number

N_IN = 512
CASES = {"gaussian_1": 512, "gaussian_2": 1024, "gaussian_05": 256, "orthogonal_1": 512, "orthogonal_2": 1024, "orthogonal_05": 256}
SEEDS = (1, 2, 3)
# Of the largest eigenvalue: below it an eigenvalue counts as 0, as in `inspect`.
ZERO = 1e-10


def measure(tool):
    return {"n_in": N_IN, "cases": [case(tool, network, seed) for network in CASES for seed in SEEDS]}


def case(tool, network, seed):
    report = tool.inspect("initial.blk", network, "--batch", 1, "--block", "hidden", "--form", "gauss-newton", "--seed", seed)
    block = next(block for block in report["blocks"] if block["name"] == "hidden")
    spectrum, law = block["H_z"]["gauss-newton"], block["marchenko_pastur"]
    values = numpy.array(spectrum["eigenvalues"])
    nonzero = values[values > ZERO * values.max()]
    found = {
        "network": network,
        "seed": seed,
        "n_out": CASES[network],
        "zeros": int(len(values) - len(nonzero)),
        "least": nonzero.min(),
        "greatest": nonzero.max(),
        "mean": values.mean(),
        "condition_of_nonzero": number(spectrum["condition_nonzero"]),
        "kolmogorov_of_inspect": law["kolmogorov_smirnov"],
    }
    if network.startswith("gaussian"):
        found["edges"] = edges(CASES[network])
        found["kolmogorov"] = distance(nonzero, CASES[network])
    if seed == SEEDS[0]:
        found["eigenvalues"] = values.tolist()
    return found


def edges(n_out):
    """Of the nonzero part, for entries of variance 1/n_in (MATH: the law's support)."""
    q = n_out / N_IN
    return (numpy.sqrt(q) - 1) ** 2, (numpy.sqrt(q) + 1) ** 2


def density(n_out, x):
    """Of the nonzero part, which has the mass min(1, n_out/n_in); divided by it, so that it integrates to 1."""
    low, high = edges(n_out)
    inside = numpy.clip((high - x) * (x - low), 0, None)
    return numpy.sqrt(inside) / (2 * numpy.pi * x) / min(1, n_out / N_IN)


def distance(values, n_out):
    """Kolmogorov's distance between the empirical distribution of the nonzero eigenvalues and the law."""
    low, high = edges(n_out)
    # Points that crowd at the edges, where the density has square roots.
    angle = numpy.linspace(0, numpy.pi, 20001)
    x = numpy.maximum((low + high) / 2 - (high - low) / 2 * numpy.cos(angle), 1e-12)
    slope = density(n_out, x) * (high - low) / 2 * numpy.sin(angle)
    law = numpy.concatenate([[0], numpy.cumsum((slope[1:] + slope[:-1]) / 2 * (angle[1] - angle[0]))])
    at = numpy.interp(numpy.sort(values), x, law / law[-1])
    ranks = numpy.arange(len(values) + 1) / len(values)
    return float(max(numpy.abs(ranks[1:] - at).max(), numpy.abs(ranks[:-1] - at).max()))


def summary(data):
    """Over the seeds: the greatest distance to the law, and the range of the condition of the nonzero part."""
    found = {}
    for network in CASES:
        cases = [case for case in data["cases"] if case["network"] == network]
        conditions = [case["condition_of_nonzero"] for case in cases]
        found[network] = {
            "greatest_kolmogorov": max((case["kolmogorov"] for case in cases if "kolmogorov" in case), default=None),
            "condition": [min(conditions), max(conditions)],
            "zeros": cases[0]["zeros"],
        }
    return found


def draw(data, figure):
    axes = figure.subplots(2, 3)
    first = [case for case in data["cases"] if case["seed"] == SEEDS[0]]
    for place, case in zip(axes.flat, first):
        values = numpy.array(case["eigenvalues"])
        nonzero = values[values > ZERO * values.max()]
        kind, n_out = case["network"].split("_")[0], case["n_out"]
        title = f"{kind}, {n_out}×{data['n_in']}" + (f", {case['zeros']} zeros" if case["zeros"] else "")
        place.set_title(title)
        if kind == "gaussian":
            place.hist(nonzero, bins=40, density=True, color="#9ec5ff")
            x = numpy.linspace(edges(n_out)[0] + 1e-3, edges(n_out)[1], 800)
            place.plot(x, density(n_out, x), color="#cf2455")
            place.set_ylim(0, 1.2 * density(n_out, x[x > edges(n_out)[0] + 0.15]).max())
        else:
            place.hist(nonzero, bins=numpy.linspace(0, 2, 41), color="#9ec5ff")
        place.set_xlabel("eigenvalue of $H_z$")
    axes[0, 0].set_ylabel("density of the nonzero ones")
    axes[1, 0].set_ylabel("number")


SIZE = (10, 5.6)
