"""Sensitivities and masks, read back from the records of measurements."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from repro.aimfair.mask import MaskSize, entry_k, jaccard, mask_sizes
from repro.study.runs import Record


def sensitivities(
    record: Record, *, kind: str = "absolute", draw: int = 0
) -> tuple[dict[str, float], dict[str, float]]:
    """Return d and b of every tensor, by name, from a recorded measurement.

    Parameters
    ----------
    record
        Of a :class:`~repro.chapters.aim.configs.Sensitivity` run.
    kind, draw
        Which difference of gradients, and of which draw of batches.
    """
    names, values = record.results["tensors"], record.results["draws"][draw][kind]
    domain, fairness = (
        dict(zip(names, values[what], strict=True)) for what in ("domain", "fairness")
    )
    return domain, fairness


def rank_correlation(record: Record, kind: str) -> float:
    """Return Spearman's correlation of domain and fairness sensitivity over tensors."""
    domain, fairness = sensitivities(record, kind=kind)
    return float(pd.Series(domain).corr(pd.Series(fairness), method="spearman"))


def mask(record: Record, k: int, *, kind: str = "absolute", draw: int = 0) -> frozenset[str]:
    """Return the mask of ``k`` from a recorded measurement; empty where the rankings are apart."""
    entered = entry_k(*sensitivities(record, kind=kind, draw=draw))
    return frozenset(name for name, first in entered.items() if first <= k)


def agreement(first: Sequence[Record], second: Sequence[Record], k: int) -> list[float]:
    """Return how far masks of two measurements of one model agree (Jaccard), seed by seed."""
    return [jaccard(mask(a, k), mask(b, k)) for a, b in zip(first, second, strict=True)]


def of_other_batches(records: Sequence[Record], k: int) -> list[float]:
    """Return how far masks of one model from other batches agree (Jaccard), each pair of draws."""
    return [
        jaccard(mask(record, k, draw=i), mask(record, k, draw=j))
        for record in records
        for i, j in combinations(range(len(record.results["draws"])), 2)
    ]


def sizes(record: Record) -> list[MaskSize]:
    """Return how much of the model the mask holds, for every k."""
    results = record.results
    parameters = dict(zip(results["tensors"], results["parameters"], strict=True))
    return mask_sizes(*sensitivities(record), parameters)
