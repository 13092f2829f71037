"""The rule that follows from intervals over seeds, against other people's statistics."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from tests.study.conftest import two_way

from repro.study import rule
from repro.study.intervals import Interval, many_to_one
from repro.study.rule import (
    ABSENT,
    CONTRADICTED,
    HOLDS,
    IN_PART,
    NOT,
    OPEN,
    SUPPORTED,
    UNDECIDED,
    Outcome,
    outcome,
)

# A contrast


@given(
    st.lists(st.floats(-0.05, 0.05).map(lambda x: round(x, 4)), min_size=3, max_size=10),
    st.sampled_from([0.002, 0.01, 0.03]),
    st.sampled_from(["better", "no worse"]),
)
def test_an_outcome_is_that_of_t_tests(found: list[float], margin: float, kind: str) -> None:
    assume(np.ptp(found) > 1e-9)
    ours = outcome(found, margin, kind=kind)
    low, high = stats.ttest_1samp(found, 0).confidence_interval(0.95)
    assert (ours.interval.low, ours.interval.high) == pytest.approx((low, high), abs=1e-12)
    above, below = (-margin, -margin) if kind == "no worse" else (0.0, margin)
    for p, against, side in ((ours.p_support, above, "greater"), (ours.p_refute, below, "less")):
        one_sided = stats.ttest_1samp(found, against, alternative=side).pvalue
        assert p == pytest.approx(min(1.0, 2 * one_sided), abs=1e-9)
    assume(min(abs(end - at) for end in (low, high) for at in (0, margin, -margin)) > 1e-9)
    if kind == "no worse":
        word = SUPPORTED if low > -margin else CONTRADICTED if high < -margin else UNDECIDED
    elif low > 0:
        word = SUPPORTED
    else:
        word = CONTRADICTED if high < 0 else ABSENT if high < margin else UNDECIDED
    assert ours.word == word
    # What is undecided is decided by a half-width of half the margin, since then the interval
    # cannot reach from zero to the margin: so it never asks for fewer seeds than there are.
    if word == UNDECIDED and kind == "better":
        assert ours.lacks is not None
        assert ours.lacks > len(found)
    if word != UNDECIDED:
        assert ours.lacks is None


def test_no_number_of_seeds_decides_what_is_told_and_found_below_the_margin() -> None:
    wide, narrow = [0.02, -0.02, 0.01, -0.012, 0.004], [0.004, -0.004, 0.002, -0.003, 0.001]
    n, deviation = np.arange(2, 5000), np.std(wide, ddof=1)
    half = stats.t.ppf(0.975, n - 1) * deviation / np.sqrt(n)
    for told in (0.0, 0.003, 0.02):
        open_ = outcome(wide, 0.01, told=told)
        assert (open_.word, open_.lacks) == (UNDECIDED, n[half <= 0.005][0])
        assert not open_.told_is_small
    high = stats.ttest_1samp(narrow, 0).confidence_interval().high
    assert 0.003 < high < 0.01
    small = outcome(narrow, 0.01, told=0.003)
    assert (small.word, small.lacks, small.told_is_small) == (UNDECIDED, None, True)
    for told in (0.0, 0.02):
        assert outcome(narrow, 0.01, told=told).word == ABSENT


def test_an_interval_takes_in_overlap_and_the_choice_of_examples() -> None:
    differences = [0.01, 0.02, 0.03]  # standard deviation 0.01, t of two degrees 4.3027
    plain = outcome(differences, 0.01)
    assert plain.interval.high - 0.02 == pytest.approx(4.3027 * 0.01 / math.sqrt(3), abs=1e-6)
    wider = outcome(differences, 0.01, per_seed=1.0)  # sqrt(1 + 3) times as wide
    assert wider.interval.high - 0.02 == pytest.approx(2 * (plain.interval.high - 0.02))
    # sqrt(1 + 10 x 0.59669), computed by hand
    ten = [
        outcome([0.01, 0.03] * 5, 0.01, per_seed=share).interval for share in (0, 10_315 / 17_287)
    ]
    assert (ten[1].high - 0.02) / (ten[0].high - 0.02) == pytest.approx(2.6395, abs=5e-5)
    sampled = outcome(differences, 0.01, sampling=1e-4 - 1e-4 / 3)
    assert sampled.interval.high - 0.02 == pytest.approx(4.3027 * 0.01, abs=1e-6)
    # With overlap no number of seeds is enough, where the splits alone are too alike.
    open_ = outcome([-0.02, 0.0, 0.03], 0.01, per_seed=1.0)
    assert (open_.word, open_.lacks) == (UNDECIDED, None)


@pytest.mark.parametrize(
    ("difference", "margin", "kind", "word"),
    [
        (0.0, 0.01, "better", ABSENT),
        (0.0, 0.002, "better", UNDECIDED),
        (0.01, 0.01, "better", SUPPORTED),
        (0.002, 0.01, "better", ABSENT),
        (-0.01, 0.01, "better", CONTRADICTED),
        (0.0, 0.01, "no worse", SUPPORTED),
        (0.0, 0.002, "no worse", UNDECIDED),
        (-0.01, 0.002, "no worse", CONTRADICTED),
    ],
)
def test_a_difference_without_spread_is_bounded_by_the_rule_of_three(
    difference: float, margin: float, kind: str, word: str
) -> None:
    found = outcome([difference] * 3, margin, kind=kind, floor=0.003)
    half = 0.003
    assert found.interval == Interval(
        pytest.approx(difference), pytest.approx(difference - half), difference + half, 3
    )
    assert found.word == word
    assert found.lacks is None  # more of the same seeds would not make the group larger
    # Without a group to bound it (a number of parameters) it is exact.
    assert outcome([0.001] * 3, 0.01).word == SUPPORTED


@pytest.mark.parametrize("differences", [[], [0.05], [0.05, 0.051]])
def test_fewer_than_three_seeds_decide_nothing(differences: list[float]) -> None:
    found = outcome(differences, 0.01)
    assert (found.word, found.p_support, found.p_refute) == (UNDECIDED, 1, 1)
    assert found.interval.n == len(differences)


@pytest.fixture(scope="module")
def frozen() -> Iterator[None]:
    """Keep what is there from the garbage collection that statsmodels asks for at every call."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("frozen")
