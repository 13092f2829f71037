"""The rule is known by what it does: how often it errs on effects that are made up."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.conftest import MakeRecord

from repro.study import simulation
from repro.study.claims import Claim, Contrast
from repro.study.profiles import Profile
from repro.study.rule import HOLDS, IN_PART, NOT, OPEN
from repro.study.simulation import MULTIPLES, SEEDS, Case, words
from repro.study.verdicts import decide

MARGIN = 0.01
CHANCE = 1e-4
"""How often a right rule may fail one of these tests; the draws are fixed, so it does not."""


def most(rate: float, times: int) -> int:
    """Return what a count of ``times`` draws stays within, if its rate is at most this."""
    return int(stats.binom.ppf(1 - CHANCE, times, rate))


def case(kind: str = "all", k: int = 1, deviation: float = MARGIN) -> Case:
    effects, none = (2 * MARGIN,) * k, (0.0,) * k
    return Case("test", kind, (MARGIN,) * k, (deviation,) * k, effects, none, (False,) * k)


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.parametrize("deviation", [MARGIN, 3 * MARGIN])
def test_one_contrast_is_supported_as_often_as_its_t_test_rejects(n: int, deviation: float) -> None:
    times, quantile = 500, stats.t.ppf(0.975, n - 1)
    for multiple in MULTIPLES.values():
        found = words(case(deviation=deviation), multiple, n, times)
        effect, error = 2 * MARGIN * multiple, deviation / math.sqrt(n)
        power = stats.nct.sf(quantile, n - 1, effect / error)
        assert found[HOLDS] <= most(power, times)
        assert times - found[HOLDS] <= most(1 - power, times)
        # The interval ends below the margin: "does not hold", unless it lies above zero, too.
        below = stats.nct.cdf(-quantile, n - 1, (effect - MARGIN) / error)
        assert found[NOT] <= most(below, times)
        assert found[NOT] + found[HOLDS] >= times - most(1 - below, times)


def test_no_effect_is_supported_in_less_than_3_percent() -> None:
    times = 15_000  # so many that a rate of 2.5 % stays below 3 %, but for chance
    assert most(0.025, times) < 0.03 * times
    assert words(case(), MULTIPLES["none"], 5, times)[HOLDS] < 0.03 * times


@pytest.mark.parametrize("n", [3, 10])
@pytest.mark.parametrize(("kind", "k"), [("all", 1), ("all", 3), ("any", 5), ("best", 4)])
def test_the_rule_seldom_errs(kind: str, k: int, n: int) -> None:
    times = 500
    none = words(case(kind, k), MULTIPLES["none"], n, times)
    assert none[HOLDS] <= most(0.025, times)
    true = words(case(kind, k), MULTIPLES["as claimed"], n, times)
    assert true[NOT] <= 0.01 * times
    assert true[HOLDS] > none[HOLDS]
    assert sum(true.values()) == times


def test_nothing_lost_is_no_support() -> None:
    two = (MARGIN, MARGIN)
    kept = Case("test", "all", two, two, (2 * MARGIN, 0.0), (0.0, 0.0), (False, True))
    assert words(kept, MULTIPLES["none"], 10, 500)[HOLDS] <= most(0.025, 500)
    assert words(kept, MULTIPLES["as claimed"], 20, 200)[HOLDS] > 150


def judged(make: MakeRecord, desk: Profile, differences: Any) -> Any:
    """Return the verdict on a claim of one contrast, that `b` is larger than `a`."""
    contrast = Contrast("t", "a", "b", "results:x", "less", reported=-2 * MARGIN)
    assert contrast.margin == MARGIN
    claim = Claim(
        "test", "Table 0", "It is so.", "no", lambda p, s: {}, lambda p: [contrast],
        paper="aim-fair",
    )  # fmt: skip
    records = {
        "a": [make(s, results={"x": 0.5}) for s in range(len(differences))],
        "b": [make(s, results={"x": 0.5 + float(d)}) for s, d in enumerate(differences)],
    }
    return decide(claim, desk, records)


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.parametrize("multiple", MULTIPLES.values())
def test_records_are_judged_as_the_simulation_says(
    made_up: MakeRecord, desk: Profile, multiple: float, n: int
) -> None:
    rng, studies, times = np.random.default_rng(n), 200, 1000
    effect = multiple * 2 * MARGIN
    made = rng.normal(effect, MARGIN, (studies, n))
    found = Counter(judged(made_up, desk, differences).word for differences in made)
    if multiple == 1:
        assert found[NOT] <= most(0.01, studies)
    if multiple == 0:
        assert found[HOLDS] <= most(0.025, studies)
    told = words(case(), multiple, n, times)
    for word in (HOLDS, NOT, OPEN):
        both = (found[word] + told[word]) / (studies + times)
        error = math.sqrt(both * (1 - both) * (1 / studies + 1 / times))
        difference = found[word] / studies - told[word] / times
        assert abs(difference) <= stats.norm.isf(CHANCE / 2) * error
    assert set(found) | set(told) <= {HOLDS, NOT, OPEN}


def test_a_case_is_the_noise_of_the_records(made_up: MakeRecord, desk: Profile) -> None:
    differences = [0.01, 0.03, 0.02]
    found = simulation.case_of(judged(made_up, desk, differences))
    assert (found.name, found.kind, found.margins, found.needed) == (
        *("test", "all", (MARGIN,), (False,)),
    )
    assert found.deviations == pytest.approx((0.01,))
    assert (found.effects, found.told, found.per_seed) == ((0.02,), (0.02,), 0.0)
    assert simulation.case_of(judged(made_up, desk, [0.01] * 3)) is None  # no noise
    assert simulation.case_of(judged(made_up, desk, [0.01])) is None


def test_an_effect_of_the_paper_below_the_margin_is_not_refuted_where_it_is_true() -> None:
    # Half a point is claimed where a point is the margin: told so, the rule leaves it open.
    small = ((MARGIN,), (MARGIN,), (MARGIN / 2,))
    times, n = 500, 20
    for told in (MARGIN / 2, 0.0):
        found = words(Case("test", "all", *small, (told,), (False,)), 1.0, n, times)
        assert (found[NOT] <= 0.03 * times) is bool(told)


def test_splits_of_the_same_people_err_no_more_often_than_the_interval_says() -> None:
    times, per_seed = 3000, 1 / 3
    same = Case("test", "all", (MARGIN,), (MARGIN,), (0.02,), (0.0,), (False,), per_seed)
    for n in (5, 20):
        assert words(same, MULTIPLES["none"], n, times)[HOLDS] <= most(0.03, times)
        apart = Case("test", "all", (MARGIN,), (MARGIN,), (0.02,), (0.0,), (False,))
        assert words(same, 1.0, n, times)[HOLDS] < words(apart, 1.0, n, times)[HOLDS]


def test_errors_are_shares_and_means_over_claims() -> None:
    table = simulation.errors([case(), case("any", 2)], times=20)
    sums = table.groupby(["claim", "effect", "seeds"])["share"].sum()
    assert sums.tolist() == pytest.approx([2.0] * 16)  # two cases of one name
    told = pd.DataFrame(
        [
            ("one", "as claimed", 3, NOT, 0.2),
            ("one", "as claimed", 3, HOLDS, 0.8),
            ("two", "as claimed", 3, HOLDS, 1.0),
            ("two", "none", 5, HOLDS, 0.1),
            ("two", "none", 10, IN_PART, 0.5),
            ("one", "half of it", 5, NOT, 1.0),
        ],
        columns=["claim", "effect", "seeds", "word", "share"],
    )
    found = simulation.wrong(told)
    assert found.index.tolist() == [3, 5, 10, 20]
    assert found["true, called 'does not hold'"].tolist() == pytest.approx([0.1, 0, 0, 0])
    assert found["none, called 'holds'"].tolist() == pytest.approx([0, 0.05, 0, 0])
    assert found["none, called 'holds in part'"].tolist() == pytest.approx([0, 0, 0.25, 0])
    assert found["true, called 'holds'"].tolist() == pytest.approx([0.9, 0, 0, 0])
