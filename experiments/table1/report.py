"""The table, the curves and their place in docs/reproduction.md, from the results alone."""
import json
import pathlib
import subprocess
import sys
import tempfile

import blkc
import markdown
import plan
import record
import search
from samples import Sample, difference, surely_best

MARKS = ("<!-- table1: written by experiments/table1/run.py -->\n", "<!-- end of table1 -->\n")


def ask(results, plan):
    """Keeps in `protocol.json` what was asked for, with what earlier commands asked: the table says what is missing of it."""
    protocol = plan.protocol
    file = results / protocol.name / "protocol.json"
    old = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    searched = {network.name: plan.searched(network).name for network in plan.networks}
    new = {
        "epochs": protocol.epochs,
        "precision": protocol.precision,
        "warmup": protocol.warmup,
        "search": plan.search.name,
        "data": union(old.get("data", []), [data.name for data in plan.data]),
        "networks": union(old.get("networks", []), [network.name for network in plan.networks]),
        "searched_on": old.get("searched_on", {}) | searched,
        "optimizers": union(old.get("optimizers", []), [optimizer.label for optimizer in plan.optimizers]),
        "seeds": sorted(set(old.get("seeds", [])) | set(plan.seeds)),
    }
    blkc.write(file, json.dumps(new, indent=1) + "\n")


def union(old, new):
    return list(dict.fromkeys([*old, *new]))


class Table:
    """What the results say under one protocol."""

    def __init__(self, results, protocol, asked, paper):
        self.results, self.asked, self.paper = results, asked, paper
        self.folder = results / protocol
        self.cells = read_cells(self.folder)
        self.searches = read_cells(results / asked["search"])
        self.optimizers = asked["optimizers"]
        self.columns = [(data, network) for data in asked["data"] for network in asked["networks"]]

    def choice(self, data, network, label):
        """The search's outcome for the optimizer in this column."""
        found = {
            cell["rate"]: -1 if cell["status"] == "diverged" else cell["validation_accuracy"]
            for cell in self.searches
            if (cell["data"], cell["network"], cell["optimizer"]) == (data, self.asked["searched_on"][network], label)
        }
        return search.decide(plan.Optimizer(label).least, lambda power: found.get(plan.rate(power)))

    def runs(self, data, network, label):
        """The cells that count: those at the chosen rate and of the seeds asked for."""
        rate = self.choice(data, network, label).rate
        own = [cell for cell in self.cells if (cell["data"], cell["network"], cell["optimizer"]) == (data, network, label)]
        return sorted((cell for cell in own if cell["rate"] == rate and cell["seed"] in self.asked["seeds"]), key=lambda cell: cell["seed"])

    def entry(self, data, network, label):
        runs = self.runs(data, network, label)
        done = [cell for cell in runs if cell["status"] == "done" and cell["test_accuracy"] is not None]
        sample = Sample(tuple(100 * cell["test_accuracy"] for cell in done))
        choice = self.choice(data, network, label)
        return {
            "optimizer": label,
            "data": data,
            "network": network,
            "rate": choice.rate,
            "accuracies": {cell["seed"]: round(100 * cell["test_accuracy"], 4) for cell in done},
            "mean": sample.mean,
            "deviation": sample.deviation,
            "diverged": [cell["seed"] for cell in runs if cell["status"] == "diverged"],
            "seeds_asked": self.asked["seeds"],
            "seconds": [cell["seconds"] for cell in runs],
            "paper": self.paper["cells"].get(data, {}).get(network, {}).get(label),
        }

    def entries(self):
        return {(label, *column): self.entry(*column, label) for column in self.columns for label in self.optimizers}

    def best(self, entries):
        """The optimizers that are surely best, by column."""
        found = {}
        for column in self.columns:
            samples = [Sample(tuple(entries[label, *column]["accuracies"].values())) for label in self.optimizers]
            index = surely_best(samples)
            found[column] = None if index is None else self.optimizers[index]
        return found

    def comparisons(self, entries):
        """Every amended variant against every other optimizer, in points of per cent."""
        ours = [label for label in self.optimizers if label.startswith("scale_amended")]
        others = [label for label in self.optimizers if label not in ours]
        sample = lambda label, column: Sample(tuple(entries[label, *column]["accuracies"].values()))
        return [
            {"optimizer": label, "against": other, "data": column[0], "network": column[1], "difference": gap, "half_width_95": half}
            for label in ours for other in others for column in self.columns
            for gap, half in [difference(sample(label, column), sample(other, column))]
        ]

    def search_rows(self):
        """The searches by place: data set, network, optimizer, rates in order with their scores, the choice."""
        places = {(data, self.asked["searched_on"][network]): network for data, network in self.columns}
        rows = []
        for (data, network), column in places.items():
            for label in self.optimizers:
                choice = self.choice(data, column, label)
                grid = range(plan.Optimizer(label).least, plan.Optimizer(label).least + search.GRID)
                rates = [
                    {"rate": plan.rate(power), "validation_accuracy": score if score is None or score >= 0 else None,
                     "status": "missing" if score is None else "diverged" if score < 0 else "done", "extended": power not in grid}
                    for power, score in sorted(choice.tried.items())
                ]
                rows.append({"data": data, "network": network, "optimizer": label, "rates": rates, "chosen": choice.rate,
                             "over": choice.next is None, "at_edge": choice.at_edge})
        return rows


