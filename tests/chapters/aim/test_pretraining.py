"""Chapter 23: how the biased classifier was trained, how it went, and what its groups got."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from tests.chapters.aim.drawings import labels, points
from tests.chapters.conftest import view_of
from tests.conftest import Computed, MakeRecord, drawn

from repro.chapters.aim import pretraining
from repro.study.runs import Record
from repro.study.session import View

ERM, SYNTHETIC = "ERM, biased real images", "balanced synthetic images"


def test_the_recipe_is_that_of_the_profile(computed: Computed) -> None:
    view = View("data", {"erm": computed.table_3["erm"]}, "again", computed.profile, "aim-fair")
    told = pretraining.recipe(view).set_index("setting")["this call"]
    assert told["images"].endswith(", 160")
    assert "simulated" in told["images"]
    assert told["model"] == "resnet18, width 4"
    assert told["rate"] == "0.05"
    assert told["divided by ten after epoch"] == "never"
    assert told[["epochs", "images a batch"]].tolist() == ["1", "32"]
    # In which precision they really were computed hangs on the machine.
    assert {told["precision"]} == {r.body["precision"] for r in computed.table_3["erm"]}


def test_the_papers_recipe_is_what_it_prints(computed: Computed) -> None:
    view = View("data", {"erm": computed.table_3["erm"]}, "again", computed.profile, "aim-fair")
    told = pretraining.recipe(view).set_index("setting")["the paper"]
    # Zhao et al. (2025), implementation details; crops and precision: the released code.
    assert told.to_dict() == {
        "images": "CelebA, Smiling | Male, 224x224, 20,000",
        "model": "resnet18, width 64",
        "initialisation": "imagenet",
        "rate": "0.01",
        "divided by ten after epoch": "10",
        "epochs": "15",
        "images a batch": "128",
        "crops": "8 % to 100 % of the frame",
        "precision": "float32",
    }


def trained(seed: int, epoch: int) -> Record:
    """Make up a training of three epochs: loss, and how many of 100 in each group are right."""
    history = []
    for loss, (a, b, c, d) in (
        (0.7, (50, 60, 70, 80)),
        (0.5, (90, 60, 70, 80)),
        (0.4, (90, 90, 70, 80)),
    ):
        table = [[[a, 100 - a], [b, 100 - b]], [[100 - c, c], [100 - d, d]]]
        history.append({"loss": loss + seed / 10, "counts": {"test": table, "validation": table}})
    return Record(
        {
            "run": f"t{seed}",
            "config": {"seed": seed},
            "results": {"epoch": epoch},
            "history": history,
            "counts": {"test": history[epoch - 1]["counts"]["test"]},
        }
    )


def test_history_has_a_curve_for_each_seed_and_marks_the_kept_epoch() -> None:
    results = {"erm": [trained(0, 2), trained(1, 3)], "other": [trained(0, 1)]}
    figure = drawn(pretraining.history_figure(view_of(results)))
    assert plt.get_fignums() == [figure.number]  # nothing is drawn beside it
    expected = {
        "training loss": ([0.7, 0.5, 0.4], [0.8, 0.6, 0.5]),
        "validation accuracy (%)": ([65, 75, 82.5],) * 2,
        "its worst group (%)": ([50, 60, 70],) * 2,
    }
    assert [axes.get_ylabel() for axes in figure.axes] == list(expected)
    for axes, curves in zip(figure.axes, expected.values(), strict=True):
        lines = [line for line in axes.lines if line.get_marker() != "o"]
        assert [list(line.get_xdata()) for line in lines] == [[1, 2, 3]] * 2
        for line, curve in zip(lines, curves, strict=True):
            np.testing.assert_allclose(np.asarray(line.get_ydata(), dtype=float), curve)
        kept = points(axes, "o")
        assert kept == [(2, pytest.approx(curves[0][1])), (3, pytest.approx(curves[1][2]))]
    assert labels(figure.axes[0]) == [ERM]  # once, whatever the number of seeds


def test_history_of_real_records(computed: Computed) -> None:
    figure = drawn(pretraining.history_figure(view_of(computed.table_3)))
    assert len(points(figure.axes[0], "o")) == 6
    assert labels(figure.axes[0]) == [ERM, SYNTHETIC]


def test_groups_stand_beside_the_papers_where_faces_are_photographs(made_up: MakeRecord) -> None:
    results = {"erm": [made_up(seed, (100, 20 * seed, 900, 800)) for seed in (0, 1)]}
    figure, table, source = pretraining.beside_paper(view := view_of(results, about="aim-fair"))
    assert source is view
    # Table 3, Baseline (ERM), Smiling | Male on CelebA.
    printed = {83.57, 98.5, 95.36, 71.52}
    assert {round(y, 2) for _, y in points(figure.axes[0], "D")} == printed
    assert table["WST, paper"].tolist() == ["71.52"]
    assert table["WST"].tolist()[0].startswith("80.00")
    figure, table, _ = pretraining.beside_paper(view_of(results, "quick", "aim-fair"))
    assert isinstance(table, pd.DataFrame)
    assert points(figure.axes[0], "D") == []
    assert not [column for column in table if "paper" in column]


def test_three_odds_are_the_larger_gap_their_mean_and_their_sum(made_up: MakeRecord) -> None:
    # False positives 10 % and 30 %, true positives 90 % and 80 %: gaps of 20 and of 10 points.
    (row,) = pretraining.odds({"erm": [made_up(0, (100, 300, 900, 800))]}).to_dict("records")
    assert row["setting"] == ERM
    assert row["max (AIM-Fair's tables)"] == "20.00"
    assert row["mean (its code)"] == "15.00"
    assert row["sum (WIN)"] == "30.00"
