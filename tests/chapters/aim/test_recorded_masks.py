"""Sensitivities and masks come out of the records of measurements as they went in."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from tests.chapters.aim.measurements import (
    DOMAIN,
    ENTERS,
    FAIRNESS,
    NAMES,
    jaccard_by_hand,
    mask_by_hand,
    measured,
    random_measurement,
)

from repro.chapters.aim import recorded_masks


@pytest.mark.parametrize("k", range(1, 7))
def test_mask(k: int) -> None:
    expected = {name for name, enters in zip(NAMES, ENTERS, strict=True) if enters <= k}
    assert recorded_masks.mask(measured(), k) == expected
    record = random_measurement(3)
    for kind in ("absolute", "cosine"):
        for draw in (0, 1):
            assert recorded_masks.mask(record, k, kind=kind, draw=draw) == mask_by_hand(
                record, k, kind=kind, draw=draw
            )


def test_sensitivities_are_by_name() -> None:
    record = measured(draws=[(DOMAIN, FAIRNESS), (FAIRNESS, DOMAIN)])
    d, b = recorded_masks.sensitivities(record)
    assert (d["bn1.weight"], b["bn1.weight"]) == (0.2, 0.9)
    d, b = recorded_masks.sensitivities(record, draw=1)
    assert (d["bn1.weight"], b["bn1.weight"]) == (0.9, 0.2)


def test_sizes_count_tensors_and_parameters() -> None:
    found = recorded_masks.sizes(measured())
    assert [size.k for size in found] == [1, 2, 3, 4, 5, 6]
    assert [size.tensors for size in found] == [0, 1, 1, 2, 4, 6]
    # Of 53 parameters: bn1, and layer1's bn, then layer1's conv and fc's weight, then all.
    assert [size.parameters for size in found] == [0, 2, 2, 4, 42, 53]


def test_every_two_draws_of_a_model_are_compared() -> None:
    records = [random_measurement(seed, draws=3) for seed in (1, 2)]
    expected = [
        jaccard_by_hand(mask_by_hand(r, 4, draw=i), mask_by_hand(r, 4, draw=j))
        for r in records
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    assert len(set(expected)) > 1
    assert recorded_masks.of_other_batches(records, 4) == pytest.approx(expected)
    assert recorded_masks.of_other_batches([random_measurement(1, draws=1)], 4) == []


@pytest.mark.parametrize("kind", ["absolute", "cosine"])
def test_rank_correlation_is_that_of_the_squared_differences_of_ranks(kind: str) -> None:
    record = random_measurement(3)
    values = record.results["draws"][0][kind]
    apart = stats.rankdata(values["domain"]) - stats.rankdata(values["fairness"])
    expected = 1 - 6 * np.sum(apart**2) / (6 * (6**2 - 1))  # without ties
    assert recorded_masks.rank_correlation(record, kind) == pytest.approx(expected)
