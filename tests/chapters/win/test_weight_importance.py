from __future__ import annotations

import numpy as np
import pytest
from tests.chapters.conftest import view_of
from tests.conftest import Computed, MakeRecord, drawn, first_seed

from repro.chapters.win import bias_returns, plans, weight_importance
from repro.chapters.win.configs import Probe
from repro.study.profiles import load_profile


def test_probes_look_at_the_models_of_the_other_plans() -> None:
    quick = load_profile("quick")
    tuned = bias_returns.fair_then_tuned(quick, [0])
    for key, (config,) in weight_importance.probes(quick, [0]).items():
        assert isinstance(config, Probe)
        if key == "unconstrained":
            assert config.pretrained == plans.pretrain(quick, 0)
        else:
            assert config.pretrained == tuned[f"{key}, before"][0]


def test_one_seed_and_more_are_drawn_and_tabled(computed: Computed) -> None:
    for results in (computed.probes, first_seed(computed.probes)):
        assert len(weight_importance.importance_distances(results)) == len(results)
        view = view_of(results)
        drawn(weight_importance.null_figure(view))
        bars = drawn(weight_importance.importance_figure(view)).axes[1].patches
        heights = [bar.get_height() for bar in bars]  # type: ignore[attr-defined]
        assert np.sum(heights) == pytest.approx(2)  # a share of the total for each group


def test_neutralised_importance_lies_between_the_groups(made_up: MakeRecord) -> None:
    # Shares (3/4, 1/4) and (1/4, 3/4): the mean of both is even, a quarter from either.
    results = {"importance": [[3.0, 1.0], [1.0, 3.0]], "importance_pooled_to_neutralised": 0.02}
    view = view_of({"unconstrained": [made_up(s, results=results) for s in (0, 1)]})
    (row,) = weight_importance.neutralised_distances([view]).to_dict("records")
    assert row == {
        "data": "some data",
        "to men's alone (%)": 25.0,
        "to women's alone (%)": 25.0,
        "to the pooled one (%)": 2.0,
    }
    assert list(weight_importance.unconstrained(view).results) == ["unconstrained"]
