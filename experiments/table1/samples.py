"""Means, deviations, and what they allow to say of a difference."""
import math
from dataclasses import dataclass
from statistics import mean, stdev

# Quantiles 0.975 of Student's t for 1 to 30 degrees of freedom; beyond, that of 30, which errs to the cautious side.
T975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110,
        2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)


@dataclass(frozen=True)
class Sample:
    values: tuple

    @property
    def mean(self):
        return mean(self.values) if self.values else None

    @property
    def deviation(self):
        """With n - 1; of fewer than two values there is none."""
        return stdev(self.values) if len(self.values) > 1 else None


def difference(a, b):
    """Mean of a less mean of b, and half the width of its 95 % interval after Welch; None for what cannot be said."""
    if not a.values or not b.values:
        return None, None
    gap = a.mean - b.mean
    if len(a.values) < 2 or len(b.values) < 2:
        return gap, None
    parts = [sample.deviation**2 / len(sample.values) for sample in (a, b)]
    if sum(parts) == 0:
        return gap, 0.0
    freedom = sum(parts) ** 2 / sum(part**2 / (len(sample.values) - 1) for part, sample in zip(parts, (a, b)))
    return gap, T975[min(max(int(freedom), 1), len(T975)) - 1] * math.sqrt(sum(parts))


def surely_best(samples):
    """Index of the sample whose 95 % interval of the difference to every other lies above 0, or None."""
    known = [index for index, sample in enumerate(samples) if sample.values]
    if len(known) < 2:
        return None
    best = max(known, key=lambda index: samples[index].mean)
    for other in known:
        gap, half = difference(samples[best], samples[other])
        if other != best and (half is None or gap <= half):
            return None
    return best
