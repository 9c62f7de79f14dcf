#!/usr/bin/env python3
"""Measures with `blkc inspect` and `blkc train`, writes data/*.json, and draws figures/*.svg from them.

    run.py                    all of it (minutes)
    run.py --only factors     one of: marchenko_pastur, conditions, factors, gradients, remark
    run.py --draw             only the figures, from the data that there are

Needs numpy and matplotlib. README.md says what each figure shows.
"""
import argparse
import json
import pathlib
import sys

import conditions
import factors
import gradients
import marchenko_pastur
import remark
from tool import HERE, Mistake, Tool, short

FIGURES = {"marchenko_pastur": marchenko_pastur, "conditions": conditions, "factors": factors, "gradients": gradients, "remark": remark}


def summarize(module, name, data, file):
    """The numbers that README.md quotes."""
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    known[name] = short(module.summary(data))
    file.write_text(json.dumps({key: known[key] for key in FIGURES if key in known}, indent=1) + "\n", encoding="utf-8")


def save(module, data, path):
    """Without dates and random names, so that the same data give the same bytes."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.hashsalt": "blkc", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure = Figure(figsize=module.SIZE, layout="constrained")
    module.draw(data, figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Creator": None})


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=FIGURES, action="append")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--blkc", metavar="PATH")
    parser.add_argument("--threads", type=int, metavar="N")
    parser.add_argument("--out", type=pathlib.Path, default=HERE, metavar="DIR", help="folder of data/ and figures/")
    parser.add_argument("--work", type=pathlib.Path, default=HERE.parents[1] / "build" / "spectra", metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        tool = None if options.draw else Tool(options.blkc, options.work.resolve(), options.threads)
        for name in options.only or FIGURES:
            file = options.out / "data" / f"{name}.json"
            if tool:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(short(FIGURES[name].measure(tool))) + "\n", encoding="utf-8")
            elif not file.exists():
                raise Mistake(f"there is no {file}\n  help: run without --draw first")
            data = json.loads(file.read_text(encoding="utf-8"))
            summarize(FIGURES[name], name, data, options.out / "data" / "summary.json")
            save(FIGURES[name], data, options.out / "figures" / f"{name}.svg")
            print(f"{name} done", file=sys.stderr)
    except Mistake as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
