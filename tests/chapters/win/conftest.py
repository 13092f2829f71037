"""Made-up records of a sweep of ranks."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conftest import MakeRecord

from repro.study.records import Results
from repro.study.runs import Record


def settings_of(
    strategy: str | None = None, rank: int | None = None, **more: Any
) -> dict[str, Any]:
    """Return what a run's configuration says of its setting: nothing, if no strategy tuned it."""
    return {"strategy": strategy, "rank": rank, **more} if strategy else {}


@pytest.fixture
def swept(made_up: MakeRecord) -> Results:
    """Return three seeds of two ranks: WIN's error is 1 point below f+SVD's at rank 4 only."""

    def record(
        seed: int, error: float, how: tuple[str | None, int | None] = (None, None), **more: Any
    ) -> Record:
        told = {
            "mean_label_error": error + 0.01 * seed,
            "trainable_parameters": 10,
            "start_max_logit_change": 0.5 + seed,
            **more,
        }
        return made_up(seed, (100, 100, 900, 900), results=told, **settings_of(*how))

    def angles(first: float) -> list[dict[str, Any]]:
        return [
            {"first": "neutralised", "second": "none", "outputs": [1.0, first], "inputs": [2.0]},
            {"first": "neutralised", "second": "pooled", "outputs": [0.5], "inputs": [0.1]},
            {"first": "pooled", "second": "none", "outputs": [77.0], "inputs": [77.0]},
        ]

    beard: dict[str, Any] = {"left_out_labels": {"protected=1": [], "protected=0": ["Beard"]}}
    found: Results = {"pre-trained": [record(s, 0.4) for s in range(3)]}
    found["tl"] = [record(s, 0.3, ("tl", None)) for s in range(3)]
    for rank, gap in ((1, 0.0), (4, 0.01)):
        found[f"svd, rank {rank}"] = [record(s, 0.3, ("svd", rank)) for s in range(3)]
        found[f"win, rank {rank}"] = [
            record(s, 0.3 - gap, ("win", rank), angles=angles(10.0 * rank + s), **beard)
            for s in range(3)
        ]
    return found
