"""What follows from records for a claim: its word, its checks, tables and sentences."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tests.conftest import Computed, MakeRecord
from tests.study.conftest import GAPS, PAIRS, claim, contrast, group, lettered

from repro.chapters.win.contrasts import DP
from repro.names import UnknownNameError
from repro.study import experiments, glance
from repro.study import verdicts as judging
from repro.study.claims import Check, Contrast
from repro.study.experiments import claims
from repro.study.judging import PER_SEED, judge
from repro.study.profiles import Profile, load_profile
from repro.study.rule import (
    ABSENT,
    CONSTRUCTED,
    CONTRADICTED,
    HOLDS,
    IN_PART,
    NOT,
    OPEN,
    SIGNS,
    SUPPORTED,
    UNDECIDED,
    UNTESTED,
)
from repro.study.verdicts import Verdict, decide

# Contrasts


def test_two_quantities_of_one_setting(made_up: MakeRecord, toy: Profile) -> None:
    records = [made_up(s, results={"d": 0.5 + s / 100, "null": 0.1}) for s in range(3)]
    one = Contrast("t", "a", "a", "results:d", "greater", second_quantity="results:null")
    found = decide(claim(one), toy, {"a": records})
    assert found.word == HOLDS
    assert found.judged[0].interval.mean == pytest.approx(0.41)


NAMES = {"s": SUPPORTED, "h": SUPPORTED, "c": CONTRADICTED, "a": ABSENT, "u": UNDECIDED}


def test_what_the_examples_are_of() -> None:
    wide, narrow = (
        [stats.ttest_rel(*(GAPS[name] for name in PAIRS[o])).pvalue < level for o in "schau"]
        for level in (0.05, 0.05 / 2)
    )
    assert wide == [True, True, True, False, False]
    assert narrow == [True, True, False, False, False]


# A claim


@pytest.mark.parametrize(
    ("letters", "given", "word", "note"),
    [
        ("ss", {}, HOLDS, ""),
        ("su", {}, IN_PART, ""),
        ("sca", {}, IN_PART, "mixed"),
        ("hu", {}, OPEN, ""),
        ("c", {}, NOT, "contradicted"),
        ("a", {}, NOT, "smaller than claimed"),
        ("scu", {"kind": "any"}, HOLDS, ""),
        ("ac", {"kind": "any"}, NOT, "contradicted and smaller than claimed"),
        ("s", {"kind": "construction"}, CONSTRUCTED, ""),
    ],
)
def test_the_word_follows_from_the_records(
    results: Any, desk: Profile, letters: str, given: dict[str, Any], word: str, note: str
) -> None:
    found = decide(lettered(letters, **given), desk, results)
    assert (found.word, found.note) == (word, note)
    said = [NAMES[o] for o in letters]
    assert [j.outcome for j in found.judged] == said
    assert not found.simulated
    if word == CONSTRUCTED:
        assert found.reason == "arithmetic, no sample: a against b: -24.70"
        assert found.words == word
        return
    names = (SUPPORTED, CONTRADICTED, ABSENT, UNDECIDED)
    counts = ", ".join(f"{said.count(name)} {name}" for name in names if name in said)
    s = "s" if len(said) > 1 else ""
    assert found.reason.startswith(f"of {len(said)} contrast{s} {counts}")
    assert found.words == (f"{word}: {note}" if note else word)
    # What may be left of the effect: the upper end of (-1, 0, 1, -1, 1) / 2000 or of its opposite.
    left = 100 * stats.ttest_1samp(np.array([1, 0, -1, 1, -1]) / 2000, 0).confidence_interval().high
    assert (
        f"at most {left:.2f} points are left of an effect that is claimed from 1.00 on"
        in found.reason
    ) == ("a" in letters)


def test_what_is_open_says_how_many_seeds_would_decide(results: Any, desk: Profile) -> None:
    found = decide(lettered("u"), desk, results)
    deviation = np.subtract(GAPS["mixed"], GAPS["less"]).std(ddof=1) / 2000
    n = np.arange(2, 5000)
    enough = n[stats.t.ppf(0.975, n - 1) * deviation / np.sqrt(n) <= 0.005][0]
    assert found.lacks == enough
    told = f"about {enough:,} seeds would decide what is open, 5 are there"
    assert told in found.reason
    table = judging.contrast_table(found)
    assert table["seeds that would decide"].tolist() == [str(enough)]
    # Splits of the same people: no number of them is enough.
    split = decide(lettered("u", paper="win"), desk, results)
    assert (split.word, split.lacks) == (OPEN, None)
    assert "more seeds alone would not decide" in split.reason


def test_one_of_several_is_best(results: Any, desk: Profile) -> None:
    def best(first: str, *rivals: str) -> Verdict:
        pairs = [*((first, rival) for rival in rivals), (first, rivals)]
        return decide(claim(*(contrast(pair=p) for p in pairs), kind="best"), desk, results)

    found = best("less", "same", "more")
    assert found.word == HOLDS
    # "less" is not better than "same", but "same" is not better by a point: that is enough.
    assert judge(contrast(pair=PAIRS["a"]), results).outcome == ABSENT
    assert [j.outcome for j in found.judged] == [SUPPORTED] * 3
    alone = [judge(j.contrast, results).interval for j in found.judged]
    assert [j.interval.mean for j in found.judged] == pytest.approx([one.mean for one in alone])
    widths = [j.interval.high - j.interval.low for j in found.judged]
    assert widths[0] == pytest.approx(widths[1])  # joint intervals are all as wide
    assert found.judged[2].interval == alone[2]
    worst = best("more", "less", "same")
    assert (worst.word, worst.note) == (NOT, "a rival is better")
    assert [j.outcome for j in worst.judged] == [CONTRADICTED] * 3


def test_few_seeds_are_a_pilot(made_up: MakeRecord, desk: Profile) -> None:
    for n, pilot in ((3, True), (4, True), (5, False)):
        of = {name: group(made_up, found[:n]) for name, found in GAPS.items()}
        found = decide(lettered("s"), desk, of)
        assert (found.seeds, found.pilot) == (n, pilot)
        assert found.words == f"holds{' (pilot)' * pilot}"
        assert not decide(lettered("s", kind="construction"), desk, of).pilot


def test_what_stands_beside_a_claim_judges_nothing(results: Any, desk: Profile) -> None:
    against = Contrast("beside it", "more", "less", DP, "less")
    gone = Contrast("not run", "less", "none", DP, "less")
    found = decide(lettered("s", beside=lambda profile: [against, gone]), desk, results)
    assert found.word == HOLDS
    assert [j.outcome for j in found.beside] == [CONTRADICTED]
    table = judging.contrast_table(found)
    assert [row.endswith("beside it") for row in table["contrast"]] == [False, True]
    assert table["outcome"].tolist() == [SUPPORTED, ""]
    assert "Beside it, in points: beside it: +24.70 [" in judging.sentence(found, "faces")


# What cannot be judged


def test_fewer_than_three_seeds_judge_nothing(results: Any) -> None:
    two = load_profile("quick", {"faces.seeds": [0, 1]})
    found = decide(lettered("s"), two, results)
    assert (found.word, found.reason) == (UNTESTED, "2 seed(s); a verdict takes 3")
    assert found.judged == ()
    assert decide(lettered("s", kind="construction"), two, results).word == CONSTRUCTED


def test_missing_runs_are_named(results: Any, toy: Profile) -> None:
    found = decide(lettered("s"), toy, {"less": results["less"]})
    assert found.word == UNTESTED
    assert found.reason == "no records of: more. 'make study PROFILE=toy' computes them"


@pytest.mark.parametrize(
    ("letters", "kind", "word", "note"),
    [
        ("s", "all", IN_PART, ""),
        ("ss", "all", IN_PART, ""),
        ("sc", "all", IN_PART, "mixed"),
        ("c", "all", NOT, "contradicted"),
        ("u", "all", OPEN, ""),
        ("s", "any", HOLDS, ""),
        ("c", "any", OPEN, ""),
    ],
)
def test_contrasts_that_have_runs_are_judged_without_the_others(
    results: Any, desk: Profile, letters: str, kind: Any, word: str, note: str
) -> None:
    absent = Contrast("a against c", "less", "repairing", DP, "less")
    whole = claim(*(contrast(pair=PAIRS[o]) for o in letters), absent, kind=kind)
    found = decide(whole, desk, results)
    assert (found.word, found.note, found.missing) == (word, note, (absent,))
    assert len(found.judged) == len(letters)
    assert found.reason.endswith("; not run: a against c")
    table = judging.contrast_table(found)
    assert table.iloc[-1][["contrast", "outcome"]].tolist() == ["a against c", "not run"]
    assert "nan" not in table.to_string()
    # One setting is the best of several only if all of them are there.
    mean = Contrast("mean", "less", ("more", "same"), DP, "less")
    best = claim(contrast(pair=PAIRS["s"]), absent, mean, kind="best")
    assert decide(best, desk, results).reason.startswith("no records of: repairing")


def test_what_a_profile_does_not_run_is_not_promised(
    results: Any, toy: Profile, desk: Profile
) -> None:
    other = dataclasses.replace(lettered("s"), plan=lambda profile, seeds: {"less": []})
    found = decide(other, toy, {"less": results["less"]})
    assert (found.word, found.reason) == (UNTESTED, "not among the runs of profile 'toy': more")
    found = decide(experiments.claim_named("synthetic-amount"), desk, {})
    assert found.word == UNTESTED
    assert "not among the runs of profile 'desk': 0.5x" in found.reason


def test_nothing_to_compare_is_not_tested(toy: Profile) -> None:
    # Not "holds": all of no contrasts are supported.
    assert decide(claim(), toy, {}).word == UNTESTED
    without = load_profile("quick", {"win.architectures": [], "win.constraints": []})
    empty = [one for one in claims() if not one.contrasts(without)]
    assert {"architectures", "bias-returns", "backbones"} <= {one.name for one in empty}
    assert {decide(one, without, {}).word for one in empty} == {UNTESTED}


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_quantity_of_fewer_than_three_seeds_is_undecided(
    made_up: MakeRecord, toy: Profile, missing: int
) -> None:
    def probes(at: float, missing: int) -> list[Any]:
        auc = [at, at + 0.01, at + 0.02]
        return [made_up(s, results={"auc": None if s < missing else v}) for s, v in enumerate(auc)]

    one = contrast("greater", "results:auc")
    assert judge(one, {"a": probes(0.9, 0), "b": probes(0.5, 0)}).outcome == SUPPORTED
    found = decide(claim(one), toy, {"a": probes(0.9, missing), "b": probes(0.5, missing)})
    assert [j.outcome for j in found.judged] == [UNDECIDED]
    assert found.judged[0].interval.n == found.seeds == 3 - missing
    assert found.word == OPEN
    assert f"exists for {3 - missing} seeds alone, 3 are needed" in found.reason
    assert "nan" not in judging.contrast_table(found).to_string()


# Checks and controls


def check(passes: bool, keys: tuple[str, ...] = ("x",)) -> Check:
    """Return a check of one setting that has no runs, so that nothing is looked up."""
    return Check("X is fair", lambda p, s: {"x": []}, keys, lambda r: (passes, f"EO {len(r['x'])}"))


@pytest.mark.parametrize(
    ("made", "beginning"),
    [
        (check(True), None),
        (check(False), "it is not so that X is fair: EO 0. of 1 contrast 1"),
        (check(True, ("x", "y")), "not known whether X is fair: no records of y. of 1 contrast 1"),
    ],
)
@pytest.mark.parametrize("letter", ["s", "c", "u"])
def test_a_claim_whose_check_has_not_passed_is_not_tested(
    results: Any, desk: Profile, made: Check, beginning: str | None, letter: str
) -> None:
    found = decide(lettered(letter, checks=lambda p: [check(True), made]), desk, results)
    if beginning is None:
        assert found.word == {"s": HOLDS, "c": NOT, "u": OPEN}[letter]
        assert found.checked == ("X is fair: EO 0",) * 2
        assert "Checked: X is fair: EO 0; X is fair: EO 0." in judging.sentence(found, "faces")
    else:
        assert (found.word, found.words, found.lacks) == (UNTESTED, UNTESTED, None)
        assert found.reason.startswith(beginning)
        assert found.judged  # shown all the same


@pytest.mark.parametrize(
    ("letter", "made", "word", "beginning"),
    [
        ("a", None, UNTESTED, "no positive control shows that this set-up finds such an effect"),
        ("a", check(False), UNTESTED, "it is not so that X is fair: EO 0"),
        ("a", check(True, ("y",)), UNTESTED, "not known whether X is fair: no records of y"),
        ("a", check(True), NOT, "of 1 contrast 1 absent"),
        ("c", None, NOT, "of 1 contrast 1 contradicted"),  # an effect the other way was found
        ("s", None, HOLDS, "of 1 contrast 1 supported"),
        ("u", None, OPEN, "of 1 contrast 1 undecided"),
        # An absent effect counts for nothing beside a supported one, either.
        (
            "sa",
            check(False),
            IN_PART,
            "of 2 contrasts 1 supported, 1 not tested here; it is not so",
        ),
        ("sa", check(True), IN_PART, "of 2 contrasts 1 supported, 1 absent"),
        ("ca", check(False), NOT, "of 2 contrasts 1 contradicted, 1 not tested here"),
    ],
)
def test_on_simulated_data_nothing_found_takes_a_positive_control(
    results: Any, toy: Profile, letter: str, made: Check | None, word: str, beginning: str
) -> None:
    found = decide(lettered(letter, control=lambda p: made), toy, results)
    assert found.simulated
    assert found.word == word
    if word == UNTESTED:
        beginning = f"of 1 contrast 1 {UNTESTED}; {beginning}"
    assert found.reason.startswith(beginning)
    absent = any(j.outcome == ABSENT for j in found.judged)
    if letter == "sa":
        assert found.note == ("mixed" if absent else "")
    assert found.checked == (("X is fair: EO 0",) if absent else ())


def test_any_of_them_is_not_refuted_where_one_could_not_be_tested(
    results: Any, desk: Profile
) -> None:
    untested = contrast(pair=PAIRS["a"], check=check(False))
    both = claim(contrast(pair=PAIRS["a"]), untested, kind="any")
    assert decide(both, desk, results).word == OPEN
    assert decide(claim(contrast(pair=PAIRS["a"]), kind="any"), desk, results).word == NOT


def test_arithmetic_the_other_way_does_not_hold(results: Any, desk: Profile) -> None:
    found = decide(lettered("c", kind="construction"), desk, results)
    assert (found.word, found.words) == (NOT, f"{NOT}: {CONTRADICTED}")


@pytest.mark.parametrize(
    ("made", "checked", "told"),
    [
        (None, (), None),
        (check(True), ("X is fair: EO 0",), None),
        (check(False), (), "the positive control was not passed: it is not so that X is fair"),
    ],
)
def test_on_real_data_it_does_not_but_the_control_is_stated(
    results: Any, desk: Profile, made: Check | None, checked: tuple[str, ...], told: str | None
) -> None:
    found = decide(lettered("a", control=lambda p: made), desk, results)
    assert (found.word, found.checked) == (NOT, checked)
    assert ("positive control" in found.reason) == (told is not None)
    assert told is None or told in found.reason


@pytest.mark.parametrize(
    ("letters", "failed", "word"),
    [("ss", "s", IN_PART), ("s", "s", UNTESTED), ("sc", "c", HOLDS), ("ca", "a", NOT)],
)
def test_a_contrast_whose_own_check_has_failed_does_not_count(
    results: Any, desk: Profile, letters: str, failed: str, word: str
) -> None:
    last = contrast(pair=PAIRS[failed], check=check(False))
    found = decide(claim(contrast(pair=PAIRS[letters[0]], check=check(True)), last), desk, results)
    if letters == failed:
        found = decide(claim(last), desk, results)
    # Not all are so, if one could not be tested.
    assert found.word == (IN_PART if word == HOLDS else word)
    assert found.judged[-1].outcome == UNTESTED
    assert found.reason.endswith("; it is not so that X is fair: EO 0")
    assert f"1 {UNTESTED}" in found.reason


# In words


def test_the_papers_difference_says_how_large_an_effect_is(
    results: Any, toy: Profile, desk: Profile
) -> None:
    differences = np.subtract(GAPS["less"], GAPS["more"]) / 2000
    mean = differences.mean()
    # Where ten more seeds would put their mean.
    half = stats.t.ppf(0.975, 4) * differences.std(ddof=1) * math.sqrt(1 / 5 + 1 / 10)
    sizes = {
        mean: "as reported",
        mean - 1.01 * half: "smaller than reported",
        mean + 0.99 * half: "as reported",
        mean + 1.01 * half: "larger than reported",
    }
    told = claim(*(contrast(pair=PAIRS["s"], reported=at) for at in sizes))
    found = decide(told, desk, results)
    assert [j.size for j in found.judged] == list(sizes.values())
    assert "2 as reported, 1 smaller than reported, 1 larger than reported" in found.reason
    row = judging.contrast_table(found).iloc[0]
    assert row["paper"] == row["ours"] == f"{100 * mean:+.2f}"
    assert row["margin"] == f"{-100 * mean / 2:.2f}"
    assert (row["claimed"], row["outcome"], row["size"]) == ("below 0", SUPPORTED, "as reported")
    simulated = decide(told, toy, results)  # nothing stands beside simulated data
    assert not {"paper", "size"} & set(judging.contrast_table(simulated))
    assert "reported" not in simulated.reason
    refuted = decide(claim(contrast(pair=PAIRS["c"], reported=-0.1)), desk, results)
    assert refuted.judged[0].size == ""
    unset = contrast(pair=PAIRS["s"], reported=mean, check=check(False))  # it tests nothing
    assert decide(claim(unset), desk, results).judged[0].size == ""


def test_words_and_tables(results: Any, desk: Profile) -> None:
    named = {"sentence": lambda profile: f"It is so on {profile.name}."}
    made = dataclasses.replace(lettered("su", substitutions=("images",)), **named)
    found = decide(made, desk, results)
    row = judging.verdict_table([found]).iloc[0]
    assert row["verdict"] == f"{SIGNS[IN_PART]} {IN_PART}"
    assert row["claim"] == "It is so on desk."
    said = judging.sentence(found, "faces")
    assert said.startswith(
        f"**Table 0: It is so on desk.** {SIGNS[IN_PART]} *{IN_PART}* (faces): of 2"
    )
    assert said.endswith("; 5 seeds, not 10; images.</p></details>\n")
    kept = decide(claim(contrast(pair=PAIRS["s"], kind="no worse")), desk, results)
    assert judging.contrast_table(kept)["claimed"].tolist() == ["no worse"]
    assert judging.tally([found, kept, found]) == {IN_PART: 2, OPEN: 1}


def test_a_claim_by_its_name() -> None:
    assert experiments.claim_named("bias-returns").where == "Table 2"
    with pytest.raises(UnknownNameError, match="'bias-return'; did you mean 'bias-returns'"):
        experiments.claim_named("bias-return")


@pytest.mark.usefixtures("tiny")
def test_verdicts_of_a_profile_that_was_run(
    computed: Computed, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sizes that the correction for overlapping splits takes are those of the splits.
    sizes = computed.strategies["pre-trained"][0].results["records"]
    ours = sizes["task_test"] / (sizes["task_train"] + sizes["task_validation"])
    assert ours == pytest.approx(PER_SEED["win"], rel=0.01)

    verdicts = functools.cache(judging.verdicts)  # they take ten seconds each time
    monkeypatch.setattr(glance, "verdicts", verdicts)
    found = verdicts("tiny", None)
    assert [v.claim.name for v in found] == [c.name for c in claims()]
    text = glance.at_a_glance_markdown("tiny", simulated="tiny")
    for verdict in found:
        assert verdict.simulated
        assert verdict.word in SIGNS
        assert verdict.pilot == (verdict.word not in (UNTESTED, CONSTRUCTED))
        said = {j.outcome for j in verdict.judged}
        # Its images come from no prompts, its k are none of the paper's, and it has no backbones
        # and no other tasks.
        nothing = {
            *("33_prompt_diversity", "31_top_k", "backbones"),
            *("sft-vs-erm-elsewhere", "win-faces-elsewhere"),
        }
        assert bool(said) == (not nothing & {verdict.claim.notebook, verdict.claim.name})
        if verdict.word == HOLDS and verdict.claim.kind == "all":
            assert said == {SUPPORTED}
        if verdict.word == NOT and verdict.claim.kind != "best":
            assert said & {CONTRADICTED, ABSENT}
            assert SUPPORTED not in said
        enough = verdict.lacks if verdict.word == OPEN else None
        lacks = f": about {enough:,} seeds would decide, 3 are there" if enough else ""
        cell = f"| {SIGNS[verdict.word]} {verdict.words}{lacks} "
        assert f"{verdict.statement} {2 * cell}| " in text
    for word, number in judging.tally(found).items():
        assert text.count(f"- {SIGNS[word]} **{number} ") == 2
    assert "| toycensus (simulated), 3 seeds |" in text
    assert "| toyfaces (simulated), Smiling \\| Male, 32x32, 3 seeds |" in text
    assert "paper " not in text
    assert "nan" not in text
    # A profile without records beside it: the table says so, and speaks of the one that has them.
    rows = [
        line for line in glance.at_a_glance_markdown("tiny").splitlines() if line.startswith("| [")
    ]
    assert len(rows) == len(claims())
    for row, verdict in zip(rows, found, strict=True):
        assert f"| {SIGNS[UNTESTED]} {UNTESTED} | " in row
        assert (" | real: " in row) == bool(verdict.judged)


@pytest.mark.parametrize(
    ("letters", "word", "shown"),
    [
        ("ssc", IN_PART, ["1", "2"]),  # of a mixed verdict one of either side
        ("ssu", IN_PART, ["1"]),
        ("ucc", NOT, ["2"]),
        ("uuu", OPEN, ["2"]),
    ],
)
def test_the_headline_is_a_contrast_that_bears_the_word(
    results: Any, desk: Profile, letters: str, word: str, shown: list[str]
) -> None:
    # Of the third the paper claims most, of the first it reports the contrary.
    told = (0.09, -0.018, -0.02)
    made = [
        Contrast(str(at), *PAIRS[letter], DP, "less", reported=reported)
        for at, (letter, reported) in enumerate(zip(letters, told, strict=True))
    ]
    found = decide(claim(*made), desk, results)
    assert found.word == word
    parts = glance.headline(found).split("; ")
    assert [part.split(":")[0] for part in parts] == shown
    assert all(f"paper {100 * told[int(part[0])]:+.2f}, ours " in part for part in parts)


@pytest.mark.usefixtures("tiny")
def test_verdicts_of_a_profile_that_was_not_run(monkeypatch: pytest.MonkeyPatch, tiny: Any) -> None:
    monkeypatch.setenv("REPRO_RUNS", str(tiny / "none"))
    assert {v.word for v in judging.verdicts("desk")} == {UNTESTED}
