"""The search for an optimizer's learning rate: which rate is to be tried next, and which is chosen.

Four rates a half power of ten apart; when the best lies at the edge, one more beyond it, at most twice. The score is the
accuracy on the validation split after the last epoch; a run that diverged has failed. The smaller of two equals is chosen.
"""
from dataclasses import dataclass

import plan
import record

GRID = 4
EXTENSIONS = 2


@dataclass(frozen=True)
class Choice:
    """`next` is the half power to be tried, or None when the search is over; then `chosen`, None when all have failed."""

    tried: dict
    next: int | None
    chosen: int | None
    at_edge: bool

    @property
    def rate(self):
        return None if self.chosen is None else plan.rate(self.chosen)


def decide(least, score):
    """`score` gives for a half power the accuracy, -1 when it failed, None when it has not been tried."""
    powers = list(range(least, least + GRID))
    for _ in range(EXTENSIONS + 1):
        tried = {power: score(power) for power in powers}
        missing = [power for power in powers if tried[power] is None]
        if missing:
            return Choice(tried, missing[0], None, False)
        best = max(powers, key=lambda power: (tried[power], -power))
        if powers[0] < best < powers[-1]:
            return Choice(tried, None, best, False)
        powers = [best - 1, *powers] if best == powers[0] else [*powers, best + 1]
    return Choice(tried, None, best if tried[best] >= 0 else None, True)


def cell(protocol, data, network, optimizer, power):
    return plan.Cell(protocol, data, network, optimizer, plan.rate(power), seed=0)


def look(protocol, data, network, optimizer, results):
    """The state of a search, from the results alone."""

    def score(power):
        folder = results / cell(protocol, data, network, optimizer, power).path
        if not (folder / "cell.json").exists():
            return None
        found = record.read(folder)
        return -1 if found["status"] == "diverged" else found["validation_accuracy"]

    return decide(optimizer.least, score)
