"""Chapter 43 and its three modules: Figure 4, Table 3, Table 4."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.figure import Figure
from tests.chapters.conftest import view_of
from tests.chapters.win.conftest import settings_of
from tests.conftest import Computed, MakeRecord, drawn, first_seed

from repro.chapters.win import architectures, plans, retraining, win_on_adult
from repro.chapters.win import tables as win_tables
from repro.chapters.win.configs import words
from repro.study.profiles import load_profile
from repro.study.records import Results


def test_settings_in_words() -> None:
    dp = {"constraint": "dp", "intensity": 0.5}
    for config, key, called in (
        (settings_of("tl", constraint=None, intensity=0.0), "tl", "TL"),
        (settings_of("svd", 2), "svd, rank 2", "f+SVD, rank 2"),
        (settings_of("retrain", **dp), "retrain dp 0.5", "Retrain+DP 0.5"),
        (dp, "pre-trained", "pre-trained"),
    ):
        assert (words(config, {}), words(config)) == (key, called)


def test_the_protected_attribute_is_out_by_default() -> None:
    quick = load_profile("quick")
    plain = plans.against_retraining(quick, [0])
    switched = win_on_adult.protected_switch(quick, [0])
    assert switched["p out, tl"] == plain["tl"]
    assert switched["p in, tl"] != plain["tl"]


@pytest.fixture
def table_3(made_up: MakeRecord) -> Results:
    """Return made-up records, two seeds a setting, each with another gap."""
    hows = [
        *(settings_of(), settings_of("tl")),
        *(settings_of(how, rank) for rank in (1, 2) for how in ("svd", "win")),
        *(settings_of("retrain"), settings_of("retrain", constraint="dp", intensity=0.1)),
    ]
    return {
        words(how, {}): [
            made_up(seed, (0, 0, 0, 100 + 20 * at + seed), results={}, **how) for seed in (0, 1)
        ]
        for at, how in enumerate(hows)
    }


def test_figure_4_shows_the_strategies_alone(table_3: Results, computed: Computed) -> None:
    _, shown, _ = win_on_adult.strategies_beside_paper(view_of(table_3))
    assert isinstance(shown, pd.DataFrame)
    table = shown.set_index("setting")
    assert list(table.index) == [
        *("pre-trained", "TL", "f+SVD, rank 1", "WIN, rank 1", "f+SVD, rank 2", "WIN, rank 2")
    ]
    told = table.loc["TL", "ΔDP, paper"], table.loc["pre-trained", "ΔDP, paper"]
    assert told == ("20.00", "19.20")  # Figure 4, Table 3
    _, simulated, _ = win_on_adult.strategies_beside_paper(view_of(table_3, "quick"))
    assert isinstance(simulated, pd.DataFrame)
    assert "ΔDP, paper" not in simulated
    for results in (computed.strategies, first_seed(computed.strategies)):
        figure, *_ = win_on_adult.strategies_beside_paper(view_of(results))
        assert isinstance(figure, Figure)
        assert len(drawn(figure).axes) == 3


def test_differences_are_of_what_they_say(table_3: Results) -> None:
    table = win_tables.strategy_differences(view_of(table_3)).set_index("difference")
    # A step of 20 among 2000 men is a point: WIN at rank 1 is two settings after TL.
    assert table.loc["WIN − TL, rank 1", "ΔDP"].startswith("+2.00")
    assert table.loc["f+SVD − TL, rank 2", "ΔDP"].startswith("+3.00")
    assert len(table) == 1 + 2 * 3
    table = retraining.retraining_differences(table_3).set_index("difference")
    assert table.loc["WIN, rank 1 − original", "ΔDP"].startswith("+3.00")
    assert table.loc["TL − Retrain+DP 0.1", "ΔDP"].startswith("-6.00")
    assert len(table) == 1 + 2 * 2
    for at, called in (("mlp-3", "MLP-3"), ("p in", "p in")):
        own = {f"{at}, {key}": records for key, records in table_3.items()}
        table = win_tables.win_against_tl(view_of(own), {at: called}).set_index("difference")
        assert table.loc[f"{called}: WIN − TL, rank 2", "ΔDP"].startswith("+4.00")


def test_the_paper_s_differences_are_read_off_its_figure() -> None:
    table = win_on_adult.reported_differences().set_index("paper, read off Figure 4")
    assert list(table.loc["WIN − TL"]) == ["-0.50", "-3.20", "-4.00"]  # .160-.165, .168-.200, ...


def test_table_3_shows_the_first_win_alone(table_3: Results, computed: Computed) -> None:
    view = retraining.trade_off(view_of(table_3))
    assert list(view.results) == ["pre-trained", "tl", "win, rank 1", "retrain", "retrain dp 0.1"]
    assert len(retraining.trade_off_table(view)) == 5
    for results in (computed.strategies, first_seed(computed.strategies), {}):
        drawn(retraining.trade_off_figure(view_of(results)))


def test_deeper_classifiers_and_the_switch(table_3: Results) -> None:
    deeper = view_of({f"mlp-3, {key}": records for key, records in table_3.items()})
    figure, table, differences, _ = architectures.deeper(deeper)
    assert isinstance(figure, Figure)
    (axes, _) = drawn(figure).axes
    assert len(axes.get_xticklabels()) == len(table_3) - 2  # not those of rank 2
    assert isinstance(table, pd.DataFrame)
    told = table.set_index("setting")["ΔEO (sum), paper"]
    assert len(told) == len(table_3)
    assert told["MLP-3, WIN, rank 1"] == told["MLP-3, WIN, rank 2"] == "18.50"
    assert told["MLP-3, TL"] == ""
    assert isinstance(differences, pd.DataFrame)
    assert list(differences["difference"]) == [f"MLP-3: WIN − TL, rank {rank}" for rank in (1, 2)]
    switched = view_of({f"p in, {key}": records for key, records in table_3.items()})
    table = win_on_adult.switch_table(switched).set_index("setting")
    assert len(table) == len(table_3) - 2
    assert table.loc["p in, TL", "ΔDP, paper"] == "20.00"


def test_choices_flag_the_ends(computed: Computed) -> None:
    table = win_on_adult.choices({key: computed.strategies[key] for key in ("tl", "retrain")})
    assert list(table["setting"]) == ["TL", "Retrain"]
    assert list(table["at an end of the grid"]) == ["3 of 3"] * 2  # a grid of one rate
    assert list(table["at the last epoch"]) == ["3 of 3"] * 2  # one epoch


def test_budgets_in_words(computed: Computed) -> None:
    before, after = win_on_adult.budgets(computed.profile)
    assert before.startswith("Profile `tiny`, pre-training: ")
    assert "rates 0.02, 1 epochs, batches of 128" in after
    assert len(win_on_adult.what_trains()) == 4
