from __future__ import annotations

import math

import numpy as np
import pytest
from tests.chapters.conftest import view_of
from tests.conftest import Computed, drawn, first_seed

from repro.chapters.win import group_weight
from repro.chapters.win.configs import Finetune
from repro.study.profiles import load_profile


def test_both_groups_get_every_weight() -> None:
    chosen = load_profile("quick", {"win.weights": [0.5, 0.7, 0.99]})
    plan = group_weight.group_weights(chosen, [0, 1], ranks=[1])
    assert set(plan) == {f"rank 1, a {a}" for a in ("0.01", "0.3", "0.5", "0.7", "0.99")}
    for key, configs in plan.items():
        for config in configs:
            assert isinstance(config, Finetune)
            assert config.strategy == "win"
            assert config.weight == pytest.approx(float(key.split()[-1]))


def test_equal_weight_is_always_among_them() -> None:
    chosen = load_profile("quick", {"win.weights": [0.8]})
    assert "rank 1, a 0.5" in group_weight.group_weights(chosen, [0])


@pytest.mark.parametrize("degrees", [0.0, 1e-4, 5.0, 45.0, 90.0])
def test_angle_has_no_sign_and_is_exact_when_small(degrees: float) -> None:
    first = np.array([1.0, 0.0])
    second = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
    for sign in (1, -1):
        assert group_weight.angle(first, sign * second) == pytest.approx(
            degrees, rel=1e-9, abs=1e-12
        )


def test_weight_changes_tell_where_nothing_changed(computed: Computed) -> None:
    table = group_weight.weight_changes(computed.weights).set_index("setting")
    assert list(table.index) == list(computed.weights)
    assert table.loc["rank 1, a 0.5", "same confusion table"] == "3 of 3 seeds"
    assert table.loc["rank 1, a 0.5", "kept direction turns by (°)"] == "0.000"
    assert table.loc["rank 2, a 0.9", "kept direction turns by (°)"] == ""
    alone = group_weight.weight_changes(first_seed(computed.weights))
    assert "nan" not in alone.to_string().casefold()


def test_a_flat_line_looks_flat(computed: Computed) -> None:
    for results in (computed.weights, first_seed(computed.weights)):
        by_rank = group_weight.weight_figures(view_of(results))
        assert len(by_rank) == 2
        for figure in map(drawn, by_rank):
            low, high = figure.axes[0].get_ylim()
            assert low <= -0.5 < 0.5 <= high
