#!/usr/bin/env python3
"""How the factors m_W of scale-amended cells moved: by block, at the first and the last step kept, and the least and the greatest.

    factors.py [RESULTS]        a table in Markdown for each network, over all its scale_amended cells
"""
import pathlib
import sys

import record
from plan import HERE


def rows_of(cell):
    return [row["blocks"] for row in record.read_rows(cell / "metrics.jsonl") if "blocks" in row]


def factors(row):
    """m_W by parameter."""
    return {name: value for block in row.values() for name, value in (block.get("m_W") or {}).items()}


def table(network, cells):
    runs = [[factors(row) for row in rows_of(cell)] for cell in cells]
    runs = [run for run in runs if run]
    lines = [f"{network}, {len(runs)} cells", "", "| parameter | first | last | least | greatest |", "| --- | --- | --- | --- | --- |"]
    for name in runs[0][0] if runs else []:
        mean = lambda place: sum(run[place][name] for run in runs) / len(runs)
        values = [row[name] for run in runs for row in run]
        lines.append(f"| `{name}` | {mean(0):.3f} | {mean(-1):.3f} | {min(values):.3f} | {max(values):.3f} |")
    return "\n".join(lines) + "\n"


def main(arguments):
    results = pathlib.Path(arguments[0]) if arguments else HERE / "results"
    found = {}
    for file in sorted(results.glob("epochs*/*/*/scale_amended/lr*/seed*/cell.json")):
        found.setdefault("/".join(file.relative_to(results).parts[:3]), []).append(file.parent)
    print("\n".join(table(network, cells) for network, cells in found.items()) or "no scale_amended cell in " + str(results))


if __name__ == "__main__":
    main(sys.argv[1:])
