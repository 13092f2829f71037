"""The tables of the chapter on top-k, against what its records say when computed again."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from tests.chapters.aim.measurements import (
    DOMAIN,
    jaccard_by_hand,
    mask_by_hand,
    measured,
    random_measurement,
)
from tests.conftest import Computed

from repro.chapters.aim import top_k


def test_sizes_count_tensors_and_parameters() -> None:
    table = top_k.sizes_table([measured()], [4, 5])
    assert table.to_dict("records") == [
        {
            "k": 4,
            "k of all tensors": "67%",
            "tensors in the mask": "2",
            "share of tensors": "33%",
            "share of parameters": "7.5%",
        },
        {
            "k": 5,
            "k of all tensors": "83%",
            "tensors in the mask": "4",
            "share of tensors": "67%",
            "share of parameters": "79.2%",
        },
    ]


def test_sizes_are_given_from_the_lowest_to_the_highest_seed() -> None:
    alike = measured(1, draws=[(DOMAIN, DOMAIN[::-1])])  # its rankings agree: k tensors for each k
    (row,) = top_k.sizes_table([measured(), alike], [4]).to_dict("records")
    assert row["tensors in the mask"] == "2 – 4"
    assert row["share of tensors"] == "33% – 67%"
    assert row["share of parameters"] == f"{4 / 53:.1%} – {44 / 53:.1%}"


def test_agreement_by_k() -> None:
    records = [random_measurement(seed) for seed in (1, 2, 3)]
    table = top_k.agreement_by_k(records).set_index("k")
    # Only where every seed has a mask.
    ks = [k for k in range(1, 7) if all(mask_by_hand(r, k) for r in records)]
    assert table.index.tolist() == ks
    for k in ks:
        across = [
            jaccard_by_hand(mask_by_hand(a, k), mask_by_hand(b, k))
            for a, b in combinations(records, 2)
        ]
        assert table.loc[k, "seeds"] == pytest.approx(np.mean(across))
        assert 0 <= table.loc[k, "chance"] <= 1
    assert table.loc[6].tolist() == [1, 1]  # all tensors, whatever the ranking


def test_real_masks_are_described(computed: Computed) -> None:
    records = computed.masks["train, augmented"]
    (row,) = top_k.sizes_table(records, [40]).to_dict("records")
    tuned = computed.table_3["mask"]
    sizes = [len(r.results["trained_tensors"]) for r in tuned]
    low, high = min(sizes), max(sizes)
    assert row["tensors in the mask"] == (f"{low} – {high}" if low < high else str(low))
    shares = [r.results["share_of_parameters"] for r in tuned]
    assert str(row["share of parameters"]).startswith(f"{min(shares):.1%}")
