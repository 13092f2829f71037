"""Chapter 34: amounts differ in fine-tuning alone, and what the page shows of them."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from tests.conftest import MakeRecord

from repro.chapters.aim import plans, synthetic_amount
from repro.chapters.aim.configs import FaceTuning
from repro.study.profiles import load_profile
from repro.study.records import Results
from repro.study.session import View


def test_amounts_differ_in_fine_tuning_alone() -> None:
    quick = load_profile("quick")
    plan = synthetic_amount.synthetic_amount(quick, [3])
    assert list(plan) == ["erm", "0.5x", "1x", "1.5x", "2x"]
    tuned = [run for runs in plan.values() for run in runs if isinstance(run, FaceTuning)]
    assert [run.synthetic.amount for run in tuned if run.synthetic] == [0.5, 1.0, 1.5, 2.0]
    # One mask, measured at the usual amount.
    assert len({run.sensitivity.identity for run in tuned if run.sensitivity}) == 1
    assert plan["1x"] == plans.strategies(quick, [3])["mask"]


@pytest.fixture
def view(made_up: MakeRecord) -> View:
    def tuned(images: int, epoch: int) -> Any:
        results = {"training_images": [[images] * 2] * 2, "epoch": epoch}
        return made_up(epoch, (0, 0, 0, 100 * epoch), results=results, history=[(0,) * 4] * 3)

    results: Results = {
        **{"2x": [tuned(1000, 2)], "erm": [made_up(2)], "0.5x": [tuned(250, 3)]},
        **{"1x": [tuned(500, 1)]},
    }
    return View("data", results, "again", load_profile("quick"), "aim-fair")


def test_the_page_says_what_each_amount_is_trained_on(view: View) -> None:
    _, table, source = synthetic_amount.training_sets(view)
    assert table["times the set"].tolist() == ["0.5", "1", "2"]
    assert table["(1,0)"].tolist() == ["250", "500", "1,000"]
    assert table["in all"].tolist() == ["1,000", "2,000", "4,000"]
    assert source is view


def test_amounts_are_compared_with_as_many_and_their_kept_epochs_named(view: View) -> None:
    _, table = synthetic_amount.seed_by_seed(view)
    # Of 4000 people 2000 have t = 0 and are read right, and of group (1,1) 300, 100 and 200.
    assert table["difference"].tolist() == ["0.5x − 1x", "2x − 1x"]
    assert [cell.split()[0] for cell in table["ACC"]] == ["+5.00", "+2.50"]
    _, epochs = synthetic_amount.kept_epochs(view)
    assert epochs.to_numpy().tolist() == [
        [f"SFT, {key}", epoch, "3"] for key, epoch in (("0.5x", "3"), ("1x", "1"), ("2x", "2"))
    ]


def test_figure_and_table_stand_above_their_source(view: View) -> None:
    figure, table, source = synthetic_amount.beside_paper(view)
    assert isinstance(figure, Figure)
    plt.close(figure)
    assert table["setting"].tolist() == ["ERM", "SFT, 0.5x", "SFT, 1x", "SFT, 2x"]
    assert source is view


def test_without_fine_tuned_models_the_page_says_so(view: View) -> None:
    erm = View("data", {"erm": view.results["erm"]}, "again", view.profile, "aim-fair")
    assert synthetic_amount.training_sets(erm) == [
        "**data**: no fine-tuned model is among these runs."
    ]
    assert synthetic_amount.seed_by_seed(erm) == synthetic_amount.kept_epochs(erm) == []
    assert not any(isinstance(part, Figure) for part in synthetic_amount.beside_paper(erm))
