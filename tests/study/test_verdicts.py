"""How sure, and what follows: Student intervals over seeds, and one rule for every claim."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from repro.names import UnknownNameError
from repro.study import verdicts as judge
from repro.study.claims import DP, EO
from repro.study.contrasts import Claim, Contrast
from repro.study.experiments import CLAIMS
from repro.study.glance import at_a_glance_markdown
from repro.study.intervals import mean_interval, paired_interval
from repro.study.profiles import Profile, load_profile
from repro.study.verdicts import HOLDS, IN_PART, NOT, SIGNS, UNTESTABLE, decide

from .conftest import Computed, MakeRecord

# Intervals

values = st.lists(st.floats(-1, 1).map(lambda x: round(x, 4)), min_size=2, max_size=12)
spread = values.filter(lambda found: len(set(found)) > 1)


@given(spread, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_interval_is_that_of_the_t_test(found: list[float], confidence: float) -> None:
    ours = mean_interval(found, confidence)
    theirs = stats.ttest_1samp(found, 0).confidence_interval(confidence)
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


# The rule

Direction = Literal["less", "greater"]


@pytest.fixture(scope="module")
def three() -> Profile:
    return load_profile("quick")


def group(make: MakeRecord, gaps: Sequence[int]) -> list[Any]:
    """Return a record for each seed whose DP is gap / 2000 and whose EO sum is gap / 1000."""
    return [make(seed, (0, 0, 0, gap)) for seed, gap in enumerate(gaps)]


def claim(*contrasts: Contrast) -> Claim:
    """Return a claim whose plan has every setting that its contrasts name."""
    keys = {key for c in contrasts for key in (c.first, c.second)}
    return Claim(
        "test", "Table 0", "It is so.", "no", lambda p, s: {k: [] for k in keys},
        lambda p: list(contrasts),
    )  # fmt: skip


def contrast(direction: Direction = "less", quantity: str = DP, **given: Any) -> Contrast:
    return Contrast("a against b", "a", "b", quantity, direction, **given)


gaps = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=3, max_size=6)


@given(gaps, st.sampled_from(["less", "greater"]))
def test_a_contrast_is_judged_by_its_paired_interval(
    made_up: MakeRecord, pairs: list[tuple[int, int]], direction: Direction
) -> None:
    first, second = zip(*pairs, strict=True)
    results = {"a": group(made_up, first), "b": group(made_up, second)}
    found = judge.judge(contrast(direction), results)
    differences = [(a - b) / 2000 for a, b in pairs]
    assert found.interval.mean == pytest.approx(np.mean(differences))
    side = 1 if direction == "greater" else -1
    if np.ptp(differences) < 1e-9:
        t = math.copysign(math.inf, differences[0]) if abs(differences[0]) > 1e-9 else 0.0
        p = 0.0 if t else 1.0
    else:
        t, p = stats.ttest_1samp(differences, 0)
    if abs(p - 0.05) < 1e-9:
        return
    expected = "undecided" if p > 0.05 else "supported" if t * side > 0 else "contradicted"
    assert found.outcome == expected
    opposite: Direction = "less" if direction == "greater" else "greater"
    mirrored = {
        "supported": "contradicted", "contradicted": "supported", "undecided": "undecided"
    }  # fmt: skip
    assert judge.judge(contrast(opposite), results).outcome == mirrored[expected]


# Of five seeds: clearly less, clearly more, neither, and less by little more than chance.
LESS, MORE = (10, 20, 30, 15, 25), (500, 520, 525, 510, 515)
MIXED, HARDLY = (500, 0, 30, 10, 60), (500, 420, 265, 210, 335)


@pytest.mark.parametrize(
    ("first", "second", "wide", "narrow"),
    [(LESS, MORE, True, True), (HARDLY, MORE, True, False), (MIXED, LESS, False, False)],
)
def test_what_the_examples_are_of(
    first: Sequence[int], second: Sequence[int], wide: bool, narrow: bool
) -> None:
    p = stats.ttest_rel(first, second).pvalue
    assert bool(p < 0.05) is wide
    assert bool(p < 0.05 / 2) is narrow


@pytest.mark.parametrize(
    ("outcomes", "word"),
    [
        ("s", HOLDS),
        ("ss", HOLDS),
        ("h", HOLDS),  # one contrast: nothing to correct for
        ("hh", HOLDS),  # all of them: nothing was picked out
        ("sh", HOLDS),
        ("su", IN_PART),
        ("sc", IN_PART),
        ("scu", IN_PART),
        ("hu", NOT),  # one of two is supported, but not once corrected
        ("hc", NOT),
        ("u", NOT),
        ("c", NOT),
        ("ucu", NOT),
    ],
)
def test_the_word_follows_from_the_contrasts(
    made_up: MakeRecord, three: Profile, outcomes: str, word: str
) -> None:
    given = {"less": LESS, "more": MORE, "mixed": MIXED, "hardly": HARDLY}
    results = {name: group(made_up, gaps) for name, gaps in given.items()}
    pairs = {
        "s": ("less", "more"),
        "c": ("more", "less"),
        "u": ("mixed", "less"),
        "h": ("hardly", "more"),
    }
    contrasts = [Contrast(o, *pairs[o], DP, "less") for o in outcomes]
    found = decide(claim(*contrasts), three, results)
    assert found.word == word
    names = {"s": "supported", "h": "supported", "c": "contradicted", "u": "undecided"}
    said = [names[o] for o in outcomes]
    assert [j.outcome for j in found.judged] == said
    assert [j.survives for j in found.judged] == [
        o == "s" or (o == "h" and len(outcomes) == 1) for o in outcomes
    ]
    assert found.reason.startswith(
        f"{said.count('supported')} of {len(said)} contrasts supported, "
        f"{said.count('contradicted')} contradicted, {said.count('undecided')} undecided"
    )
    corrected = f"none supported once corrected for {len(said)} contrasts"
    assert (corrected in found.reason) == (word == NOT and "h" in outcomes)
    assert found.simulated


def test_what_stands_beside_a_claim_judges_nothing(made_up: MakeRecord, three: Profile) -> None:
    results = {"a": group(made_up, LESS), "b": group(made_up, MORE)}
    against = Contrast("beside it", "b", "a", DP, "less")
    gone = Contrast("not run", "a", "none", DP, "less")
    with_beside = dataclasses.replace(claim(contrast()), beside=lambda profile: [against, gone])
    found = decide(with_beside, three, results)
    assert found.word == HOLDS
    assert [j.outcome for j in found.beside] == ["contradicted"]
    table = judge.contrast_table(found)
    assert [row.endswith("beside it") for row in table["contrast"]] == [False, True]
    assert table["outcome"].tolist() == ["supported", ""]


def test_fewer_than_three_seeds_are_not_testable(made_up: MakeRecord) -> None:
    two = load_profile("quick", {"seeds": [0, 1]})
    results = {"a": group(made_up, LESS[:2]), "b": group(made_up, MORE[:2])}
    found = decide(claim(contrast()), two, results)
    assert found.word == UNTESTABLE
    assert found.reason == "2 seed(s); a verdict takes 3"
    assert found.judged == ()


def test_missing_runs_are_named_and_not_testable(made_up: MakeRecord, three: Profile) -> None:
    found = decide(claim(contrast()), three, {"a": group(made_up, LESS)})
    assert found.word == UNTESTABLE
    assert found.reason == "no records of: b. 'make study PROFILE=quick' computes them"


def test_what_a_profile_does_not_run_is_not_promised(made_up: MakeRecord, three: Profile) -> None:
    other = dataclasses.replace(claim(contrast()), plan=lambda profile, seeds: {"a": []})
    found = decide(other, three, {"a": group(made_up, LESS)})
    assert (found.word, found.reason) == (UNTESTABLE, "profile 'quick' does not run: b")
    desk = load_profile("desk")
    found = decide(judge.claim_named("layer-freezing"), desk, {})
    assert found.word == UNTESTABLE
    assert "profile 'desk' does not run: freeze" in found.reason


def test_nothing_to_compare_is_not_testable(three: Profile) -> None:
    # Not "holds": all of no contrasts are supported.
    found = decide(claim(), three, {})
    assert found.word == UNTESTABLE
    without = load_profile("quick", {"win.architectures": [], "win.constraints": []})
    for one in CLAIMS:
        if not one.contrasts(without):
            assert decide(one, without, {}).word == UNTESTABLE


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_quantity_of_fewer_than_three_seeds_is_undecided(
    made_up: MakeRecord, three: Profile, missing: int
) -> None:
    def probes(at: float) -> list[Any]:
        auc = [at, at + 0.01, at + 0.02]
        return [made_up(s, results={"auc": None if s < missing else v}) for s, v in enumerate(auc)]

    results = {"a": probes(0.9), "b": probes(0.5)}
    whole = {k: [made_up(s, results={"auc": 0.9 if k == "a" else 0.5}) for s in range(3)]
             for k in "ab"}  # fmt: skip
    one = contrast("greater", "results:auc")
    assert judge.judge(one, whole).outcome == "supported"
    found = decide(claim(one), three, results)
    assert [j.outcome for j in found.judged] == ["undecided"]
    assert found.judged[0].interval.n == 3 - missing
    assert found.word == NOT
    assert "nan" not in judge.contrast_table(found).to_string()


def test_two_quantities_of_one_setting(made_up: MakeRecord, three: Profile) -> None:
    records = [made_up(s, results={"d": 0.5 + s / 100, "null": 0.1}) for s in range(3)]
    one = Contrast("t", "a", "a", "results:d", "greater", second_quantity="results:null")
    found = decide(claim(one), three, {"a": records})
    assert found.word == HOLDS
    assert found.judged[0].interval.mean == pytest.approx(0.41)
    assert found.judged[0].runs == tuple(record.run for record in records)


def test_the_papers_difference_is_held_against_the_interval(made_up: MakeRecord) -> None:
    real = load_profile("desk")
    results = {"a": group(made_up, LESS), "b": group(made_up, MORE)}
    mean = (20 - 514) / 2000
    inside = judge.judge(contrast(reported=mean), results)
    assert inside.reported_excluded is False
    outside = judge.judge(contrast(reported=0.1), results)
    assert outside.reported_excluded is True
    assert judge.judge(contrast(), results).reported_excluded is None
    # A number that was read off a plot may be anywhere within its slack.
    near = inside.interval.high + 0.01
    assert judge.judge(contrast(reported=near), results).reported_excluded is True
    assert judge.judge(contrast(reported=near, slack=0.02), results).reported_excluded is False

    found = decide(claim(inside.contrast, outside.contrast), real, results)
    assert "outside our interval in 1 of 2" in found.reason
    row = judge.contrast_table(found).iloc[0]
    assert row["paper"] == row["ours"] == f"{100 * mean:+.2f}"
    assert row["claimed"] == "below 0"
    assert row["outcome"] == "supported"
    simulated = decide(claim(inside.contrast), load_profile("quick"), results)
    assert "paper" not in judge.contrast_table(simulated)  # nothing stands beside simulated data
    assert "paper" not in simulated.reason


def test_words_and_tables(made_up: MakeRecord, three: Profile) -> None:
    results = {"a": group(made_up, LESS), "b": group(made_up, MORE)}
    found = decide(claim(contrast(quantity=EO)), three, results)
    table = judge.verdict_table([found])
    assert table.iloc[0]["verdict"] == f"{SIGNS[HOLDS]} {HOLDS}"
    assert table.iloc[0]["claim"] == "It is so."
    said = judge.sentence(found, "UCI Adult")
    assert said.startswith(f"**Table 0: It is so.** {SIGNS[HOLDS]} *{HOLDS}* (UCI Adult): 1 of 1")


def test_a_claim_by_its_name() -> None:
    assert judge.claim_named("bias-returns").where == "Table 2"
    with pytest.raises(UnknownNameError, match="'bias-return'; did you mean 'bias-returns'"):
        judge.claim_named("bias-return")


@pytest.mark.usefixtures("tiny")
def test_verdicts_of_a_profile_that_was_run(computed: Computed) -> None:
    found = judge.verdicts("tiny")
    assert [v.claim.name for v in found] == [c.name for c in CLAIMS]
    for verdict in found:
        assert verdict.simulated
        # Its images come from no prompts, and it has no other backbones.
        if verdict.claim.notebook == "33_prompt_diversity" or verdict.claim.name == "backbones":
            assert verdict.word == UNTESTABLE
            continue
        assert verdict.word in (HOLDS, IN_PART, NOT)
        supported = sum(j.outcome == "supported" for j in verdict.judged)
        assert (verdict.word == HOLDS) == (supported == len(verdict.judged))
        if not supported:
            assert verdict.word == NOT
    text = at_a_glance_markdown("tiny", simulated="tiny")
    for verdict in found:
        row = f"{verdict.claim.statement} | {SIGNS[verdict.word]} {verdict.word} |"
        assert row in text
        if verdict.claim.paper == "aim-fair":  # real faces and toy faces are the same runs here
            (line,) = [line for line in text.splitlines() if verdict.claim.statement in line]
            assert line.count(f"| {SIGNS[verdict.word]} {verdict.word} ") == 2
            # What was not judged speaks of the toy faces, which here are no others.
            assert ("| real faces: " in line) == bool(verdict.judged)
    assert "toycensus (simulated), profile `tiny`, 3 seeds" in text
    assert "toyfaces (simulated), Smiling | Male, 32x32, profile `tiny`, 3 seeds" in text
    assert "paper" not in text
    assert "nan" not in text
    # A profile without records beside it: the table says so, and speaks of the one that has them.
    beside = at_a_glance_markdown("tiny").splitlines()
    rows = [line for line in beside if "](notebooks/2" in line or "](notebooks/3" in line]
    assert len(rows) == sum(claim.paper == "aim-fair" for claim in CLAIMS)
    for row in rows:
        told = "toy" if "33_prompt_diversity" in row else "real"  # the one that is judged nowhere
        assert f"| {SIGNS[UNTESTABLE]} {UNTESTABLE} | {told} faces: " in row


@pytest.mark.usefixtures("tiny")
def test_verdicts_of_a_profile_that_was_not_run(monkeypatch: pytest.MonkeyPatch, tiny: Any) -> None:
    monkeypatch.setenv("REPRO_RUNS", str(tiny / "none"))
    assert {v.word for v in judge.verdicts("desk")} == {UNTESTABLE}
