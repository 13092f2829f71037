"""Controls change one thing each, and what is told of them is what the records hold."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from tests.chapters.conftest import view_of
from tests.conftest import MakeRecord, drawn

from repro.chapters.win import neutralising, rank_sweep, win_on_faces
from repro.chapters.win.face_configs import FaceHeadTuning
from repro.study.profiles import load_profile
from repro.study.records import Results


def test_runs_that_mean_the_same_are_the_same() -> None:
    plan = win_on_faces.with_controls(load_profile("quick"), [0])
    assert plan["target: win"] == plan["win, rank 1"]
    assert plan["target: factors"] == plan["svd, rank 2"]
    ranks = rank_sweep.ranks(load_profile("quick"), [0])
    assert plan["labels: factors"] == ranks["svd, rank 15"]
    assert plan["labels: win"] == ranks["win, rank 4"]
    tuned = {config.identity for key, group in plan.items() if ":" in key for config in group}
    assert len(tuned) == 2 * 11


def test_controls_change_one_thing_each() -> None:
    plan = neutralising.controls(load_profile("quick"), [0])
    win = plan["labels: win"][0].model_dump()
    for key, field in (
        ("labels: win, pooled", "importance"),
        ("labels: win, shuffled", "importance"),
        ("labels: win, matched", "matched"),
    ):
        other = plan[key][0]
        assert isinstance(other, FaceHeadTuning)
        assert {name for name, v in other.model_dump().items() if v != win[name]} == {field}


def test_no_rank_is_above_the_inputs_of_a_narrow_head() -> None:
    for width, full in ((8, 64), (64, 75)):
        small = {"faces.width": width, "faces.initialisation": "scratch", "faces.data.name": "lfwa"}
        plan = neutralising.controls(load_profile("smoke", small), [0])
        (factors,) = plan["labels: factors"]
        assert isinstance(factors, FaceHeadTuning)
        assert factors.rank == full


def test_controls_of_each_head(swept: Results, made_up: MakeRecord) -> None:
    matched = made_up(0, results={"rate_factor": 0.25})
    both = {
        "target: tl": swept["tl"],
        "target: win": swept["tl"],
        "labels: svd, matched": [matched],
    }
    (row,) = neutralising.rate_factors({"labels: svd, matched": [matched]}).to_dict("records")
    assert row == {
        "head": "one logit a label",
        "setting": "f+SVD, matched rate",
        "factor, by seed": "0.250",
    }
    target, labels = neutralising.by_head([view_of(both), view_of({"tl": swept["tl"]})])
    assert (target.label, labels.view.label) == ("some data: Two classes, rank 1", "some data")
    assert list(target.view.results) == ["tl", "win"]
    assert list(labels.view.results) == ["svd, matched"]
    figure, table, view = target.shown()
    assert view is target.view
    assert isinstance(table, pd.DataFrame)
    assert isinstance(figure, Figure)
    assert table["setting"].tolist() == ["TL", "WIN"]
    assert target.differences()["difference"].tolist() == ["WIN − TL"]
    assert target.learnt() == (
        "**some data: Two classes, rank 1.** Of 3 differences 3 are undecided at 95 %."
    )
    figure = drawn(figure)
    assert len(figure.axes) == 3
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["TL", "WIN"]


def test_every_question_is_about_controls_that_have_a_name() -> None:
    asked = {key for _, first, second in neutralising.QUESTIONS for key in (first, second)}
    assert asked <= neutralising.CONTROLS.keys()
    plan = neutralising.controls(load_profile("quick"), [0])
    for head in neutralising.HEADS:
        assert {f"{head}: {name}" for name in neutralising.CONTROLS} <= plan.keys()
    assert len(plan) == 2 * len(neutralising.CONTROLS)