@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 0.1), min_size=1, max_size=8))
def test_holm_is_that_of_statsmodels(p: list[float]) -> None:
    assert rule.holm(p) == multipletests(p, alpha=0.05, method="holm")[0].tolist()


def test_nothing_to_correct() -> None:
    assert rule.holm([]) == []


# A claim


def of(letter: str) -> Outcome:
    """Return an outcome: supported, contradicted, absent, undecided; h and r by 0.04 only."""
    word = {"s": SUPPORTED, "h": SUPPORTED, "c": CONTRADICTED, "a": ABSENT, "r": ABSENT}
    p = 0.04 if letter in "hr" else 0.001
    one = Interval(0.0, 0.0, 0.0, 5)
    found = word.get(letter.lower(), UNDECIDED)
    if found == SUPPORTED:
        return Outcome(one, found, p, 1.0, 0.01, 0.01)
    return Outcome(one, found, 1.0, p if found != UNDECIDED else 1.0, 0.01, 0.01)


LEFT, BOTH = "smaller than claimed", "contradicted and smaller than claimed"


@pytest.mark.parametrize(
    ("kind", "letters", "word", "note"),  # capitals: of kind "no worse"
    [
        ("all", "s", HOLDS, ""),
        ("all", "hh", HOLDS, ""),  # nothing was picked out, so nothing is corrected for
        ("all", "sh", HOLDS, ""),
        ("all", "su", IN_PART, ""),
        ("all", "sc", IN_PART, "mixed"),
        ("all", "sau", IN_PART, "mixed"),
        ("all", "hu", OPEN, ""),  # one of two is supported, but not once corrected
        ("all", "hc", OPEN, ""),  # refuted and, without correction, supported
        ("all", "c", NOT, "contradicted"),
        ("all", "r", NOT, LEFT),
        ("all", "au", NOT, LEFT),
        ("all", "ac", NOT, BOTH),
        ("all", "ru", OPEN, ""),
        ("all", "rr", OPEN, ""),
        ("all", "u", OPEN, ""),
        ("all", "sS", HOLDS, ""),
        ("all", "sU", IN_PART, ""),
        ("all", "sC", IN_PART, "mixed"),
        ("all", "uS", OPEN, ""),  # nothing lost is no support
        ("all", "aS", NOT, LEFT),
        ("all", "uC", NOT, "contradicted"),
        ("any", "s", HOLDS, ""),
        ("any", "scu", HOLDS, ""),
        ("any", "hu", OPEN, ""),
        ("any", "au", OPEN, ""),
        ("any", "rr", NOT, LEFT),  # every one is refuted: nothing was picked out
        ("any", "ca", NOT, BOTH),
    ],
)
def test_the_word_follows_from_the_outcomes(kind: str, letters: str, word: str, note: str) -> None:
    needed = [letter.isupper() for letter in letters]
    assert rule.word_of(kind, [of(letter) for letter in letters], needed) == (word, note)


