"""The rule: from intervals to outcomes, from outcomes to the word of a claim.

A contrast is turned so that what is claimed is positive: d its mean over n paired seeds, [L, U] the
95 % Student interval, delta its margin (:attr:`repro.study.claims.Contrast.margin`).

- **supported** if L > 0; of kind "no worse", if L > -delta;
- **contradicted** if U < 0; of kind "no worse", if U < -delta;
- **absent** if U < delta and not contradicted: whatever is left of the effect, it is smaller than
  what is claimed; but not where the paper reports less than delta, and the interval holds that;
- **undecided** else.

A claim that **all** its contrasts are so *holds* if every one is supported (each at 95 %, so no
correction is due); it *holds in part* if some are supported after Holm's correction, and is mixed
if others are refuted (contradicted or absent) at the same time; it *does not hold* if some are
refuted after Holm's correction and none is supported; else it is *undecided*. That **any** of them
is so holds if one is supported after Holm's correction, and does not hold if all are refuted. That
one setting is the **best** holds if no rival is better by its margin, looked at all together
(Dunnett 1955; Hsu 1984), and if the setting beats the mean of its rivals.

Contrasts of kind "no worse" are needed for *holds* and are no support by themselves. Nothing is
judged from fewer than three seeds; from fewer than five it is a pilot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from repro.study.intervals import (
    CONFIDENCE,
    ROUNDING,
    Interval,
    many_to_one,
    residuals,
    seeds_for,
    student,
)

SUPPORTED, CONTRADICTED, ABSENT, UNDECIDED = "supported", "contradicted", "absent", "undecided"
OUTCOMES = (SUPPORTED, CONTRADICTED, ABSENT, UNDECIDED)
REFUTED = (CONTRADICTED, ABSENT)

HOLDS, IN_PART, NOT, OPEN, CONSTRUCTED, UNTESTED = (
    "holds",
    "holds in part",
    "does not hold",
    "undecided",
    "by construction",
    "not tested here",
)
SIGNS = {HOLDS: "●", IN_PART: "◐", NOT: "○", OPEN: "?", CONSTRUCTED: "=", UNTESTED: "–"}

MIN_SEEDS, PILOT_SEEDS = 3, 5
PAPER_SEEDS = 10
"""Both papers average over ten runs."""


@dataclass(frozen=True)
class Outcome:
    """What follows for one contrast from its differences, all turned so that claimed is positive.

    Attributes
    ----------
    interval
        Mean and 95 % interval of the difference.
    word
        One of `OUTCOMES`.
    p_support, p_refute
        Two-sided p values of no difference, against more, and of the margin, against less.
    deviation
        Standard deviation over seeds.
    margin, per_seed, told
        As they were given to `outcome`.
    """

    interval: Interval
    word: str
    p_support: float
    p_refute: float
    deviation: float
    margin: float
    per_seed: float = 0.0
    told: float = 0.0

    @property
    def lacks(self) -> int | None:
        """How many seeds would decide it, by a half-width of at most half the margin.

        None where it is decided, where the seeds show no spread, or where no number would: among
        these an effect that is below the margin while what the paper reports is, too.
        """
        if self.word != UNDECIDED or not self.deviation > 0 or self.told_is_small:  # NaN, too
            return None
        return seeds_for(self.deviation, self.margin / 2, per_seed=self.per_seed)

    @property
    def told_is_small(self) -> bool:
        """Whether it would be absent, did not the interval hold what the paper reports.

        That is then below the margin, because half of it is within the error of reading it.
        """
        small = 0 < self.told < self.margin
        return self.word == UNDECIDED and small and self.interval.high < self.margin


@dataclass(frozen=True)
class Sample:
    """Mean and standard deviation of n differences; NaN where too few tell."""

    mean: float
    deviation: float
    n: int

    @classmethod
    def of(cls, differences: Sequence[float]) -> Sample:
        """Return those of (n,) differences; what differs by rounding alone does not differ."""
        d = np.asarray(differences, dtype=float)
        mean = float(d.mean()) if len(d) else math.nan
        if len(d) < 2:
            return cls(mean, math.nan, len(d))
        return cls(mean, 0.0 if np.ptp(d) < ROUNDING else float(d.std(ddof=1)), len(d))


def outcome(
    differences: Sequence[float] | Sample,
    margin: float,
    *,
    kind: str = "better",
    per_seed: float = 0.0,
    floor: float = 0.0,
    sampling: float = 0.0,
    told: float = 0.0,
) -> Outcome:
    """Judge one contrast.

    Parameters
    ----------
    differences
        (n,) one for each seed, turned so that positive is what was claimed; or what is known of
        them.
    margin
        delta, above 0.
    kind
        ``better``, or ``no worse``.
    per_seed
        n_test / n_train of overlapping splits: with n of the same examples the variance of a mean
        is (1/n + n_test / n_train) s^2 rather than s^2 / n (Nadeau and Bengio 2003, "Inference for
        the generalization error", equation 7).
    floor
        Half-width of a difference without any spread: 3 / n of the smallest group (rule of three).
    sampling
        Variance of the mean difference from the choice of the test examples.
    told
        The difference that the paper reports, turned alike; 0 where it reports none.
    """
    found = differences if isinstance(differences, Sample) else Sample.of(differences)
    mean, deviation, n = found.mean, found.deviation, found.n
    if n < 2:
        one = Interval(mean, math.nan, math.nan, n)
        return Outcome(one, UNDECIDED, 1.0, 1.0, math.nan, margin, per_seed, told)
    error = math.sqrt(deviation**2 * (1 / n + per_seed) + sampling)
    quantile = student(n - 1)
    half = quantile * error if deviation else max(floor, quantile * error)
    error = half / quantile
    interval = Interval(mean, mean - half, mean + half, n)
    above, below = (-margin, -margin) if kind == "no worse" else (0.0, margin)
    p_support = _p(mean - above, error, n - 1)
    p_refute = _p((below if not 0 < told < below else told) - mean, error, n - 1)
    if n < MIN_SEEDS:
        return Outcome(interval, UNDECIDED, 1.0, 1.0, deviation, margin, per_seed, told)
    if interval.low > above:
        word = SUPPORTED
    elif interval.high < (above if kind == "no worse" else 0.0):
        word = CONTRADICTED
    elif kind == "better" and interval.high < margin and not interval.high >= told > 0:
        word = ABSENT
    else:
        word = UNDECIDED
    return Outcome(interval, word, p_support, p_refute, deviation, margin, per_seed, told)


def _p(distance: float, error: float, freedom: int) -> float:
    """Return the two-sided p value of a distance on its own side, 1 on the other."""
    if error == 0:
        return 0.0 if distance > 0 else 1.0
    return min(1.0, 2 * float(special.stdtr(freedom, -distance / error)))


def holm(p: Sequence[float]) -> list[bool]:
    """Return which of m hypotheses are rejected at 5 % after Holm's (1979) correction.

    The i-th smallest p is held against 0.05 / (m - i + 1), until one is not below. Written out
    because statsmodels collects garbage at every call, 50 ms; it is the oracle of the tests.
    """
    rejected = [False] * len(p)
    for i, at in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[at] > (1 - CONFIDENCE) / (len(p) - i):
            break
        rejected[at] = True
    return rejected


def word_of(kind: str, outcomes: Sequence[Outcome], needed: Sequence[bool]) -> tuple[str, str]:
    """Return the word of a claim of kind ``all`` or ``any``, and a note to it (or nothing).

    Parameters
    ----------
    outcomes
        Of its contrasts.
    needed
        Which of them are of kind "no worse".
    """
    better = [one for one, kept in zip(outcomes, needed, strict=True) if not kept]
    kept = [one for one, is_kept in zip(outcomes, needed, strict=True) if is_kept]
    supported = holm([o.p_support if o.word == SUPPORTED else 1.0 for o in better])
    refuted = holm([o.p_refute if o.word in REFUTED else 1.0 for o in (*better, *kept)])
    some, some_not = any(supported), any(o.word in REFUTED for o in (*better, *kept))
    if kind == "any":
        if some:
            return HOLDS, ""
        if better and all(o.word in REFUTED for o in better):
            return NOT, _how(better)
        return OPEN, ""
    if better and all(o.word == SUPPORTED for o in outcomes):
        return HOLDS, ""
    if some:
        return IN_PART, "mixed" if some_not else ""
    if any(refuted) and not any(o.word == SUPPORTED for o in better):
        return NOT, _how(outcomes)
    return OPEN, ""


def _how(outcomes: Sequence[Outcome]) -> str:
    words = {o.word for o in outcomes}
    parts = ["contradicted"] * (CONTRADICTED in words) + ["smaller than claimed"] * (
        ABSENT in words
    )
    return " and ".join(parts)


def best_of(
    values: NDArray[np.float64], margins: Sequence[float], against_mean: Outcome
) -> tuple[list[Outcome], str, str]:
    """Judge that one setting is the best of several.

    Parameters
    ----------
    values
        (k, n): k settings, n seeds, larger is better; the first is the one that is claimed best.
    margins
        (k - 1,) by how much a rival would have to be better.
    against_mean
        The outcome of the first setting against the mean of its rivals.

    Returns
    -------
    outcomes, word, note
        Of each rival, with Dunnett's simultaneous intervals: supported if it is not better by its
        margin, contradicted if it is; then the word, and a note to it.
    """
    k, n = values.shape
    variance, freedom = residuals(values)
    found = []
    for rival, margin in zip(values[1:], margins, strict=True):
        d = values[0] - rival
        mean, deviation = float(d.mean()), float(d.std(ddof=1)) if n > 1 else math.nan
        if n < MIN_SEEDS:
            found.append(outcome(list(d), margin))
            continue
        half = many_to_one(k - 1, freedom) * math.sqrt(2 * variance / n)
        interval = Interval(mean, mean - half, mean + half, n)
        word = (
            CONTRADICTED
            if interval.high < -margin
            else SUPPORTED
            if interval.low > -margin
            else UNDECIDED
        )
        found.append(Outcome(interval, word, 1.0, 1.0, deviation, margin))
    if n < MIN_SEEDS:
        return found, OPEN, ""
    if any(one.word == CONTRADICTED for one in found):
        return found, NOT, "a rival is better"
    if against_mean.word in REFUTED:
        return found, NOT, f"{_how([against_mean])} against the mean of its rivals"
    if against_mean.word == SUPPORTED:
        return found, HOLDS if all(o.word == SUPPORTED for o in found) else IN_PART, ""
    return found, OPEN, ""


def size_in_words(mean: float, deviation: float, n: int, reported: float) -> str:
    """Return whether an effect is as large as reported: both turned so that claimed is positive.

    As reported, if the paper's difference lies where ten more seeds of ours would put their mean:
    mean +- t s sqrt(1/n + 1/10).
    """
    if n < MIN_SEEDS:
        return ""
    half = student(n - 1) * deviation * math.sqrt(1 / n + 1 / PAPER_SEEDS)
    if reported > mean + half:
        return "smaller than reported"
    return "larger than reported" if reported < mean - half else "as reported"
