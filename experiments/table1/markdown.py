"""The table as Markdown."""
import plan

TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


def section(table, entries, best, comparisons, searches, heading, base):
    asked = table.asked
    warmup = "" if asked.get("warmup") is None else f", warm-up over {asked['warmup']:g} of all epochs"
    parts = [
        f"{heading} {asked['epochs']} epochs, {asked['precision']}{warmup}\n",
        f"{introduction(asked, table.paper)}\n",
        main_table(table, entries, best),
        "Differences in points of per cent, scale-amended less the other, with the 95 % interval after Welch:\n",
        comparison_table(table, comparisons),
        f"Learning rates, chosen by the accuracy on a tenth of the training set (`{asked['search']}`, seed 0; in bold the chosen "
        "one; + marks a rate beyond the grid of four):\n",
        search_table(searches),
        curves(table, base),
        missing(table, entries),
    ]
    return "\n".join(part for part in parts if part)


def introduction(asked, paper):
    seeds = ", ".join(map(str, asked["seeds"]))
    printed = (
        f"The second line of an entry is the paper's own figure ({paper['source']})."
        if paper["source"] else "The paper's own figures are not filled in (`experiments/table1/paper.json`): its text was not at hand."
    )
    return (
        f"Test accuracy in % after the last epoch: mean ± standard deviation over the seeds {seeds}, with their number where there "
        "are fewer. Bold: better than every other row of the column, each time with the 95 % interval of the difference (Welch's t, "
        f"no correction for several comparisons) above 0. {printed}"
    )


def title(column):
    data, network = column
    return f"{network}, {TITLES.get(data, data)}"


def grid(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main_table(table, entries, best):
    rows = [
        [f"`{label}`", *(entry(entries[label, *column], best[column] == label) for column in table.columns)]
        for label in table.optimizers
    ]
    seconds = [duration(entries, column) for column in table.columns]
    return grid(["optimizer", *map(title, table.columns)], [*rows, ["minutes a cell", *seconds]])


def entry(found, bold):
    accuracies, asked = found["accuracies"], len(found["seeds_asked"])
    text = "–"
    if accuracies:
        text = f"{found['mean']:.2f}" + (f" ± {found['deviation']:.2f}" if found["deviation"] is not None else "")
        text = f"**{text}**" if bold else text
    if found["diverged"]:
        text += f" ({len(found['diverged'])} of {asked} diverged)"
    if accuracies and len(accuracies) + len(found["diverged"]) < asked:
        text += f" (n = {len(accuracies)})"
    if paper := found["paper"]:
        text += f"<br>paper {paper['accuracy']}" + (f" ± {paper['deviation']}" if paper.get("deviation") is not None else "")
    return text


def duration(entries, column):
    seconds = [seconds for key, found in entries.items() if key[1:] == column for seconds in found["seconds"]]
    return f"{sum(seconds) / len(seconds) / 60:.1f}" if seconds else "–"


def comparison_table(table, comparisons):
    found = {(row["optimizer"], row["against"], row["data"], row["network"]): row for row in comparisons}
    pairs = dict.fromkeys((row["optimizer"], row["against"]) for row in comparisons)
    rows = [[f"`{a}` − `{b}`", *(gap(found[a, b, *column]) for column in table.columns)] for a, b in pairs]
    return grid(["", *map(title, table.columns)], rows) if rows else ""


def gap(row):
    if row["difference"] is None:
        return "–"
    half = row["half_width_95"]
    return f"{row['difference']:+.2f}" + (" (one run: no interval)" if half is None else f" ± {half:.2f}")


def search_table(searches):
    def rates(row):
        texts = []
        for found in row["rates"]:
            text = f"{plan.text(found['rate'])}{'+' if found['extended'] else ''}: "
            text += f"{100 * found['validation_accuracy']:.1f}" if found["status"] == "done" else found["status"]
            texts.append(f"**{text}**" if found["rate"] == row["chosen"] else text)
        return ", ".join(texts) + (" (at the edge)" if row["at_edge"] else "")

    rows = [[TITLES.get(row["data"], row["data"]), row["network"], f"`{row['optimizer']}`", rates(row)] for row in searches]
    return grid(["data", "network", "optimizer", "rate: accuracy in %"], rows)


def curves(table, base):
    """The sheets that there are: of every column, `curves-DATA-NETWORK.svg`."""
    files = [(column, f"curves-{column[0]}-{column[1]}.svg") for column in table.columns]
    images = [f"![{title(column)}]({base}{table.folder.name}/{file})\n" for column, file in files if (table.folder / file).exists()]
    return "\n".join(["Curves, an optimizer's seeds as their mean in a band from the least to the greatest:\n", *images]) if images else ""


def missing(table, entries):
    absent = sum(len(found["seeds_asked"]) - len(found["accuracies"]) - len(found["diverged"]) for found in entries.values())
    if not absent:
        return ""
    asked = len(entries) * len(table.asked["seeds"])
    return f"{absent} of {asked} cells are missing; `python3 experiments/table1/run.py` with the options above runs them.\n"