NOISE = np.array([[1, -1, 0, 2, -2], [-1, 1, 2, 0, -2], [2, 0, -2, -1, 1], [0, 2, -1, -2, 1]]) / 1e3


@pytest.mark.parametrize(
    ("levels", "noise", "word", "note"),
    [
        ((0.9, 0.85, 0.85, 0.8), 1, HOLDS, ""),
        ((0.9, 0.9, 0.85, 0.8), 1, HOLDS, ""),  # a rival as good is not better
        ((0.9, 0.92, 0.8, 0.8), 1, NOT, "a rival is better"),
        ((0.9, 0.9, 0.8, 0.8), 8, IN_PART, ""),  # better than their mean, one rival still open
        ((0.9, 0.9, 0.9, 0.9), 1, NOT, f"{LEFT} against the mean of its rivals"),
        ((0.9, 0.9, 0.9, 0.9), 20, OPEN, ""),
    ],
)
def test_which_setting_is_best(
    levels: tuple[float, ...], noise: float, word: str, note: str
) -> None:
    table = np.array(levels)[:, None] + noise * NOISE
    mean = outcome(list(table[0] - table[1:].mean(0)), 0.01)
    rivals, found, said = rule.best_of(table, [0.01] * 3, mean)
    assert (found, said) == (word, note)
    # Dunnett's joint intervals, from a fit of settings and seeds: 12 degrees of freedom.
    variance, freedom, *_ = two_way(table)
    half = many_to_one(3, freedom) * math.sqrt(variance * 2 / 5)
    assert freedom == 12
    for rival, level in zip(rivals, levels[1:], strict=True):
        low, high = levels[0] - level - half, levels[0] - level + half
        assert (rival.interval.low, rival.interval.high) == pytest.approx((low, high), abs=1e-9)
        expected = CONTRADICTED if high < 0 else SUPPORTED if low > -0.01 else UNDECIDED
        assert rival.word == expected
    assert rule.best_of(table[:, :2], [0.01] * 3, outcome([0.1] * 2, 0.01))[1:] == (OPEN, "")


@pytest.mark.parametrize(
    ("reported", "words"),
    # Ten seeds of deviation 0.01 around 0.05, ten of the paper: t = 2.2622, so 0.05 +- 0.010117.
    [(0.0602, "smaller than reported"), (0.0600, "as reported"), (0.0400, "as reported"),
     (0.0398, "larger than reported")],
)  # fmt: skip
def test_the_size_of_an_effect_is_held_against_a_repetition(reported: float, words: str) -> None:
    assert rule.size_in_words(0.05, 0.01, 10, reported) == words
    assert rule.size_in_words(0.05, 0.01, 2, reported) == ""
