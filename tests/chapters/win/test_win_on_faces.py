"""Claims of WIN on faces carry the paper's numbers; tables and figures say what records hold."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.figure import Figure
from tests.chapters.conftest import view_of
from tests.chapters.win.conftest import settings_of
from tests.conftest import MakeRecord, drawn

from repro.chapters.win import tables as win_tables
from repro.chapters.win import win_on_faces
from repro.chapters.win.configs import words
from repro.chapters.win.contrasts import DP, EO, ERROR
from repro.chapters.win.win_on_faces import CLAIMS, dataset_of
from repro.study.claims import Contrast
from repro.study.profiles import Profile, load_profile
from repro.study.records import Results


def test_only_the_papers_own_task_stands_beside_its_numbers(toy: Profile) -> None:
    assert dataset_of(toy) is None
    (claim,) = [c for c in CLAIMS if c.name == "win-vs-tl-faces-rank-1"]
    (error,) = [c for c in CLAIMS if c.name == "win-error-faces-rank-1"]

    def contrasts(profile: Profile) -> list[Contrast]:
        of_figure = [*claim.contrasts(profile), *claim.beside(profile), *error.contrasts(profile)]
        return [c for c in of_figure if c.second == "tl"]

    assert {c.reported for c in contrasts(toy)} == {None}
    told = {c.quantity: c for c in contrasts(load_profile("paper"))}
    assert {metric: c.reported for metric, c in told.items()} == {
        ERROR: pytest.approx(0.177 - 0.193),
        DP: pytest.approx(0.182 - 0.248),
        EO: pytest.approx(0.229 - 0.345),
    }
    # Of another task the margins are the same: the paper's differences on its own.
    assert {c.quantity: c.margin for c in contrasts(toy)} == {m: c.margin for m, c in told.items()}
    assert told[EO].margin == pytest.approx((0.345 - 0.229) / 2)


def test_tl_must_be_unfair(toy: Profile, made_up: MakeRecord) -> None:
    (check,) = CLAIMS[0].checks(toy)
    # Half of TL's 0.345 on CelebA.
    for gap, passes in ((172, False), (173, True)):
        assert check.passes({"tl": [made_up(0, (0, 0, 0, gap))]})[0] == passes


def test_lfw_a_stands_beside_the_papers_numbers() -> None:
    task = {"win.faces.target": "Male", "win.faces.protected": "Heavy_Makeup"}
    lfwa = load_profile("paper", {"faces.data.name": "lfwa", "faces.data.total": 2000, **task})
    assert dataset_of(lfwa) == "lfwa"
    assert dataset_of(load_profile("paper", {"faces.data.name": "lfwa"})) is None
    assert lfwa.data_label("win-faces") == "LFW+a, Male | Heavy_Makeup, 224x224, frozen features"
    both = next(c for c in CLAIMS if c.name == "win-vs-svd-faces-rank-1")
    error = next(c for c in CLAIMS if c.name == "win-error-faces-rank-1")
    contrasts = [*both.contrasts(lfwa), *both.beside(lfwa), error.contrasts(lfwa)[1]]
    told = {c.quantity: c.reported for c in contrasts if c.reported is not None}
    assert told == {
        ERROR: pytest.approx(0.117 - 0.166),
        DP: pytest.approx(0.085 - 0.140),
        EO: pytest.approx(0.256 - 0.275),
    }


def test_the_budget_in_words(toy: Profile) -> None:
    assert win_on_faces.budgets(load_profile("desk", {"win.faces": None})) == [
        "Profile `desk` does not run WIN on faces."
    ]
    *both, bias = win_on_faces.budgets(toy)
    task = toy.win.faces
    for said, how in zip(both, (task.pretrain, task.finetune), strict=True):
        assert f"{how.epochs} epochs, batches of {how.batch_size}." in said
    assert bias.endswith(f"{task.bias_ratio:.2f} times as large as the other two.")


def test_the_size_of_a_group_and_its_interval(swept: Results) -> None:
    table = win_on_faces.group_sizes(swept)
    assert table["test images"].tolist() == ["1,000"] * 4
    assert set(table["half an interval (points)"]) == {"3.1"}  # 196 / 2 / sqrt(1000)
    assert win_on_faces.group_sizes({}).empty


def test_strategies_stand_beside_the_paper_on_its_own_task(made_up: MakeRecord) -> None:
    gaps = {(None, None): 100, ("tl", None): 200, ("svd", 1): 180, ("win", 1): 150,
            ("svd", 2): 200, ("win", 2): 200}  # fmt: skip
    results = {
        words(settings_of(*how), {}): [
            made_up(seed, (0, 0, 0, gap), **settings_of(*how)) for seed in range(2)
        ]
        for how, gap in gaps.items()
    }
    lfwa = load_profile(
        "paper",
        {"faces.data.name": "lfwa", "faces.data.total": 2000, "win.faces.target": "Male",
         "win.faces.protected": "Heavy_Makeup"},
    )  # fmt: skip
    for profile, told in ((load_profile("quick"), None), (lfwa, "25.60")):
        view = replace(view_of(results), profile=profile, about="win-faces")
        figure, shown, _ = win_on_faces.strategies_beside_paper(view)
        assert isinstance(shown, pd.DataFrame)
        assert isinstance(figure, Figure)
        table = shown.set_index("setting")
        assert table.loc["WIN, rank 1", "ΔEO (sum)"].startswith("15.00")
        assert table.get("ΔEO (sum), paper", {}).get("WIN, rank 1") == told
        axes = drawn(figure).axes
        assert [axis.get_legend() is not None for axis in axes] == [told is not None] * 3
        found = win_tables.strategy_differences(view).set_index("difference")["ΔDP"]
        assert len(found) == 1 + 3 * 2
        assert found["WIN − TL, rank 1"].startswith("-2.50")
