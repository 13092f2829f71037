"""Intervals over seeds, against other people's statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats
from tests.study.conftest import two_way

from repro.study.intervals import (
    many_to_one,
    mean_interval,
    paired_interval,
    residuals,
    seeds_for,
)
from repro.study.judging import PER_SEED

values = st.lists(st.floats(-1, 1).map(lambda x: round(x, 4)), min_size=2, max_size=12)
spread = values.filter(lambda found: len(set(found)) > 1)


@given(spread)
def test_interval_is_that_of_the_t_test(found: list[float]) -> None:
    ours = mean_interval(found)
    theirs = stats.ttest_1samp(found, 0).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=1e-12)
    assert ours.mean == pytest.approx(np.mean(found))
    assert ours.n == len(found)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=12))
def test_paired_interval_is_that_of_the_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    pairs = [(round(a, 4), round(b, 4)) for a, b in pairs]
    first, second = zip(*pairs, strict=True)
    if np.ptp(np.subtract(first, second)) < 1e-9:
        return
    ours = paired_interval(first, second)
    theirs = stats.ttest_rel(first, second)
    low, high = theirs.confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=1e-12)
    if abs(theirs.pvalue - 0.05) > 1e-9:
        assert ours.excludes(0) == (theirs.pvalue < 0.05)


def test_one_seed_has_no_interval() -> None:
    one = mean_interval([0.3])
    assert one.mean == 0.3
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert not one.excludes(5)


def test_identical_values_have_no_uncertainty() -> None:
    same = mean_interval([0.1 + 0.2, 0.3, 0.3])
    assert same.low == same.high == same.mean


def test_rounding_is_no_difference() -> None:
    # 0.1 + 0.2 is 0.30000000000000004: without width, an interval would lie above zero.
    pair = paired_interval([0.1 + 0.2] * 3, [0.3] * 3)
    assert (pair.low, pair.mean, pair.high) == (0, 0, 0)
    assert not pair.excludes(0)
    assert paired_interval([1e-9] * 3, [0.0] * 3).excludes(0)


@pytest.mark.parametrize("bad", [[], [0.1, math.nan], [0.1, math.inf], [[0.1], [0.2]]])
def test_values_without_an_interval(bad: list[Any]) -> None:
    with pytest.raises(ValueError, match="finite values of at least one seed"):
        mean_interval(bad)


def test_paired_values_need_the_same_seeds() -> None:
    with pytest.raises(ValueError, match="the same seeds: 2 and 3"):
        paired_interval([1, 2], [1, 2, 3])


def test_the_share_of_overlapping_splits_is_that_of_adult() -> None:
    # 12,287 to train and 5,000 to validate on, 10,315 to test on: 10,315 / 17,287 = 0.59669.
    assert {"win": pytest.approx(0.59669, abs=5e-6)} == PER_SEED


@given(st.floats(0.001, 0.03), st.floats(0.001, 0.03), st.sampled_from([0.0, 0.01, 0.6]))
def test_seeds_for_is_the_smallest_number_that_does(
    deviation: float, half: float, per_seed: float
) -> None:
    n = np.arange(2, 5000)  # without overlap at most (2 x 30)^2
    error = deviation * np.sqrt(1 / n + per_seed)
    enough = n[stats.t.ppf(0.975, n - 1) * error <= half]
    found = seeds_for(deviation, half, per_seed=per_seed)
    if len(enough):
        assert found == enough[0]
    else:
        assert found is None or found >= 5000


def test_no_spread_takes_two_seeds() -> None:
    assert seeds_for(0.0, 0.01) == 2


@given(arrays(float, st.tuples(st.integers(2, 5), st.integers(2, 6)), elements=st.floats(-1, 1)))
def test_residuals_are_those_of_a_fit_of_settings_and_seeds(table: NDArray[np.float64]) -> None:
    variance, freedom, *_ = two_way(table)
    assert residuals(table) == (pytest.approx(variance, abs=1e-12), freedom)


def test_one_seed_has_no_residuals() -> None:
    variance, freedom = residuals([[0.1], [0.2]])
    assert math.isnan(variance)
    assert freedom == 0


@pytest.mark.parametrize(
    ("freedom", "tabled"), [(10, (2.23, 2.57, 2.76, 2.89, 2.99)), (20, (2.09, 2.38, 2.54, 2.65))]
)
def test_the_critical_values_are_those_of_dunnetts_table(
    freedom: int, tabled: Sequence[float]
) -> None:
    # Dunnett (1964), "New tables for multiple comparisons with a control", two-sided 95 %.
    found = [many_to_one(rivals, freedom) for rivals in range(1, len(tabled) + 1)]
    assert found == pytest.approx(tabled, abs=0.01)


@pytest.mark.parametrize(("rivals", "n"), [(2, 5), (4, 3), (4, 10)])
def test_the_critical_value_is_that_of_scipys_dunnett(rivals: int, n: int) -> None:
    # Of independent groups of n the freedom is another, the multivariate t distribution the same.
    groups = np.random.default_rng(0).normal(size=(rivals + 1, n))
    test = stats.dunnett(*groups[1:], control=groups[0], rng=np.random.default_rng(1))
    limits = test.confidence_interval(0.95)
    half = (limits.high - limits.low) / 2
    error = math.sqrt(groups.var(axis=1, ddof=1).mean() * 2 / n)
    assert half / error == pytest.approx(many_to_one(rivals, (rivals + 1) * (n - 1)), rel=5e-3)
