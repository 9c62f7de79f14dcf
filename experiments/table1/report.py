"""The table and the curves, from the results alone."""
import json

import blkc


def ask(results, plan):
    """Keeps in `protocol.json` what was asked for, with what earlier commands asked: the table says what is missing of it."""
    protocol = plan.protocol
    file = results / protocol.name / "protocol.json"
    old = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    searched = {network.name: plan.searched(network).name for network in plan.networks}
    new = {
        "epochs": protocol.epochs,
        "precision": protocol.precision,
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


def write_table(results):
    pass


def write_curves(results, compiler):
    pass
