"""A contrast is judged by its paired interval, and what stands beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tests.conftest import MakeRecord
from tests.study.conftest import GAPS, PAIRS, Direction, contrast, group, two_way

from repro.chapters.win.contrasts import EO
from repro.study.intervals import Interval
from repro.study.judging import control, judge
from repro.study.rule import ABSENT, CONTRADICTED, SUPPORTED, UNDECIDED

gaps = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=3, max_size=6)


@given(gaps, st.sampled_from(["less", "greater"]))
def test_a_contrast_is_judged_by_its_paired_interval(
    made_up: MakeRecord, pairs: list[tuple[int, int]], direction: Direction
) -> None:
    first, second = zip(*pairs, strict=True)
    found = judge(contrast(direction), {"a": group(made_up, first), "b": group(made_up, second)})
    differences = np.subtract(first, second) / 2000
    if np.ptp(differences):
        low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    else:  # 3 of the 1000 of a group
        low, high = differences[0] - 0.003, differences[0] + 0.003
    assert found.interval == Interval(
        pytest.approx(differences.mean()), pytest.approx(low), pytest.approx(high), len(pairs)
    )
    if direction == "less":
        low, high = -high, -low
    if min(abs(low), abs(high), abs(high - 0.01)) < 1e-9:
        return
    word = SUPPORTED if low > 0 else CONTRADICTED if high < 0 else UNDECIDED
    assert found.outcome == (ABSENT if word == UNDECIDED and high < 0.01 else word)


def test_several_second_settings_are_their_mean(made_up: MakeRecord) -> None:
    results = {
        "a": group(made_up, (100, 110, 120, 100)),
        "b": group(made_up, (200, 220, 210, 200)),
        "c": group(made_up, (400, 430, 420, 410)),
    }
    found = judge(contrast(pair=("a", ("b", "c"))), results)
    expected = np.subtract((100, 110, 120, 100), (300, 325, 315, 305)) / 2000
    low, high = stats.ttest_1samp(expected, 0).confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    # A seed in which one of them has no value has no mean.
    auc = {k: [made_up(s, results={"auc": s / 10}) for s in range(4)] for k in "abc"}
    auc["c"][2] = made_up(2, results={"auc": None})
    kept = judge(contrast(pair=("a", ("b", "c")), quantity="results:auc"), auc)
    assert kept.interval.n == 3


def test_overlapping_splits_double_the_interval(results: Any) -> None:
    plain = judge(contrast(pair=PAIRS["s"]), results).interval
    wider = judge(contrast(pair=PAIRS["s"]), results, paper="win")
    half = wider.interval.high - wider.interval.mean
    # sqrt(1 + 5 x 10,315 / 17,287) = sqrt(3.98346)
    assert half / (plain.high - plain.mean) == pytest.approx(1.99586, abs=1e-5)
    told = wider.beside["splits taken as independent"]
    assert isinstance(told, Interval)
    assert (told.low, told.high) == pytest.approx((plain.low, plain.high))


@pytest.mark.parametrize("second", ["more", ("more", "hardly")])
def test_beside_it_stands_the_interval_by_all_settings(results: Any, second: Any) -> None:
    found = judge(contrast(pair=("less", second)), results)
    pooled = found.beside["pooled residual variance"]
    assert isinstance(pooled, Interval)
    # Ordinary least squares over settings and seeds, and the error of its linear combination.
    variance, freedom, beta, inverse = two_way(np.array([*GAPS.values()]) / 2000)
    names, combination = list(GAPS), np.zeros(10)
    combination[names.index("less")] = 1
    others = found.contrast.seconds
    combination[[names.index(name) for name in others]] = -1 / len(others)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(variance * combination @ inverse @ combination)
    mean = combination @ beta
    assert (pooled.low, pooled.mean, pooled.high) == pytest.approx((mean - half, mean, mean + half))
    two = {name: results[name] for name in ("less", "more")}
    assert "pooled residual variance" not in judge(contrast(pair=PAIRS["s"]), two).beside


def test_beside_it_stands_the_mean_of_the_last_three_epochs(made_up: MakeRecord) -> None:
    def trained(*gaps: Sequence[int]) -> list[Any]:
        return [made_up(0, (0, 0, 0, of[-1]), history=[(0, 0, 0, g) for g in of]) for of in gaps]

    long = trained((900, 100, 200, 300), (900, 400, 500, 600))  # on average 350
    short = trained((50, 100, 150), (150, 200, 100))  # on average 125
    found = judge(contrast(quantity=EO), {"a": long, "b": short})
    assert found.beside == {"mean of the last three epochs": pytest.approx((350 - 125) / 1000)}
    several = judge(contrast(quantity=EO, pair=("a", ("a", "b"))), {"a": long, "b": short})
    assert several.beside == {"mean of the last three epochs": pytest.approx(112.5 / 1000)}
    two = trained((50, 100), (150, 200))
    assert judge(contrast(quantity=EO), {"a": long, "b": two}).beside == {}


def test_a_positive_control_is_a_contrast_that_is_supported(results: Any) -> None:
    for letter, passes in (("s", True), ("a", False), ("c", False), ("u", False)):
        made = control("it is found", lambda p, s: {}, contrast(pair=PAIRS[letter]))
        assert made.keys == PAIRS[letter]
        fine, numbers = made.passes(results)
        assert fine == passes
        assert numbers.startswith("a against b: ")
