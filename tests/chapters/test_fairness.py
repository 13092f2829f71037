from __future__ import annotations

import numpy as np
import pytest
from tests.conftest import Computed, MakeRecord
from tests.data.conftest import effects

from repro.chapters import fairness
from repro.chapters.win import plans
from repro.data.toycensus import CensusSettings
from repro.study.profiles import load_profile


def test_groups_are_those_of_the_counts(made_up: MakeRecord) -> None:
    table = fairness.groups(made_up(0, (100, 0, 250, 1000)))
    assert list(table["group (t, p)"]) == ["(0, 0)", "(0, 1)", "(1, 0)", "(1, 1)"]
    assert list(table["predicted 1"]) == [100, 0, 250, 1000]
    assert list(table["accuracy (%)"]) == ["90.0", "100.0", "25.0", "100.0"]
    assert table["who"].iloc[2] == "women who earn more"


def test_the_printed_odds_are_the_maximum() -> None:
    check = fairness.printed_odds()
    assert (check["max"] >= check["mean"]).all()
    np.testing.assert_allclose(check["sum"], 2 * check["mean"])
    assert "is nearest to the **max** in" in fairness.printed_odds_in_words()
    rows = fairness.printed_odds_of("3", "celeba/Smiling/Male")
    assert list(rows.columns) == ["setting", "printed EO", "max", "mean", "sum"]
    assert len(rows) > 1


def test_who_says_no_to_everybody_is_fair(computed: Computed) -> None:
    record = computed.everything["against_retraining: pre-trained"][0]
    p, t = (record.predictions()[name] for name in ("protected", "target"))
    gap = abs(t[p == 1].mean() - t[p == 0].mean())
    words = fairness.extremes_in_words(record)
    assert f"ΔDP = {100 * gap:.1f} points" in words
    assert f"= 0 at an accuracy of {100 * (1 - t.mean()):.1f} %." in words


def test_a_blind_classifier_reads_what_sex_brings_about(computed: Computed) -> None:
    config = plans.pretrain(computed.profile, 0)
    table = fairness.counterfactuals(config, computed.runs)
    entry, direct, mediated, every = table.drop(columns=table.columns[0]).astype(float).to_numpy()
    assert (entry == 0).all()
    # The test part is a sample of the population, whose effects are known.
    truth = effects(CensusSettings(n=3000))
    for row, name in ((direct, "direct"), (mediated, "mediated"), (every, "total")):
        assert row[1] == pytest.approx(100 * truth[name], abs=4)
        assert (row[[0, 2]] >= np.abs(row[[1, 3]]) - 1e-9).all()


def test_of_real_people_there_is_none(computed: Computed) -> None:
    config = plans.pretrain(load_profile("desk"), 0)
    words = fairness.counterfactuals(config, computed.runs)
    assert isinstance(words, str)
    assert "-p dataset toycensus" in words
