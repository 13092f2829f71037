"""The figures of the AIM-Fair chapters draw what the records hold, and no single person."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from tests.chapters.aim.drawings import labels, points, ticks
from tests.conftest import Computed, drawn

from repro.chapters.aim import figures as aim_figures
from repro.chapters.aim.contrasts import ACC, EO, WST
from repro.study.records import Results

GROUPS = ["(0,0)", "(0,1)", "(1,0)", "(1,1)"]


# Images


def test_group_counts_are_the_heights_of_the_bars() -> None:
    sets = {"real": np.array([[1000, 9000], [9000, 1000]]), "S2": np.full((2, 2), 5000)}
    figure = drawn(aim_figures.group_counts_figure(sets, title="T"))
    assert plt.get_fignums() == [figure.number]  # nothing is drawn beside it
    (axes,) = figure.axes
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    assert heights == [[1000, 5000], [9000, 5000], [9000, 5000], [1000, 5000]]
    assert labels(axes) == GROUPS
    assert ticks(axes) == ["real", "S2"]
    assert "9,000" in [text.get_text() for text in axes.texts]


def test_faces_are_drawn_row_by_row() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = {
        name: torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8, generator=generator)
        for name, n in (("camera (0,0)", 3), ("studio (0,0)", 2))
    }
    figure = drawn(aim_figures.faces_figure(rows, title="T"))
    images = [axes.get_images() for axes in figure.axes]
    assert [len(found) for found in images] == [1, 1, 1, 1, 1, 0]
    shown = np.asarray(images[3][0].get_array())
    assert np.array_equal(shown, rows["studio (0,0)"][0].permute(1, 2, 0).numpy())
    named = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert named == list(rows)


def test_averages_are_means_over_the_faces_of_a_group() -> None:
    generator = torch.Generator().manual_seed(0)
    faces = torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8, generator=generator)
    figure = drawn(aim_figures.averages_figure({"(0,0)": faces, "(0,1)": faces.flip(0)[:50]}))
    first, second = (np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes)
    expected = faces.numpy().astype(float).mean(axis=0).transpose(1, 2, 0) / 255
    np.testing.assert_allclose(first, expected, atol=1e-5)
    np.testing.assert_allclose(second, expected, atol=1e-5)
    assert [axes.get_title() for axes in figure.axes] == [
        "(0,0)\nmean of 50",
        "(0,1)\nmean of 50",
    ]


@pytest.mark.parametrize("n", [0, 1, 49])
def test_an_average_that_could_show_a_person_is_refused(n: int) -> None:
    enough, few = (torch.zeros(k, 3, 8, 8, dtype=torch.uint8) for k in (50, n))
    with pytest.raises(ValueError, match=rf"\(1,1\): an average of {n} faces.* 50 are needed"):
        aim_figures.averages_figure({"(0,0)": enough, "(1,1)": few})
    assert plt.get_fignums() == []  # nothing half drawn is left


# Trainings


def test_group_accuracies_are_the_dots(computed: Computed) -> None:
    names = {"erm": "ERM", "mask": "SFT", "none": "never run"}
    paper = {("mask", "accuracy_t1_p1"): 0.842}
    figure = drawn(
        aim_figures.group_accuracy_figure(computed.table_3, names, reported=paper, title="T")
    )
    (axes,) = figure.axes
    assert ticks(axes) == ["ERM", "SFT"]
    assert plt.get_fignums() == [figure.number]
    assert labels(axes)[:4] == GROUPS
    expected = [
        100 * record.metrics()[f"accuracy_t{t}_p{p}"]
        for key in ("erm", "mask")
        for t in (0, 1)
        for p in (0, 1)
        for record in computed.table_3[key]
    ]
    found = points(axes, "o")
    assert [y for _, y in found] == pytest.approx(expected)
    # Each group at a place of its own, around its setting.
    assert len({round(x, 6) for x, _ in found}) == 8
    assert {round(x) for x, _ in found} == {0, 1}
    (diamond,) = points(axes, "D")
    assert diamond[1] == pytest.approx(84.2)
    assert diamond[0] == pytest.approx(max(x for x, _ in found))
    plain = drawn(aim_figures.group_accuracy_figure(computed.table_3, names))
    assert points(plain.axes[0], "D") == []


# Against a number


def against(results: Results, **given: object) -> Figure:
    arguments: dict[str, object] = {"lines": {}, "xlabel": "k", **given}
    return drawn(aim_figures.against_number_figure(results, {"k 34": 34, "k 40": 40}, **arguments))


def test_metrics_against_k(computed: Computed) -> None:
    results = {
        key.removeprefix("top_k: "): records
        for key, records in computed.everything.items()
        if key.startswith("top_k: ")
    }
    assert set(results) == {"erm", "k 34", "k 40", "k 62", "fully fine-tuning"}
    paper = {("k 40", WST): 0.7785, ("k 55", WST): 0.842}
    figure = against(results, lines={"erm": "ERM", "none": "never run"}, reported=paper, title="T")
    for axes, metric in zip(figure.axes, (ACC, WST, EO), strict=True):
        dots = [
            (k, 100 * record.metrics()[metric]) for k in (34, 40) for record in results[f"k {k}"]
        ]
        assert points(axes, "o") == [(x, pytest.approx(y)) for x, y in dots]
        means = [(k, np.mean([y for x, y in dots if x == k])) for k in (34, 40)]
        assert points(axes, "s") == [(x, pytest.approx(y)) for x, y in means]
        (line,) = [line for line in axes.lines if line.get_linestyle() == "--"]
        erm = np.mean([record.metrics()[metric] for record in results["erm"]])
        assert line.get_ydata()[0] == pytest.approx(100 * erm)
        told = [(40, pytest.approx(77.85))] if metric == WST else []
        assert points(axes, "D") == told
    assert "ERM" in labels(figure.axes[0])


def test_one_seed_has_no_interval_and_a_missing_setting_no_point(computed: Computed) -> None:
    erm = computed.table_3["erm"][:1]
    figure = against({"k 34": erm, "erm": erm}, lines={"erm": "ERM"}, logarithmic=True)
    for axes in figure.axes:
        assert axes.get_xscale() == "log"
        assert len(points(axes, "o")) == len(points(axes, "s")) == 1
        (container,) = axes.containers
        assert not container.has_yerr
