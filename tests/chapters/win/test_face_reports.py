"""Figures and tables of WIN on faces say what the records hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from tests.conftest import MakeRecord

from repro.chapters.win import neutralising, rank_sweep
from repro.study import figures
from repro.study.records import Results
from repro.study.runs import Record
from repro.study.tables import differences

ERROR = {"results:mean_label_error": "Err"}


@pytest.fixture(autouse=True)
def canvas() -> Iterator[None]:
    """Draw without a screen, and leave no figure and no setting behind."""
    with mpl.rc_context(), plt.rc_context({"backend": "agg"}):
        figures.style()
        yield
        plt.close("all")


@pytest.fixture
def results(made_up: MakeRecord) -> Results:
    """Return three seeds of two ranks: WIN's error is 1 point below f+SVD's at rank 4 only."""

    def record(seed: int, error: float, **more: Any) -> Record:
        told = {
            "mean_label_error": error + 0.01 * seed,
            "trainable_parameters": 10,
            "start_max_logit_change": 0.5 + seed,
            **more,
        }
        return made_up(seed, (100, 100, 900, 900), results=told)

    def angles(first: float) -> list[dict[str, Any]]:
        return [
            {"first": "neutralised", "second": "none", "outputs": [1.0, first], "inputs": [2.0]},
            {"first": "neutralised", "second": "pooled", "outputs": [0.5], "inputs": [0.1]},
            {"first": "pooled", "second": "none", "outputs": [77.0], "inputs": [77.0]},
        ]

    beard: dict[str, Any] = {"left_out_labels": {"protected=1": [], "protected=0": ["Beard"]}}
    found: Results = {"pre-trained": [record(s, 0.4) for s in range(3)]}
    found["tl"] = [record(s, 0.3) for s in range(3)]
    for rank, gap in ((1, 0.0), (4, 0.01)):
        found[f"svd, rank {rank}"] = [record(s, 0.3) for s in range(3)]
        found[f"win, rank {rank}"] = [
            record(s, 0.3 - gap, angles=angles(10.0 * rank + s), **beard) for s in range(3)
        ]
    return found


def test_ranks_and_what_they_cost(results: Results) -> None:
    assert rank_sweep.ranks_of(results) == [1, 4]
    table = rank_sweep.rank_costs(results).set_index("setting")
    assert list(table.index) == [
        *("TL", "f+SVD, rank 1", "WIN, rank 1", "f+SVD, rank 4", "WIN, rank 4")
    ]
    assert table.loc["WIN, rank 4", "largest change of a logit at the start"] == "2.5"
    assert table.loc["TL", "seconds a run, median"] == "1.00"


def test_angles_are_the_largest_from_win(results: Results) -> None:
    table = rank_sweep.largest_angles(results)
    plain = table[table["importance"] == "none"]
    assert plain["angle"].tolist() == [10, 11, 12, 40, 41, 42]
    assert plain["rank"].tolist() == [1, 1, 1, 4, 4, 4]
    assert 77.0 not in set(table["angle"])
    assert set(rank_sweep.largest_angles(results, "inputs")["angle"]) == {2.0, 0.1}


def test_labels_that_are_left_out_are_counted(results: Results) -> None:
    text = rank_sweep.left_out(results)
    assert "in the group protected=0: Beard (3 of 3 seeds)." in text
    assert "protected=1" not in text
    for records in results.values():
        for record in records:
            record.body["results"]["left_out_labels"] = {"protected=0": []}
    assert "none is left out" in rank_sweep.left_out(results)


def test_the_size_of_a_group_and_its_interval(results: Results) -> None:
    table = neutralising.group_sizes(results)
    assert table["test images"].tolist() == ["1,000"] * 4
    assert set(table["half an interval (points)"]) == {"3.1"}
    assert neutralising.group_sizes({}).empty


def test_what_is_decided_is_counted_as_the_table_shows_it(results: Results) -> None:
    pairs = [
        (f"WIN − f+SVD, rank {rank}", f"win, rank {rank}", f"svd, rank {rank}") for rank in (1, 4)
    ]
    pairs += [("TL − pre-trained", "tl", "pre-trained"), ("pre-trained − TL", "pre-trained", "tl")]
    shown = differences(results, ERROR, pairs)["Err"].tolist()
    assert shown[1].startswith("-1.00 [-1.00")
    text = neutralising.decided(results, ERROR, pairs)
    assert text.startswith("Of 4 differences 1 are undecided at 95 %")
    assert "2 are below zero, in favour of the first (WIN − f+SVD, rank 4, Err; " in text
    assert "1 is above zero (pre-trained − TL, Err)" in text
    few = {key: records[:2] for key, records in results.items()}
    assert neutralising.decided(few, ERROR, pairs) == "Of 4 differences 4 are undecided at 95 %."


def test_controls_of_one_head(results: Results, made_up: MakeRecord) -> None:
    matched = made_up(0, results={"rate_factor": 0.25})
    both = {"target: tl": results["tl"], "labels: svd, matched": [matched]}
    assert list(neutralising.of_head(both, "target")) == ["tl"]
    (row,) = neutralising.rate_factors(both).to_dict("records")
    assert row == {
        "head": "one logit a label",
        "setting": "f+SVD, matched rate",
        "factor, by seed": "0.250",
    }


def test_every_question_is_about_controls_that_have_a_name() -> None:
    asked = {key for _, first, second in neutralising.QUESTIONS for key in (first, second)}
    assert asked <= neutralising.CONTROL_NAMES.keys()


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_figure_of_ranks_draws_every_seed(results: Results, seeds: int) -> None:
    fewer = {key: records[:seeds] for key, records in results.items()}
    fewer.pop("svd, rank 4")  # not recorded
    figure = rank_sweep.rank_figure(fewer, dict.fromkeys(ERROR, 100.0), title="here")
    figure.canvas.draw()
    (axes,) = figure.axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in dots) == 3 * seeds
    heights = sorted(y for line in dots for y in line.get_ydata())
    assert heights[0] == pytest.approx(29.0)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "4"]
    assert {"TL", "WIN", "f+SVD"} <= set(axes.get_legend_handles_labels()[1])


def test_the_figure_of_angles(results: Results) -> None:
    figure = rank_sweep.angle_figure(results, title="here")
    figure.canvas.draw()
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines if line.get_marker() != "o"}
    assert list(lines["none"].get_ydata()) == [11.0, 41.0]
    assert list(lines["none"].get_xdata()) == [0, 1]
