"""Chapter 36: what the page shows of shrinking shares of the real images."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot as plt
from tests.conftest import Computed

from repro.chapters.aim import less_real_data
from repro.study.records import Results
from repro.study.session import View

KEYS = [f"{percent} %, {key}" for percent in (100, 50) for key in less_real_data.NAMES]


@pytest.fixture
def view(computed: Computed) -> View:
    found = computed.everything
    results: Results = {key: found[f"less_real_data: {key}"] for key in KEYS}
    return View("data", results, "again", computed.profile, "aim-fair")


def test_real_images_shrink_and_synthetic_ones_do_not(view: View) -> None:
    _, table, source = less_real_data.training_sets(view)
    assert table["share of real images"].tolist() == ["100 %", "50 %"]
    assert table["real images"].tolist() == ["160", "80"]
    assert table["(0,0)"].tolist() == ["8", "4"]  # 160 images at 1:9
    assert table["synthetic images, balanced"].tolist() == ["160", "160"]
    assert source is view


def test_dots_of_the_figure_are_the_seeds(view: View) -> None:
    figure = less_real_data.fractions_figure(view)
    dots = [
        (float(x), float(y))
        for line in figure.axes[0].lines
        if line.get_marker() == "o"
        for x, y in np.column_stack([line.get_xdata(), line.get_ydata()])
    ]
    plt.close(figure)
    # The second of three strategies stands at its share, the others to its sides.
    for percent in (100, 50):
        for at, key in zip((1 / 1.06, 1, 1.06), less_real_data.NAMES, strict=True):
            expected = sorted(
                100 * float(np.trace(np.sum(r.body["counts"]["test"], axis=1)) / total)
                for r in view.results[f"{percent} %, {key}"]
                for total in [np.sum(r.body["counts"]["test"])]
            )
            drawn = sorted(y for x, y in dots if x == pytest.approx(percent * at))
            assert drawn == pytest.approx(expected)


def test_shares_and_strategies_are_compared_in_pairs(view: View) -> None:
    _, hurts = less_real_data.less_hurts(view)
    _, lead = less_real_data.lead(view)
    assert [label.split(": ")[1] for label in hurts["difference"]] == ["50 % − 100 %"] * 3
    assert [label.split(":")[0] for label in lead["difference"]] == ["100 %", "50 %"] * 2


def test_what_cannot_be_compared_is_said(view: View) -> None:
    erm = {key: runs for key, runs in view.results.items() if key.endswith("erm")}
    alone = View("data", erm, "again", view.profile, "aim-fair")
    assert less_real_data.lead(alone) == ["**data**: SFT is not among these runs."]
    missing, figure, *_ = less_real_data.beside_paper(alone)
    plt.close(figure)
    assert missing == "**data**: no fine-tuned model is among these runs."
