"""The figures of the AIM-Fair chapters draw what the records hold, and no single person."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from tests.chapters.aim.drawings import labels, points, ticks
from tests.conftest import Computed, drawn

from repro.chapters.aim import figures as aim_figures
from repro.chapters.aim import pretraining, selective_mask
from repro.chapters.aim.contrasts import ACC, EO, WST
from repro.study import figures
from repro.study.records import Results
from repro.study.runs import Record

GROUPS = ["(0,0)", "(0,1)", "(1,0)", "(1,1)"]


# Images


def test_group_counts_are_the_heights_of_the_bars() -> None:
    sets = {"real": np.array([[1000, 9000], [9000, 1000]]), "S2": np.full((2, 2), 5000)}
    (axes,) = drawn(aim_figures.group_counts_figure(sets, title="T")).axes
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    assert heights == [[1000, 5000], [9000, 5000], [9000, 5000], [1000, 5000]]
    assert labels(axes) == GROUPS
    assert ticks(axes) == ["real", "S2"]
    assert axes.get_ylabel() == "images"
    assert axes.get_title() == "T"
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
    names = {"erm": "ERM", "none": "never run"}
    figure = drawn(pretraining.history_figure(results, names, title="T"))
    expected = {
        "training loss": ([0.7, 0.5, 0.4], [0.8, 0.6, 0.5]),
        "validation accuracy (%)": ([65, 75, 82.5],) * 2,
        "its worst group (%)": ([50, 60, 70],) * 2,
    }
    assert [axes.get_ylabel() for axes in figure.axes] == list(expected)
    for axes, curves in zip(figure.axes, expected.values(), strict=True):
        assert axes.get_xlabel() == "epoch"
        lines = [line for line in axes.lines if line.get_marker() != "o"]
        assert [list(line.get_xdata()) for line in lines] == [[1, 2, 3]] * 2
        for line, curve in zip(lines, curves, strict=True):
            np.testing.assert_allclose(np.asarray(line.get_ydata(), dtype=float), curve)
        kept = points(axes, "o")
        assert kept == [(2, pytest.approx(curves[0][1])), (3, pytest.approx(curves[1][2]))]
    assert labels(figure.axes[0]) == ["ERM"]  # once, whatever the number of seeds


def test_history_of_real_records(computed: Computed) -> None:
    names = {"erm": "ERM", "mask": "SFT"}
    figure = drawn(pretraining.history_figure(computed.table_3, names))
    assert len(points(figure.axes[0], "o")) == 6
    assert labels(figure.axes[0]) == ["ERM", "SFT"]


def test_group_accuracies_are_the_dots(computed: Computed) -> None:
    names = {"erm": "ERM", "mask": "SFT", "none": "never run"}
    paper = {("mask", "accuracy_t1_p1"): 0.842}
    figure = drawn(
        aim_figures.group_accuracy_figure(computed.table_3, names, reported=paper, title="T")
    )
    (axes,) = figure.axes
    assert ticks(axes) == ["ERM", "SFT"]
    assert axes.get_ylabel() == "accuracy of the group (%)"
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


# Masks


def test_sensitivities_are_drawn_at_their_values_and_filled_in_the_mask(
    computed: Computed,
) -> None:
    record = computed.masks["train, augmented"][0]
    k = 40
    (axes,) = drawn(selective_mask.sensitivity_figure(record, k, title="T")).axes
    values = record.results["draws"][0]["absolute"]
    assert sorted(points(axes, "o")) == sorted(
        zip(values["domain"], values["fairness"], strict=True)
    )
    chosen = set(computed.table_3["mask"][0].results["trained_tensors"])
    inside = {
        (values["domain"][i], values["fairness"][i])
        for i, name in enumerate(record.results["tensors"])
        if name in chosen
    }
    filled = {
        point
        for line in axes.lines
        if line.get_marker() == "o" and line.get_fillstyle() == "full"
        for point in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }
    assert filled == inside
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xlabel().startswith("domain sensitivity d")
    assert axes.get_ylabel().startswith("fairness sensitivity b")
    # The thresholds: the mask lies left of the one and above the other, and all of it does.
    vertical, horizontal = (
        line for line in axes.lines if line.get_linestyle() == "--"
    )  # fmt: skip
    d, b = vertical.get_xdata()[0], horizontal.get_ydata()[0]
    assert {p for p in points(axes, "o") if p[0] <= d and p[1] >= b} == inside
    title = axes.get_legend().get_title().get_text()
    assert f"k = {k}" in title


def test_mask_figure_has_a_row_for_each_seed(computed: Computed) -> None:
    records = computed.masks["train, augmented"]
    (axes,) = drawn(selective_mask.mask_figure(records, 40, title="T")).axes
    shown = np.asarray(axes.get_images()[0].get_array())
    expected = [
        [name in record.results["trained_tensors"] for name in records[0].results["tensors"]]
        for record in computed.table_3["mask"]
    ]
    assert shown.astype(bool).tolist() == expected
    assert [label.get_text() for label in axes.get_yticklabels()] == ["seed 0", "seed 1", "seed 2"]
    assert ticks(axes) == ["stem", "layer1", "layer2", "layer3", "layer4", "fc"]
    assert len([line for line in axes.lines if isinstance(line, Line2D)]) == 5  # between blocks


def test_stability_figure_has_seeds_and_chance(computed: Computed) -> None:
    records = computed.masks["train, augmented"]
    (axes,) = drawn(selective_mask.stability_figure(records)).axes
    seeds, chance = axes.lines
    assert list(seeds.get_xdata()) == list(chance.get_xdata())
    assert (seeds.get_xdata()[-1], seeds.get_ydata()[-1], chance.get_ydata()[-1]) == (62, 1, 1)
    assert labels(axes) == ["seeds", "random rankings"]
    assert axes.get_xlabel() == "k"
    assert "Jaccard" in axes.get_ylabel()


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
    assert [axes.get_xlabel() for axes in figure.axes] == ["k"] * 3
    expected_labels = [figures.LABELS[metric] for metric in (ACC, WST, EO)]
    assert [axes.get_ylabel() for axes in figure.axes] == expected_labels
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


def test_figures_are_closed_by_who_draws_them(computed: Computed) -> None:
    """Nothing is drawn beside what is returned: one figure for one call."""
    names = {"erm": "ERM"}
    records = computed.masks["train, augmented"]
    calls = (
        lambda: aim_figures.group_counts_figure({"a": np.ones((2, 2), dtype=int)}),
        lambda: pretraining.history_figure(computed.table_3, names),
        lambda: aim_figures.group_accuracy_figure(computed.table_3, names),
        lambda: selective_mask.sensitivity_figure(records[0], 40),
        lambda: selective_mask.mask_figure(records, 40),
        lambda: selective_mask.stability_figure(records),
    )
    for call in calls:
        figure = call()
        assert plt.get_fignums() == [figure.number]
        plt.close()
        assert plt.get_fignums() == []
