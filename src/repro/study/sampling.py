"""What the choice of the test images does: its error, seed by example, from stored predictions.

Where all seeds are tested on the same images, an interval over seeds holds nothing of which images
they were. From `SEEDS` seeds on that error is added to it. It takes the predictions of every
example, which only the machine has that computed the runs; the variances that follow from them are
exported beside the records, so that a verdict is the same everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from repro.files import digest_of_values, whole
from repro.metrics import METRICS, confusion_counts, flatten_metrics, metrics_from_counts
from repro.study.claims import Contrast
from repro.study.profiles import Paper
from repro.study.records import Results, recorded_folder
from repro.study.runs import Record

SEEDS = 10
"""Fewer seeds say too little of themselves for this error to matter."""

SAME_TEST: frozenset[Paper] = frozenset({"aim-fair", "win-faces"})
"""The parts of the study whose seeds share one test set, on real data."""

DRAWS = 400  # of the test images, with replacement within each group


def variance(
    first: Sequence[pd.DataFrame],
    seconds: Sequence[Sequence[pd.DataFrame]],
    metric: str,
    *,
    draws: int = DRAWS,
) -> float:
    """Return the variance that the choice of test examples gives the mean difference over seeds.

    Examples are drawn with replacement within their groups, the same for every seed and setting.

    Parameters
    ----------
    first, seconds
        Predictions of one setting, and of those whose mean it is compared with: a table for each
        seed, with the columns example, target, protected, score (of target 1), all of the same
        examples.
    metric
        One of `repro.metrics.METRICS`.
    """
    tables = [table.sort_values("example") for tables in (first, *seconds) for table in tables]
    target, protected = (tables[0][name].to_numpy() for name in ("target", "protected"))
    positive = np.stack([table["score"].to_numpy() >= 0.5 for table in tables])  # (runs, examples)
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero((target == t) & (protected == p)) for t in (0, 1) for p in (0, 1)]
    of_settings = np.repeat(np.arange(1 + len(seconds)), len(first))
    means = []
    for _ in range(draws):
        rows = np.concatenate([rng.choice(group, len(group)) for group in groups])
        values = np.array(
            [
                flatten_metrics(
                    metrics_from_counts(confusion_counts(target[rows], one[rows], protected[rows]))
                )[metric]
                for one in positive
            ]
        )
        by_setting = [values[of_settings == i].mean() for i in range(1 + len(seconds))]
        means.append(by_setting[0] - np.mean(by_setting[1:]))
    return float(np.var(means, ddof=1))


def of_contrast(contrast: Contrast, results: Results, paper: Paper, *, simulated: bool) -> float:
    """Return the variance to add for a contrast; 0 where none is due, or nothing is known of it."""
    records = [results[key] for key in contrast.keys]
    due = not simulated and paper in SAME_TEST and len(records[0]) >= SEEDS
    if not due or contrast.quantity not in METRICS or contrast.second_quantity is not None:
        return 0.0
    known = _exported().get(_key(contrast, records))
    if known is not None:
        return known
    if any(record.folder is None for group in records for record in group):
        return 0.0
    tables = [[record.predictions() for record in group] for group in records]
    return variance(tables[0], tables[1:], contrast.quantity)


def _key(contrast: Contrast, records: Sequence[Sequence[Record]]) -> str:
    runs = [[record.run for record in group] for group in records]
    return digest_of_values([contrast.quantity, runs])[:16]


def export(found: Sequence[tuple[Contrast, Results, Paper]], path: Path) -> int:
    """Write the variances of contrasts on real data beside the exported records.

    Returns
    -------
    int
        How many there are; no file is written for none.
    """
    table = {}
    for contrast, results, paper in found:
        value = of_contrast(contrast, results, paper, simulated=False)
        if value:
            table[_key(contrast, [results[key] for key in contrast.keys])] = value
    if table:
        with whole(path) as part:
            part.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return len(table)


def _exported() -> dict[str, float]:
    found: dict[str, float] = {}
    for path in sorted(recorded_folder().glob("*.sampling.json")):
        found |= _read(path, path.stat().st_mtime_ns)
    return found


@lru_cache(maxsize=8)
def _read(path: Path, modified: int) -> dict[str, float]:
    table: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return table
