"""What a rank does, as figures and tables tell it, is what the records hold."""

from __future__ import annotations

import pytest
from tests.chapters.conftest import view_of
from tests.conftest import drawn

from repro.chapters.win import rank_sweep
from repro.chapters.win.tables import ranks_of
from repro.settings import SettingsError
from repro.study.profiles import load_profile
from repro.study.records import Results


def test_ranks_and_what_they_cost(swept: Results) -> None:
    assert ranks_of(swept) == [1, 4]
    table = rank_sweep.rank_costs(swept).set_index("setting")
    assert list(table.index) == [
        *("TL", "f+SVD, rank 1", "WIN, rank 1", "f+SVD, rank 4", "WIN, rank 4")
    ]
    assert table.loc["WIN, rank 4", "largest change of a logit at the start"] == "2.5"
    assert table.loc["TL", "seconds a run, median"] == "1.00"


def test_angles_are_the_largest_from_win(swept: Results) -> None:
    table = rank_sweep.largest_angles(swept)
    plain = table[table["importance"] == "none"]
    assert plain["angle"].tolist() == [10, 11, 12, 40, 41, 42]
    assert plain["rank"].tolist() == [1, 1, 1, 4, 4, 4]
    assert 77.0 not in set(table["angle"])


def test_labels_that_are_left_out_are_counted(swept: Results) -> None:
    text = rank_sweep.left_out(swept)
    assert "in the group protected=0: Beard (3 of 3 seeds)." in text
    assert "protected=1" not in text
    for records in swept.values():
        for record in records:
            record.body["results"]["left_out_labels"] = {"protected=0": []}
    assert "none is left out" in rank_sweep.left_out(swept)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_figure_of_ranks_draws_every_seed(swept: Results, seeds: int) -> None:
    fewer = {key: records[:seeds] for key, records in swept.items()}
    fewer.pop("svd, rank 4")  # not recorded
    figure = drawn(rank_sweep.rank_figure(fewer, {"results:mean_label_error": 100.0}, title="here"))
    (axes,) = figure.axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in dots) == 3 * seeds
    heights = sorted(y for line in dots for y in line.get_ydata())
    assert heights[0] == pytest.approx(29.0)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "4"]
    assert {"TL", "WIN", "f+SVD"} <= set(axes.get_legend_handles_labels()[1])


def test_the_figure_of_angles(swept: Results) -> None:
    figure = drawn(rank_sweep.angle_figure(swept, title="here"))
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines if line.get_marker() != "o"}
    assert list(lines["none"].get_ydata()) == [11.0, 41.0]
    assert list(lines["none"].get_xdata()) == [0, 1]


def test_the_sweep_in_figures_tables_and_words(swept: Results) -> None:
    for quantity in ("demographic_parity", "equalized_odds_sum"):  # no label is left
        for record in (record for group in swept.values() for record in group):
            record.body["results"][f"mean_label_{quantity}"] = None
    assert len(drawn(rank_sweep.sweep_figure(view_of(swept))).axes) == 3
    table = rank_sweep.sweep_table(swept).set_index("setting")
    assert table.loc["WIN, rank 4", "Err"].startswith("30.00 ± ")
    assert table.loc["pre-trained", "ΔDP"] == ""
    found = rank_sweep.rank_differences(swept).set_index("difference")["Err"]
    assert list(found.index) == [
        f"WIN − {name}, rank {rank}" for rank in (1, 4) for name in ("f+SVD", "TL")
    ]
    assert [text.split()[0] for text in found] == ["+0.00", "+0.00", "-1.00", "-1.00"]
    said = rank_sweep.learnt(view_of(swept))
    assert said.startswith("**some data.** Of 12 differences 10 are undecided")
    assert "(WIN − f+SVD, rank 4, Err; WIN − TL, rank 4, Err)" in said
    angles = rank_sweep.angles_table(swept)
    assert angles["rank"].tolist() == [1, 4]
    assert angles["none"].tolist() == [11.0, 41.0]
    (axes,) = drawn(rank_sweep.parameters_figure(swept)).axes
    assert {y for line in axes.lines if line.get_marker() == "o" for y in line.get_ydata()} == {10}


def test_a_rank_that_no_head_has_is_refused() -> None:
    wide = load_profile("quick", {"win.faces.label_ranks": [1, 16]})
    with pytest.raises(SettingsError, match="ranks of the head with one logit a label run from 1"):
        rank_sweep.ranks(wide, [0])
    with pytest.raises(SettingsError, match=r"ranks.* less than or equal to 2"):
        load_profile("quick", {"win.faces.ranks": [3]})
