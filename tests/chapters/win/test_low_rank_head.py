from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.conftest import Computed, drawn

from repro import models
from repro.chapters.win import low_rank_head, plans
from repro.data import toycensus
from repro.data.tabular import Encoder
from repro.study.profiles import load_profile
from repro.study.records import Results
from repro.win.lowrank import LowRankLinear


@pytest.fixture
def starts(computed: Computed) -> Results:
    """Return records as of `low_rank_head.rank_one`."""
    weights = {k: v for k, v in computed.weights.items() if k.startswith("rank 1")}
    return weights | {"svd": computed.strategies["svd, rank 1"]}


def test_the_starts_are_runs_of_other_experiments() -> None:
    quick = load_profile("quick")
    found = low_rank_head.rank_one(quick, [0])
    table_3 = plans.against_retraining(quick, [0])
    assert found["svd"] == table_3["svd, rank 1"]
    assert found["rank 1, a 0.5"] == table_3["win, rank 1"]


def test_starts_are_counted_and_told(starts: Results) -> None:
    table = low_rank_head.rank_one_starts(starts)
    assert len(table) == len(starts)
    assert table.iloc[0]["start"] == "f+SVD"
    assert table.iloc[0]["to f+SVD, largest (°)"] == "0.000"
    people = sum(int(r.counts().sum()) for k, v in starts.items() if k != "svd" for r in v)
    assert f"of {people:,} decisions" in low_rank_head.starts_in_words(starts)


def test_two_lines_of_what_is_kept_are_drawn(starts: Results) -> None:
    figure = drawn(low_rank_head.head_figure(starts, np.eye(10, 2) - 0.5))
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines[-2:]] == ["f+SVD", "WIN"]
    assert len(axes.lines) == 10 + 2


def test_the_weighted_svd_has_the_smallest_weighted_error() -> None:
    table = low_rank_head.truncations()
    weighted, plain = (
        table[f"weighted error, {name} SVD"].astype(float) for name in ("weighted", "plain")
    )
    assert (weighted <= plain).all()
    even = table["largest / smallest importance"] == 1
    assert (weighted == plain)[even | (table["rank"] == 6)].all()
    assert (weighted < plain)[~even & (table["rank"] < 6)].all()
    assert (plain[table["rank"] == 6] == 0).all()  # nothing is cut


def test_sizes_are_those_of_real_models() -> None:
    found = low_rank_head.size_derivations(742)
    assert found == [
        "71 inputs and 2 linear layers of width 10",
        "60 inputs and 3 linear layers of width 10",
        "49 inputs and 4 linear layers of width 10",
        "38 inputs and 5 linear layers of width 10",
    ]
    for words in found:
        inputs, layers = (int(word) for word in words.split() if word.isdigit() and word != "10")
        model = models.mlp(inputs, layers=layers, hidden=10, classes=2, seed=0)
        assert models.parameter_count(model) == 742
    for rank in (1, 2):
        head = LowRankLinear.from_linear(torch.nn.Linear(10, 2), None, rank)
        assert low_rank_head.rank_for_size(models.parameter_count(head)) == rank
    assert low_rank_head.rank_for_size(12 * 3 + 2) is None
    assert low_rank_head.rank_for_size(46) is None
    assert "**46** is 12 r + 2 for no rank" in low_rank_head.sizes_in_words()
    assert list(low_rank_head.head_sizes()["trainable parameters"]) == [14, 26, 22]


def test_what_our_runs_train(computed: Computed) -> None:
    table = low_rank_head.trained_parameters(computed.strategies).set_index("strategy")
    sizes = table["trainable parameters"]
    assert set(sizes.index) >= {"tl", "retrain", "win, rank 1"}
    assert (sizes["tl"], sizes["win, rank 1"]) == (22, 14)
    assert sizes["retrain"] > 22
    assert "pre-trained" not in sizes.index


def test_widths_agree_with_the_encoder() -> None:
    table = toycensus.generate(toycensus.CensusSettings(n=3000))
    everybody = np.arange(len(table))
    widths = low_rank_head.adult_widths()
    encoder = Encoder.fit(table, everybody, include_protected=True)
    small = [n for n in encoder.names if not n.startswith(("native-country=", "fnlwgt", "sex="))]
    for width, words in (
        (encoder.d, "country one-hot, fnlwgt in, sex in 1 columns"),
        (len(small), "country out, fnlwgt out, sex in 0 columns"),
    ):
        assert f"incomplete records kept, every level, {words}" in widths[width]
    assert 71 not in widths
