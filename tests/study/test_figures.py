"""Figures draw what is there: one seed, missing values, missing settings."""

from __future__ import annotations

import numpy as np
import pytest
from tests.conftest import Computed, MakeRecord, drawn

from repro.chapters.win import contrasts as win_contrasts
from repro.study import figures, tables
from repro.study.records import Results

METRICS = {win_contrasts.ERROR: "Err", win_contrasts.DP: "ΔDP", win_contrasts.EO: "ΔEO (sum)"}


pytestmark = pytest.mark.usefixtures("canvas")


@pytest.mark.parametrize("seeds", [1, 3])
def test_figures_draw_with_one_seed_and_with_more(computed: Computed, seeds: int) -> None:
    def few(results: Results) -> Results:
        return {key: records[:seeds] for key, records in results.items()}

    names = {key: key.upper() for key in computed.strategies}
    paper = {("tl", win_contrasts.DP): 0.2, ("tl", win_contrasts.ERROR): 0.16}
    settings = drawn(
        figures.settings_figure(
            few(computed.strategies), list(METRICS), names=names, reported=paper, title="T"
        )
    )
    assert len(settings.axes) == 3
    assert [label.get_text() for label in settings.axes[0].get_xticklabels()] == [*names.values()]


def test_the_seeds_are_the_dots_and_the_paper_the_diamond(computed: Computed) -> None:
    results = {"tl": computed.strategies["tl"]}
    figure = figures.settings_figure(
        results,
        [win_contrasts.DP],
        names={"tl": "TL", "none": "-"},
        reported={("tl", win_contrasts.DP): 0.2},
    )
    (axes,) = figure.axes
    expected = [100 * record.metrics()[win_contrasts.DP] for record in results["tl"]]
    marks = {str(line.get_marker()): line for line in axes.lines if len(line.get_ydata())}
    for mark, values in (("o", expected), ("s", [np.mean(expected)]), ("D", [20.0])):
        np.testing.assert_allclose(np.asarray(marks[mark].get_ydata(), dtype=float), values)


def test_missing_values_leave_a_gap(made_up: MakeRecord) -> None:
    quantity = "results:separation_auc_pca"
    none, some = (made_up(results={"separation_auc_pca": auc}) for auc in (None, 0.7))
    results = {"none": [none], "some": [some, none, some]}
    names = {key: key for key in results}
    figure = drawn(figures.settings_figure(results, [quantity], names=names))
    (axes,) = figure.axes
    assert {len(line.get_ydata()) for line in axes.lines} <= {1, 2}

    means = tables.means(results, {quantity: "AUC"}, names)
    assert means["AUC"].tolist() == ["", "70.00 ± 0.00 (2 of 3)"]
    one = {"a": [none, some, none], "b": [some, some, none]}
    found = tables.differences(one, {quantity: "AUC"}, [("a − b", "a", "b"), ("x", "a", "x")])
    # A missing value is left out; it is not 0.
    assert found["AUC"].tolist() == ["+0.00"]
    gone = tables.differences({"a": [none]}, {quantity: "AUC"}, [("a − a", "a", "a")])
    assert gone["AUC"].tolist() == [""]


def test_figures_draw_where_nothing_is_known(computed: Computed) -> None:
    names = {"tl": "TL"}
    drawn(figures.settings_figure({}, [win_contrasts.DP], names=names))
    assert len(tables.means({}, METRICS, names)) == 0
    assert "No records of nothing" in tables.source({}, "nothing", "again").text
