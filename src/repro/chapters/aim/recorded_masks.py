"""Sensitivities and masks, read back from the records of measurements."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from repro.aimfair.mask import MaskSize, entry_k, jaccard, mask_sizes, select_mask
from repro.study.runs import Record


def mask_of(
    measured: dict[str, Any], k: int, *, kind: str = "absolute", draw: int = 0
) -> frozenset[str]:
    """Return the selective mask of one draw of recorded sensitivities.

    Parameters
    ----------
    measured
        Results of a :class:`~repro.chapters.aim.configs.Sensitivity` run.
    k
        Tensors of either ranking.
    kind, draw
        Which difference of gradients, and of which draw of batches.
    """
    return select_mask(*sensitivities_of(measured, kind=kind, draw=draw), k)


def sensitivities_of(
    measured: dict[str, Any], *, kind: str = "absolute", draw: int = 0
) -> tuple[dict[str, float], dict[str, float]]:
    """Return d and b of every tensor, by name, from the results of a measurement."""
    values = measured["draws"][draw][kind]
    domain, fairness = (
        dict(zip(measured["tensors"], values[what], strict=True)) for what in ("domain", "fairness")
    )
    return domain, fairness


def sensitivities(
    record: Record, *, kind: str = "absolute", draw: int = 0
) -> tuple[dict[str, float], dict[str, float]]:
    """Return d and b of every tensor, by name, from a recorded measurement."""
    return sensitivities_of(record.results, kind=kind, draw=draw)


def mask(record: Record, k: int, *, kind: str = "absolute", draw: int = 0) -> frozenset[str]:
    """Return the mask of ``k`` from a recorded measurement; empty where the rankings are apart."""
    entered = entry_k(*sensitivities(record, kind=kind, draw=draw))
    return frozenset(name for name, first in entered.items() if first <= k)


def of_other_batches(records: Sequence[Record], k: int) -> list[float]:
    """Return how far masks of one model from other batches agree (Jaccard), each pair of draws."""
    return [
        jaccard(mask(record, k, draw=i), mask(record, k, draw=j))
        for record in records
        for i, j in combinations(range(len(record.results["draws"])), 2)
    ]


def sizes(record: Record, *, kind: str = "absolute") -> list[MaskSize]:
    """Return how much of the model the mask holds, for every k."""
    results = record.results
    parameters = dict(zip(results["tensors"], results["parameters"], strict=True))
    return mask_sizes(*sensitivities(record, kind=kind), parameters)
