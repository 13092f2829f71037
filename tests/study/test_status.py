"""What of a profile is there, what is missing, and how long that takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import Computed, Invoke, lines

from repro.chapters.win import plans
from repro.study.experiments import everything
from repro.study.profiles import load_profile
from repro.study.runs import Runs
from repro.study.status import expected_seconds, in_words, status


def test_a_finished_profile_lacks_nothing(computed: Computed, tiny: Path) -> None:
    profile = load_profile("tiny")
    table = status(profile, computed.runs)
    assert table["notebook"].is_unique
    assert (table["runs"] == table["here"]).all()  # each run once, so nothing is counted twice
    assert table["runs"].sum() == len(computed.runs.records())
    assert not table[["missing", "minutes", "unknown"]].any(axis=None)


def test_a_seed_that_is_missing_takes_as_long_as_the_others(computed: Computed, tiny: Path) -> None:
    more = load_profile("tiny", {"seeds": [0, 1, 2, 3]})
    there = [computed.runs.find(plans.pretrain(more, seed)) for seed in (0, 1, 2)]
    took = [record.body["seconds"] for record in there if record is not None]
    assert len(took) == 3
    seconds = expected_seconds(more, computed.runs)
    assert seconds(plans.pretrain(more, 3)) == pytest.approx(sum(took) / 3)
    assert seconds(plans.pretrain(more, 0)) == 0
    table = status(more, computed.runs)
    assert (table["missing"] == table["runs"] - table["here"]).all()
    planned = [c for group in everything(more).values() for c in group]
    assert table["missing"].sum() == len({c.identity for c in planned if c.seed == 3})
    assert table["minutes"].sum() > 0
    assert "nothing is known" not in in_words(table)


def test_what_was_never_run_is_said_to_be_unknown(computed: Computed, tiny: Path) -> None:
    longer = load_profile("tiny", {"win.pretrain.epochs": 3})
    told = in_words(status(longer, computed.runs))
    missing = int(status(longer, computed.runs)["missing"].sum())
    assert told.endswith(f"nothing is known of how long {missing} of them take")


def test_recorded_runs_are_not_missing(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPRO_ROOT")
    said = lines(invoke("status", "quick"))
    assert said[0].split()[:2] == ["notebook", "runs"]
    assert said[-1].endswith(" recorded, 0 missing")


def test_an_empty_store(tiny: Path, tmp_path: Path) -> None:
    table = status(load_profile("tiny"), Runs(tmp_path))
    assert (table["missing"] == table["runs"]).all()
