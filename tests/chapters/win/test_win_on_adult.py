"""Chapter 43 and its three modules: Figure 4, Table 3, Table 4."""

from __future__ import annotations

import pytest
from tests.chapters.conftest import view_of
from tests.conftest import Computed, MakeRecord, drawn, first_seed

from repro.chapters.win import architectures, plans, retraining, win_on_adult
from repro.chapters.win import tables as win_tables
from repro.chapters.win.tables import short
from repro.study.profiles import load_profile
from repro.study.records import Results


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("tl", "TL"),
        ("svd, rank 2", "f+SVD, rank 2"),
        ("mlp-3, win, rank 1", "MLP-3, WIN, rank 1"),
        ("retrain dp 0.5", "Retrain dp 0.5"),
        ("pre-trained", "pre-trained"),
    ],
)
def test_keys_in_words(key: str, words: str) -> None:
    assert short(key) == words


def test_the_protected_attribute_is_out_by_default() -> None:
    quick = load_profile("quick")
    plain = plans.against_retraining(quick, [0])
    switched = win_on_adult.protected_switch(quick, [0])
    assert switched["p out, tl"] == plain["tl"]
    assert switched["p in, tl"] != plain["tl"]


@pytest.fixture
def table_3(made_up: MakeRecord) -> Results:
    """Return made-up records, two seeds a setting, each with another gap."""
    keys = ("pre-trained", "tl", "svd, rank 1", "win, rank 1", "svd, rank 2", "win, rank 2")
    return {
        key: [made_up(seed, (0, 0, 0, 100 + 20 * at + seed), results={}) for seed in (0, 1)]
        for at, key in enumerate((*keys, "retrain", "retrain dp 0.1"))
    }


def test_figure_4_shows_the_strategies_alone(table_3: Results, computed: Computed) -> None:
    table = win_on_adult.strategies_table(view_of(table_3))
    assert list(table["setting"]) == [short(k) for k in table_3 if not k.startswith("retrain")]
    tl, original = (table[table["setting"] == name].iloc[0] for name in ("TL", "pre-trained"))
    assert (tl["ΔDP, paper"], original["ΔDP, paper"]) == ("20.00", "19.20")  # Figure 4, Table 3
    assert "ΔDP, paper" not in win_on_adult.strategies_table(view_of(table_3, "quick"))
    for results in (computed.strategies, first_seed(computed.strategies)):
        assert len(drawn(win_on_adult.strategies_figure(view_of(results))).axes) == 3


def test_differences_are_of_what_they_say(table_3: Results) -> None:
    table = win_tables.strategy_differences(table_3).set_index("difference")
    # A step of 20 among 2000 men is a point: WIN at rank 1 is two settings after TL.
    assert table.loc["WIN − TL, rank 1", "ΔDP"].startswith("+2.00")
    assert table.loc["f+SVD − TL, rank 2", "ΔDP"].startswith("+3.00")
    assert len(table) == 1 + 2 * 3
    table = retraining.retraining_differences(table_3).set_index("difference")
    assert table.loc["WIN, rank 1 − original", "ΔDP"].startswith("+3.00")
    assert table.loc["TL − Retrain dp 0.1", "ΔDP"].startswith("-6.00")
    assert len(table) == 1 + 2 * 2
    for at, words in (("mlp-3", "MLP-3"), ("p in", "p in")):
        own = {f"{at}, {key}": records for key, records in table_3.items()}
        table = win_on_adult.win_against_tl(own).set_index("difference")
        assert table.loc[f"{words}: WIN − TL, rank 2", "ΔDP"].startswith("+4.00")


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
    (axes, _) = drawn(architectures.deeper_figure(deeper)).axes
    assert len(axes.get_xticklabels()) == len(table_3) - 2  # not those of rank 2
    assert len(architectures.deeper_table(deeper)) == len(table_3)
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