def read_cells(folder):
    return [record.read(file.parent) for file in sorted(folder.glob("*/*/*/lr*/seed*/cell.json"))]


def tables(results):
    paper = json.loads((plan.HERE / "paper.json").read_text(encoding="utf-8"))
    files = sorted(results.glob("epochs*/protocol.json"), key=lambda file: json.loads(file.read_text())["epochs"])
    return [Table(results, file.parent.name, json.loads(file.read_text(encoding="utf-8")), paper) for file in files]


def write_table(results):
    for file, text in texts(results).items():
        blkc.write(file, text)


def stale(results):
    """Files that do not say what the results say."""
    return [file for file, text in texts(results).items() if not file.exists() or file.read_text(encoding="utf-8") != text]


def texts(results):
    """`table.json`, `table.md`, and docs/reproduction.md with the table between its marks if these are the project's results."""
    found = [data(table) for table in tables(results)]
    files = {
        results / "table.json": json.dumps([public for public, _ in found], indent=1) + "\n",
        results / "table.md": f"# Table 1\n\n{words(found, '##', '')}",
    }
    document = plan.HERE.parents[1] / "docs" / "reproduction.md"
    if results.resolve() == plan.HERE / "results" and document.exists():
        files[document] = inserted(document, words(found, "###", "../experiments/table1/results/"))
    return files


def data(table):
    """What `table.json` holds of a protocol, and all that its section needs."""
    entries, rows = table.entries(), table.search_rows()
    best, comparisons = table.best(entries), table.comparisons(entries)
    surely = [{"data": data, "network": network, "optimizer": label} for (data, network), label in best.items()]
    public = {"protocol": table.asked, "cells": list(entries.values()), "comparisons": comparisons, "search": rows, "surely_best": surely}
    return public, (table, entries, best, comparisons, rows)


def words(found, heading, base):
    """`base` is where the results lie, seen from the text."""
    parts = [markdown.section(*all_of_it, heading, base) for _, all_of_it in found]
    return "\n".join(parts) or "No cell has been run yet: `python3 experiments/table1/run.py --data cifar10:DIR`.\n"


def inserted(document, text):
    whole = document.read_text(encoding="utf-8")
    before, mark, rest = whole.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not mark or not end:
        raise plan.Mistake(f"{document} has lost its marks `{MARKS[0].strip()}` and `{MARKS[1].strip()}`")
    return f"{before}{mark}\n{text}\n{end}{after}"


def write_curves(results, compiler):
    """One sheet for each protocol, data set and network, an optimizer's seeds as mean and band."""
    for table in tables(results):
        for data, network in table.columns:
            draw(table, data, network, compiler)


def draw(table, data, network, compiler):
    groups = []
    for label in table.optimizers:
        rows = [table.folder / data / network / plan.Optimizer(label).folder / f"lr{plan.text(cell['rate'])}" / f"seed{cell['seed']}"
                for cell in table.runs(data, network, label)]
        rows = [folder for folder in rows if (folder / "metrics.jsonl").stat().st_size]
        groups.append((label, rows))
    with tempfile.TemporaryDirectory() as place:
        # Commas and signs of equality in the names of folders would end a run's name.
        arguments = []
        for index, (label, folders) in enumerate(group for group in groups if group[1]):
            links = [pathlib.Path(place, f"{index}-{number}") for number in range(len(folders))]
            for link, folder in zip(links, folders):
                link.symlink_to(folder.resolve(), target_is_directory=True)
            arguments.append(f"{label.replace('=', ' ')}={','.join(map(str, links))}")
        if arguments:
            target = table.folder / f"curves-{data}-{network}.svg"
            answer = subprocess.run([compiler, "plot", *arguments, "-o", target], capture_output=True, text=True, check=False)
            if answer.returncode:
                print(f"curves of {network} on {data} not drawn: {answer.stderr.strip()}", file=sys.stderr)
