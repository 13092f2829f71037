from __future__ import annotations

import pytest
from tests.chapters.conftest import view_of
from tests.conftest import Computed, MakeRecord, drawn, first_seed

from repro.chapters.win import bias_returns
from repro.chapters.win.configs import Finetune, Pretrain
from repro.chapters.win.contrasts import DP
from repro.study.profiles import load_profile


def test_share_that_returns(made_up: MakeRecord) -> None:
    results = {
        "unconstrained, before": [made_up(0, (0, 0, 0, 390))],
        "unconstrained, after": [made_up(0, (0, 0, 0, 400))],
        "dp 0.5, before": [made_up(0, (0, 0, 0, 200))],
        "dp 0.5, after": [made_up(0, (0, 0, 0, 250))],
    }
    table = bias_returns.before_after(view_of(results))
    assert list(table["fair model and gap"]) == ["DP 0.5: ΔDP"]
    row = table.iloc[0]
    # 200 of 2000 men predicted 1 and no woman: a gap of 10 points, then 12.5; 20 would be all.
    assert (row["before"], row["after"], row["unconstrained, after"]) == ("10.00", "12.50", "20.00")
    assert row["share that returns"] == "25 %"
    assert row["before, paper"] == "4.70"
    assert "before, paper" not in bias_returns.before_after(view_of(results, "quick"))


def test_one_seed_and_more_are_drawn_and_tabled(computed: Computed) -> None:
    assert [row[1:] for row in bias_returns.before_after_rows(view_of(computed.tuned))] == [
        ("dp 0.5, before", "dp 0.5, after", DP)
    ]
    for results in (computed.tuned, first_seed(computed.tuned)):
        view = view_of(results)
        drawn(bias_returns.before_after_figure(view))
        assert len(bias_returns.before_after(view)) == 1
        errors = bias_returns.errors(view)
        assert list(errors["setting"]) == list(results)
        assert [heading for heading in errors if heading.startswith("Err")] == ["Err", "Err, paper"]
    drawn(bias_returns.before_after_figure(view_of({})))


def test_fair_models_are_tuned_from_themselves() -> None:
    plan = bias_returns.fair_then_tuned(load_profile("quick"), [3])
    for constraint in ("dp", "eo"):
        for intensity in (0.1, 0.5, 0.9):
            (before,) = plan[f"{constraint} {intensity:g}, before"]
            (after,) = plan[f"{constraint} {intensity:g}, after"]
            assert isinstance(before, Pretrain)
            assert (before.constraint, before.intensity) == (constraint, intensity)
            assert isinstance(after, Finetune)
            assert after.pretrained == before
            assert (after.strategy, after.constraint) == ("tl", None)


@pytest.mark.parametrize("profile", ["desk", "quick"])
def test_the_other_budget_is_another_model(profile: str) -> None:
    chosen = load_profile(profile)
    plan = bias_returns.fair_then_tuned_otherwise(chosen, [0])
    if chosen.win.other_budget is None:
        assert plan == {}
        return
    own = bias_returns.fair_then_tuned(chosen, [0])
    assert plan.keys() == own.keys()
    for key in plan:
        assert plan[key] != own[key]
