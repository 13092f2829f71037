"""How sure: Student t intervals over seeds, paired where two settings share their seeds.

Beside them what a verdict takes: where a repetition would lie, how many seeds a resolution costs,
and the interval for settings that are compared with one of them at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

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

    @property
    def whiskers(self) -> list[list[float]] | None:
        """Lengths below and above the mean, as matplotlib draws them; None of a single seed."""
        return None if self.n < 2 else [[self.mean - self.low], [self.high - self.mean]]

    def excludes(self, value: float) -> bool:
        """Tell whether ``value`` lies outside; False where there is no interval."""
        return bool(value < self.low or value > self.high)


def amount(number: float | None, unit: str = "points") -> str:
    """Return a signed difference, a fraction in percentage points; nothing for None and NaN."""
    if number is None or math.isnan(number):
        return ""
    return f"{100 * number:+.2f}" if unit == "points" else f"{number:+.0f}"


def in_words(interval: Interval, unit: str = "points") -> str:
    """Return a difference and, of more than one seed, its interval."""
    low, mean, high = (amount(x, unit) for x in (interval.low, interval.mean, interval.high))
    return f"{mean} [{low}, {high}]" if low else mean


@lru_cache(maxsize=1024)
def student(freedom: int) -> float:
    """Return the two-sided 95 % quantile of Student's t."""
    return float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))


def mean_interval(values: Sequence[float]) -> Interval:
    """Return mean and two-sided 95 % Student t interval of ``values`` (n,), one for each seed.

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
    half = student(n - 1) * error
    return Interval(mean, mean - half, mean + half, n)


def paired_interval(first: Sequence[float], second: Sequence[float]) -> Interval:
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
    return mean_interval(exact)


def seeds_for(deviation: float, half: float, *, per_seed: float = 0.0) -> int | None:
    """Return the fewest seeds whose 95 % interval is ``half`` wide to either side, at least 2.

    Parameters
    ----------
    deviation
        Standard deviation of a paired difference over seeds.
    half
        The half-width that is wanted, above 0.
    per_seed
        n_test / n_train of overlapping splits, 0 where seeds share none.

    Returns
    -------
    int or None
        The smallest n with t_{n-1} s sqrt(1/n + per_seed) <= half; None if 100,000 do not do.
    """

    def wide(n: int) -> bool:
        return student(n - 1) * deviation * math.sqrt(1 / n + per_seed) > half

    low, high = 1, 2
    while wide(high):
        if high >= 100_000:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if wide(middle) else (low, middle)
    return high


def residuals(values: ArrayLike) -> tuple[float, int]:
    """Return the residual variance of settings by seeds, and its degrees of freedom.

    Parameters
    ----------
    values
        (k, n): k settings, n seeds. What a setting and a seed have in common is taken away.
    """
    table = np.asarray(values, dtype=float)
    k, n = table.shape
    left = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    freedom = (k - 1) * (n - 1)
    return (float((left**2).sum() / freedom) if freedom else math.nan), freedom


@lru_cache(maxsize=64)
def many_to_one(rivals: int, freedom: int) -> float:
    """Return Dunnett's two-sided critical value for ``rivals`` compared with one setting.

    All have as many seeds, so two differences from the one correlate by one half (Dunnett 1955).
    """
    if rivals == 1:
        return student(freedom)
    from scipy import optimize, stats  # which take a while to load

    correlations = np.full((rivals, rivals), 0.5) + 0.5 * np.eye(rivals)
    both = stats.multivariate_t(np.zeros(rivals), correlations, df=freedom, seed=1)

    def surplus(value: float) -> float:
        ends = np.full(rivals, value)
        return float(both.cdf(ends, lower_limit=-ends, random_state=1)) - CONFIDENCE

    bonferroni = float(special.stdtrit(freedom, 1 - (1 - CONFIDENCE) / (2 * rivals)))
    return float(optimize.brentq(surplus, 0.99 * student(freedom), 1.01 * bonferroni, xtol=1e-3))
