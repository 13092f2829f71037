"""The tables of single chapters, and the committed records that the book rests on."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import Computed, MakeRecord

from repro import models
from repro.chapters.win import bias_returns, group_weight, low_rank_head, win_on_adult
from repro.data import toycensus
from repro.data.tabular import Encoder
from repro.study import experiments, glance, rule
from repro.study.experiments import claims, everything
from repro.study.intervals import Interval
from repro.study.judging import Judged
from repro.study.profiles import load_profile, project_root
from repro.study.records import recorded
from repro.study.runs import Runs
from repro.study.verdicts import Verdict
from repro.win.lowrank import LowRankLinear


def test_share_that_returns(made_up: MakeRecord) -> None:
    results = {
        "unconstrained, before": [made_up(0, (0, 0, 0, 390))],
        "unconstrained, after": [made_up(0, (0, 0, 0, 400))],
        "dp 0.5, before": [made_up(0, (0, 0, 0, 200))],
        "dp 0.5, after": [made_up(0, (0, 0, 0, 250))],
    }
    table = bias_returns.before_after(results, {("dp 0.5, before", verdict_metric()): 0.047})
    assert list(table["fair model and gap"]) == ["DP 0.5: ΔDP"]
    row = table.iloc[0]
    # 200 of 2000 men predicted 1 and no woman: a gap of 10 points, then 12.5; 20 would be all.
    assert (row["before"], row["after"], row["unconstrained, after"]) == ("10.00", "12.50", "20.00")
    assert row["share that returns"] == "25 %"
    assert row["before, paper"] == "4.70"
    assert "before, paper" not in bias_returns.before_after(results, None)


def verdict_metric() -> str:
    return "demographic_parity"


@pytest.mark.parametrize("degrees", [0.0, 0.001, 5.0, 45.0, 90.0])
def test_angle_has_no_sign_and_is_exact_when_small(degrees: float) -> None:
    first = np.array([1.0, 0.0])
    second = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
    for sign in (1, -1):
        assert group_weight.angle(first, sign * second) == pytest.approx(
            degrees, rel=1e-9, abs=1e-12
        )


def test_sizes_are_those_of_real_models() -> None:
    for words in low_rank_head.size_derivations(742):
        inputs, layers = (int(word) for word in words.split() if word.isdigit() and word != "10")
        model = models.mlp(inputs, layers=layers, hidden=10, classes=2, seed=0)
        assert models.parameter_count(model) == 742
    assert len(low_rank_head.size_derivations(742)) == 4
    for rank in (1, 2):
        head = LowRankLinear.from_linear(torch.nn.Linear(10, 2), None, rank)
        assert low_rank_head.rank_for_size(models.parameter_count(head)) == rank
    assert low_rank_head.rank_for_size(46) is None


def test_widths_agree_with_the_encoder() -> None:
    table = toycensus.generate(toycensus.CensusSettings(n=3000))
    everybody = np.arange(len(table))
    widths = low_rank_head.adult_widths()

    def ways(width: int, words: str) -> bool:
        return words in widths[width]

    encoder = Encoder.fit(table, everybody, include_protected=True)
    assert ways(
        encoder.d,
        "incomplete records kept, every level, country one-hot, fnlwgt in, sex in 1 columns",
    )
    without = Encoder.fit(table, everybody, drop=("native-country", "fnlwgt"))
    assert ways(
        without.d,
        "incomplete records kept, every level, country out, fnlwgt out, sex in 0 columns",
    )
    assert 71 not in widths


def test_weight_changes_tell_where_nothing_changed(computed: Computed) -> None:
    table = group_weight.weight_changes(computed.weights).set_index("setting")
    assert table.loc["rank 1, a 0.5", "same confusion table"] == "3 of 3 seeds"
    assert table.loc["rank 1, a 0.5", "kept direction turns by (°)"] == "0.000"
    assert table.loc["rank 2, a 0.9", "kept direction turns by (°)"] == ""


def test_starts_in_words_count_what_differs(computed: Computed) -> None:
    results = {k: v for k, v in computed.weights.items() if k.startswith("rank 1")}
    results["svd"] = computed.strategies["svd, rank 1"]
    words = group_weight.starts_in_words(results)
    people = sum(int(r.counts().sum()) for k, v in results.items() if k != "svd" for r in v)
    assert f"of {people:,} decisions" in words


def test_choices_flag_the_ends(computed: Computed) -> None:
    table = win_on_adult.choices(computed.strategies, {"tl": "TL", "retrain": "Retrain", "no": "x"})
    assert list(table["setting"]) == ["TL", "Retrain"]
    assert list(table["at an end of the grid"]) == ["3 of 3"] * 2  # a grid of one rate
    assert list(table["at the last epoch"]) == ["3 of 3"] * 2  # one epoch


def judged(mean: float, half: float) -> Judged:
    claim = experiments.claim_named("win-vs-tl-rank-1")
    contrast = claim.contrasts(load_profile("quick"))[0]
    interval = Interval(mean, mean - half, mean + half, 3)
    found = rule.Outcome(interval, rule.UNDECIDED, 1.0, 1.0, half, contrast.margin)
    return Judged(contrast, interval, found, ())


def test_clearest_contrast() -> None:
    vague, clear, certain = judged(0.5, 0.4), judged(-0.1, 0.01), judged(1.0, 0.0)
    assert glance.clearest([vague, clear]) is clear
    assert glance.clearest([vague, clear, certain]) is certain
    assert glance.clearest([judged(math.nan, math.nan), vague]) is vague
    # The same in every seed: no width, but no difference either.
    assert glance.clearest([judged(0.0, 0.0), vague]) is vague


def test_table_at_a_glance_has_every_claim_and_its_links() -> None:
    table = glance.at_a_glance_markdown("desk", Runs(Path("nothing-here")), notebooks="there")
    rows = [line for line in table.splitlines() if line.startswith("| [")]
    assert len(rows) == len(claims())
    for row, claim in zip(rows, claims(), strict=True):
        first, real, toy, told = row.removeprefix("| ").removesuffix(" |").split(" | ")
        link, _, statement = first.partition(": ")
        assert link == f"[{claim.where}](there/{claim.notebook}.ipynb)"
        assert statement == claim.statement(load_profile("desk"))
        assert (project_root() / "notebooks" / f"{claim.notebook}.ipynb").is_file()
        assert told.startswith(("real: ", "simulated: "))
        for cell in (real, toy):
            assert any(cell.startswith(f"{sign} {word}") for word, sign in rule.SIGNS.items())
    # Every row of the table, its heads and its parts has the same number of cells.
    table_rows = [line for line in table.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table_rows} == {5}
    assert len(table_rows) == len(claims()) + 2 + 3


def verdict(word: str, seeds: int = 5, note: str = "", lacks: int | None = None) -> Verdict:
    claim = experiments.claim_named("win-vs-original")
    found = (judged(0.0, 0.1),)
    return Verdict(
        claim, "It is so.", word, found, (), "why", "desk", False, (), seeds, note, lacks
    )


def test_counts_head_the_table() -> None:
    found = [
        verdict(rule.HOLDS),
        verdict(rule.HOLDS, seeds=3),
        *(verdict(rule.NOT, note=note) for note in ("contradicted", "smaller", "smaller")),
        verdict(rule.OPEN, lacks=1200),
        verdict(rule.OPEN, lacks=7),
        verdict(rule.OPEN, lacks=40),
        verdict(rule.OPEN),
        verdict(rule.UNTESTED),
        dataclasses.replace(verdict(rule.UNTESTED), judged=()),
        verdict(rule.IN_PART),
    ]
    assert glance.counts(found, "Real").splitlines() == [
        "Real, 12 claims:",
        "",
        "- ● **2 hold** (1 from fewer than five seeds, a pilot)",
        "- ◐ **1 holds in part**",
        "- ○ **3 do not hold**: 1 contradicted, 2 smaller",
        "- ? **4 are undecided**; what would decide: about 7 to 1,200 seeds each, 40 in the "
        "median; no number of seeds alone (1)",
        "- – **2 are not tested here**: 1 was not run, of 1 a check of the set-up failed or is "
        "missing",
    ]
    (line,) = glance.counts([verdict(rule.OPEN, lacks=1200)], "Real").splitlines()[2:]
    assert line == "- ? **1 is undecided**; what would decide: about 1,200 seeds"


@pytest.mark.parametrize("name", ["desk", "quick"])
def test_committed_records_are_complete_and_hold_nobody(name: str) -> None:
    profile = load_profile(name)
    plan = everything(profile)
    known = recorded(name)
    wanted = {config.identity: config for configs in plan.values() for config in configs}
    again = f"run 'make study PROFILE={name}' and 'repro export {name}'"
    assert known.keys() <= wanted.keys(), f"records of other runs: {again}"
    missing = [wanted[run] for run in wanted.keys() - known.keys()]
    assert not missing, again

    def lists(value: Any) -> int:
        """Return the length of the longest list in a body."""
        if isinstance(value, dict):
            return max((lists(v) for v in value.values()), default=0)
        if isinstance(value, list):
            return max([len(value), *(lists(v) for v in value)])
        return 0

    # Nothing as long as a list of people; the longest are histories and grids of counts.
    assert max(lists(record.body) for record in known.values()) < 100
    assert all("+changes" not in record.body["git_commit"] for record in known.values())


def test_readme_shows_the_verdicts_of_the_records() -> None:
    text = (project_root() / "README.md").read_text(encoding="utf-8")
    table = glance.at_a_glance_markdown("desk", Runs(Path("nothing-here")))
    assert table in text, "run 'repro verdicts --readme'"
