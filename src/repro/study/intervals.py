"""How sure: Student t intervals over seeds, paired where two settings share their seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
#: Fractions that differ by less are equal up to rounding.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its confidence interval (NaN ends for a single seed)."""

    mean: float
    low: float
    high: float
    n: int

    def excludes(self, value: float) -> bool:
        """Tell whether ``value`` lies outside; False where there is no interval."""
        return bool(value < self.low or value > self.high)


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return mean and two-sided Student t interval of ``values`` (n,), one for each seed.

    Raises
    ------
    ValueError
        If there are no values, or one is not finite.
    """
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise ValueError(f"an interval needs finite values of at least one seed, not {values!r}")
    mean, n = float(array.mean()), len(array)
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    # Rounding can leave identical values a spread of 1e-17; that is no uncertainty.
    error = 0.0 if np.ptp(array) < ROUNDING else float(array.std(ddof=1)) / math.sqrt(n)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    return Interval(mean, mean - half, mean + half, n)


def paired_interval(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE
) -> Interval:
    """Return the interval of ``first - second``, seed by seed.

    Two strategies of one seed share data split, pre-trained model and order of batches; the
    difference is far less noisy than either value, so it is what claims are judged by.

    Raises
    ------
    ValueError
        If the two do not have one value for each of the same seeds.
    """
    if len(first) != len(second):
        raise ValueError(f"paired values need the same seeds: {len(first)} and {len(second)}")
    differences = [a - b for a, b in zip(first, second, strict=True)]
    # Two ways to the same rate may end in neighbouring floats: that is no difference, and must not
    # leave an interval without width on one side of zero.
    exact = [0.0 if abs(d) < ROUNDING else d for d in differences]
    return mean_interval(exact, confidence)
