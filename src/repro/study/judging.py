"""A contrast, judged from records: its interval, its outcome, and what is stated beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from repro.data.splits import TASK_SHARES
from repro.metrics import METRICS
from repro.study import sampling
from repro.study.claims import Check, Contrast
from repro.study.experiments import Experiment
from repro.study.intervals import ROUNDING, Interval, in_words, mean_interval, residuals, student
from repro.study.profiles import Paper
from repro.study.records import Results, paired, value
from repro.study.rule import (
    MIN_SEEDS,
    SUPPORTED,
    UNTESTED,
    Outcome,
    outcome,
    size_in_words,
)
from repro.study.runs import Record, metrics_of

PER_SEED = {"win": TASK_SHARES[2] / (TASK_SHARES[0] + TASK_SHARES[1])}
"""n_test / n_train of the papers whose seeds draw splits of the same people anew.

n_train is what fine-tuning saw, training and validation part of the new task: the cautious choice,
as pre-training saw far more. The word follows the wider interval, since WIN's claims on Adult speak
of people, not of splits.
"""


@dataclass(frozen=True)
class Judged:
    """A contrast with what follows from its records.

    Attributes
    ----------
    interval
        Of first - second, as the contrast is written.
    found
        The same turned so that claimed is positive, and what follows; with a word of its own.
    size
        Against the paper's ("as reported", ...); empty where it has none or nothing is supported.
    untested
        Why it does not count, where its own check has failed.
    beside
        What is stated beside, never in place: name -> interval or number of first - second.
    """

    contrast: Contrast
    interval: Interval
    found: Outcome
    size: str = ""
    untested: str = ""
    beside: Mapping[str, Interval | float] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """The word of the contrast."""
        return UNTESTED if self.untested else self.found.word


def judge(
    contrast: Contrast,
    results: Results,
    *,
    simulated: bool = False,
    paper: Paper = "aim-fair",
) -> Judged:
    """Judge one contrast from the records of its settings.

    Parameters
    ----------
    results
        Records by setting, one for each seed, all in the same order of seeds.
    simulated
        Whether the data are; then the paper's difference is no yardstick for the size.
    paper
        The part of the study: whether its seeds share one test set, or draw overlapping splits.
    """
    per_seed = PER_SEED.get(paper, 0.0)
    different = _differences(contrast, results)
    different[np.abs(different) < ROUNDING] = 0.0  # two ways to one rate: no difference
    told = contrast.sign * contrast.reported if contrast.reported is not None else 0.0
    found = outcome(
        list(contrast.sign * different),
        contrast.margin,
        kind=contrast.kind,
        per_seed=per_seed,
        floor=_rule_of_three(contrast, results),
        sampling=sampling.of_contrast(contrast, results, paper, simulated=simulated),
        told=told,
    )
    size = ""
    comparable = contrast.kind == "better" and contrast.unit == "points" and found.deviation > 0
    if told > 0 and found.word == SUPPORTED and comparable and not simulated:
        size = size_in_words(found.interval.mean, found.deviation, found.interval.n, told)
    return Judged(
        contrast,
        turned(found.interval, contrast.sign),
        found,
        size,
        beside=_beside(contrast, results, different, per_seed),
    )


def _differences(contrast: Contrast, results: Results) -> np.ndarray:
    """Return first - second of each seed that has both; of several second settings their mean."""
    seconds = [results[key] for key in contrast.seconds]
    first = results[contrast.first]
    return np.subtract(*paired(first, seconds, contrast.quantity, contrast.second_quantity))


def turned(interval: Interval, sign: int) -> Interval:
    """Return an interval of what is claimed as one of first - second, and the other way."""
    if sign > 0:
        return interval
    return Interval(-interval.mean, -interval.high, -interval.low, interval.n)


def _rule_of_three(contrast: Contrast, results: Results) -> float:
    """Return 3 / n of the test part: what no difference at all can hide.

    Of its smallest group, where the quantity compares groups.
    """
    if contrast.quantity.startswith("results:"):
        return 0.0
    counts = [r.counts() for key in contrast.keys for r in results[key]]
    whole = contrast.quantity in ("accuracy", "weighted_f1_error")
    sizes = [int(c.sum()) if whole else int(c.sum(-1).min()) for c in counts]
    smallest = min(sizes, default=0)
    return 3 / smallest if smallest else 0.0


def _beside(
    contrast: Contrast, results: Results, different: np.ndarray, per_seed: float
) -> dict[str, Interval | float]:
    """Return what is stated beside an interval: other ways to the same difference."""
    beside: dict[str, Interval | float] = {}
    if per_seed and len(different) > 1:
        beside["splits taken as independent"] = mean_interval(list(different))
    if (pooled := _pooled(contrast, results)) is not None:
        beside["pooled residual variance"] = pooled
    if (late := _late(contrast, results)) is not None:
        beside["mean of the last three epochs"] = late
    return beside


def _pooled(contrast: Contrast, results: Results) -> Interval | None:
    """Return the interval by the residual variance over all settings that are there."""
    if contrast.second_quantity is not None or contrast.quantity.startswith("results:"):
        return None
    n = len(results[contrast.first])
    table = []
    for records in results.values():
        numbers = [value(r, contrast.quantity) for r in records] if _has(contrast, records) else []
        if len(numbers) == n and all(x is not None for x in numbers):
            table.append([float(x) for x in numbers if x is not None])
    different = _differences(contrast, results)
    if len(table) < 3 or n < MIN_SEEDS or len(different) < n:
        return None
    variance, freedom = residuals(table)
    share = 1 + 1 / len(contrast.seconds)  # 2 of two single settings
    half = student(freedom) * math.sqrt(share * variance / n)
    mean = float(different.mean())
    return Interval(mean, mean - half, mean + half, n)


def _has(contrast: Contrast, records: Sequence[Record]) -> bool:
    part = contrast.quantity.rpartition(":")[0] or "test"
    return all(part in record.body["counts"] for record in records)


def _late(contrast: Contrast, results: Results) -> float | None:
    """Return the difference of the means over the last three epochs, where histories have them."""
    if contrast.quantity not in METRICS or contrast.second_quantity is not None:
        return None
    means = []
    for key in contrast.keys:
        epochs = [_last_epochs(record) for record in results[key]]
        if not all(len(counts) == 3 for counts in epochs):
            return None
        found = [metrics_of(counts)[contrast.quantity] for of_seed in epochs for counts in of_seed]
        means.append(float(np.mean(found)))
    return means[0] - float(np.mean(means[1:]))


def _last_epochs(record: Record) -> list[Any]:
    """Return the confusion counts of the test part after each of the last three epochs."""
    counts = [e.get("counts", {}) for e in record.body.get("history", []) if isinstance(e, dict)]
    return [of_epoch["test"] for of_epoch in counts if "test" in of_epoch][-3:]


def control(text: str, plan: Experiment, contrast: Contrast, *, paper: Paper = "aim-fair") -> Check:
    """Return the positive control that a contrast is supported; ``text`` says what it shows."""

    def passes(results: Results) -> tuple[bool, str]:
        # As on simulated data, so that which test images there are does not matter.
        found = judge(contrast, results, paper=paper, simulated=True)
        return (
            found.outcome == SUPPORTED,
            f"{contrast.text}: {in_words(found.interval, contrast.unit)}",
        )

    return Check(text, plan, contrast.keys, passes)
