"""The tables of single chapters, and the committed records that the book rests on."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest

from repro.study import experiments, glance, rule
from repro.study.experiments import claims, everything
from repro.study.intervals import Interval
from repro.study.judging import Judged
from repro.study.profiles import load_profile, project_root
from repro.study.records import recorded
from repro.study.runs import Runs
from repro.study.verdicts import Verdict


def judged(mean: float, half: float) -> Judged:
    claim = experiments.claim_named("win-vs-tl-rank-1")
    contrast = claim.contrasts(load_profile("quick"))[0]
    interval = Interval(mean, mean - half, mean + half, 3)
    found = rule.Outcome(interval, rule.UNDECIDED, 1.0, 1.0, half, contrast.margin)
    return Judged(contrast, interval, found)


def test_clearest_contrast() -> None:
    vague, clear, certain = judged(0.5, 0.4), judged(-0.1, 0.01), judged(1.0, 0.0)
    assert glance.clearest([vague, clear]) is clear
    assert glance.clearest([vague, clear, certain]) is certain
    assert glance.clearest([judged(math.nan, math.nan), vague]) is vague
    # The same in every seed: no width, but no difference either.
    assert glance.clearest([judged(0.0, 0.0), vague]) is vague


def test_table_at_a_glance_has_every_claim_and_its_links() -> None:
    table = glance.at_a_glance_markdown("desk", runs=Runs(Path("nothing-here")), notebooks="there")
    rows = [line for line in table.splitlines() if line.startswith("| [")]
    assert len(rows) == len(claims())
    for row, claim in zip(rows, claims(), strict=True):
        first, real, toy, told = row.removeprefix("| ").removesuffix(" |").split(" | ")
        link, _, statement = first.partition(": ")
        assert link == f"[{claim.where}](there/{claim.notebook}.ipynb)"
        # The sentence is of the settings whose numbers stand in the row.
        simulated = told.startswith("simulated: ") and ": ours " in told
        about = load_profile("toy" if simulated else "desk")
        assert statement.replace("\\|", "|") == claim.statement(about)
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
    return Verdict(claim, "It is so.", word, found, (), "why", False, (), seeds, note, lacks)


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


@pytest.mark.parametrize("name", ["desk", "toy"])
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
    table = glance.at_a_glance_markdown("desk", runs=Runs(Path("nothing-here")))
    assert table in text, "run 'repro verdicts --readme'"
