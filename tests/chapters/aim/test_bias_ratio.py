"""Chapter 35: ratios of S1 differ in the mask alone, and what the page shows of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.conftest import MakeRecord, drawn

from repro.chapters.aim import bias_ratio, plans
from repro.chapters.aim.configs import FaceTuning
from repro.study.profiles import Profile, load_profile
from repro.study.records import Results
from repro.study.runs import Record
from repro.study.session import View

#: (d, b) of four tensors. The mask of k = 2, by hand: two of the lowest d, two of the highest b.
BOTH = ([1, 2, 3, 4], [4, 3, 2, 1])  # the first and the second tensor
FIRST = ([1, 2, 3, 4], [40, 10, 30, 20])  # the first alone
SECOND = ([1, 2, 3, 4], [10, 40, 30, 20])


@pytest.fixture(scope="module")
def toy() -> Profile:
    return load_profile("quick", {"faces.k": 2})


def tuning(config: object) -> FaceTuning:
    assert isinstance(config, FaceTuning)
    return config


def test_ratios_differ_in_the_mask_alone(toy: Profile) -> None:
    plan = bias_ratio.s1_bias(toy, [3])
    assert list(plan) == ["erm", "4:6", "3:7", "2:8", "1:9"]
    assert plan["erm"] == plans.bases_of(toy, [3])
    tuned = [tuning(run) for key in plan if key != "erm" for run in plan[key]]
    measured = [run.sensitivity for run in tuned if run.sensitivity is not None]
    assert [one.synthetic.bias_ratio for one in measured] == [4 / 6, 3 / 7, 2 / 8, 1 / 9]
    assert len({run.synthetic.model_dump_json() for run in tuned}) == 1
    assert plan["1:9"] == plans.strategies(toy, [3])["mask"]
    masks = bias_ratio.s1_masks(toy, [3])
    assert [runs[0] for runs in masks.values()] == measured


def biased_like(ratio: float) -> Profile:
    return load_profile("quick", {"faces.data.bias_ratio": ratio})


@pytest.mark.parametrize(("ratio", "key"), [(1 / 9, "1:9"), (2 / 8, "2:8"), (3 / 7, "3:7")])
def test_what_is_claimed_to_be_best_is_the_ratio_of_the_real_data(ratio: float, key: str) -> None:
    (claim,) = bias_ratio.CLAIMS
    found = claim.contrasts(biased_like(ratio))
    rivals = [other for other in bias_ratio.TABLE_7 if other != key]
    assert {contrast.first for contrast in found} == {key}
    assert [contrast.second for contrast in found] == [*rivals, tuple(rivals)]


def test_without_the_ratio_of_the_real_data_nothing_is_claimed() -> None:
    (claim,) = bias_ratio.CLAIMS
    assert claim.contrasts(biased_like(1 / 3)) == []


# What the guess changes in the mask


def measured(make: MakeRecord, seed: int, *draws: tuple[list[int], list[int]]) -> Record:
    """Make a measurement of four tensors up: d and b of each draw of batches."""
    results: dict[str, Any] = {
        "tensors": list("uvwx"),
        "draws": [{"absolute": {"domain": d, "fairness": b}} for d, b in draws],
    }
    return make(seed, results=results)


@pytest.fixture
def masks(made_up: MakeRecord, toy: Profile) -> View:
    results: Results = {
        "1:9": [measured(made_up, 0, FIRST), measured(made_up, 1, FIRST)],
        "4:6": [measured(made_up, 0, BOTH, BOTH), measured(made_up, 1, FIRST, BOTH, SECOND)],
    }
    return View("data", results, "again", toy, "aim-fair")


def test_masks_are_compared_between_ratios_and_between_draws(masks: View) -> None:
    _, table, source = bias_ratio.overlaps(masks)
    # Of two ratios 1 of 2 tensors, and the same one. Of draws 2 of 2, then 1 of 2, 0 and 1 of 2.
    assert table.to_numpy().tolist() == [
        ["4:6 and 1:9", f"{(1 / 2 + 1) / 2:.2f}"],
        ["4:6, other batches", f"{(1 + 1 / 2 + 0 + 1 / 2) / 4:.2f}"],
    ]
    assert source is masks


def test_the_sensitivities_of_the_first_seed_are_the_dots(masks: View) -> None:
    (figure,) = bias_ratio.sensitivity_figures(masks)
    for place, axes in enumerate(drawn(figure).axes):
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        bars = [line for line in axes.lines if line.get_marker() == "_"]
        of_ratios = [BOTH[place], FIRST[place]]
        assert [[*line.get_ydata()] for line in dots] == of_ratios
        assert [float(np.mean(line.get_xdata())) for line in dots] == pytest.approx([0, 1])
        assert [line.get_ydata()[0] for line in bars] == [np.median(each) for each in of_ratios]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["4:6", "1:9"]


def test_without_measurements_the_page_says_so(masks: View) -> None:
    none = View("data", {}, "again", masks.profile, "aim-fair")
    assert bias_ratio.overlaps(none) == ["**data**: no sensitivities are among these runs."]
    assert bias_ratio.sensitivity_figures(none) == []


# Table 7


@pytest.fixture
def tuned(made_up: MakeRecord) -> Results:
    """Return two seeds a setting, of which so many of 1000 women and men who smile are found."""
    found = {"erm": (0, 0), "1:9": (900, 900), "2:8": (900, 700), "4:6": (900, 500)}
    return {
        key: [made_up(seed, (0, 0, women, men)) for seed in (0, 1)]
        for key, (women, men) in found.items()
    }


def test_ratios_stand_beside_the_paper_of_photographs(tuned: Results) -> None:
    desk = View("data", tuned, "again", load_profile("desk"), "aim-fair")
    figure, table, source = bias_ratio.beside_paper(desk)
    shown = ["ERM", "SFT, S1 at 4:6", "SFT, S1 at 2:8", "SFT, S1 at 1:9"]
    assert [label.get_text() for label in drawn(figure).axes[0].get_xticklabels()] == shown
    assert table["setting"].tolist() == shown
    assert [cell.split()[0] for cell in table["EO (max)"]] == ["0.00", "40.00", "20.00", "0.00"]
    assert table["EO (max), paper"].tolist() == ["", "8.78", "7.30", "6.07"]
    assert source is desk


def test_without_fine_tuned_models_there_is_a_table_of_erm_alone(tuned: Results) -> None:
    desk = View("data", {"erm": tuned["erm"]}, "again", load_profile("desk"), "aim-fair")
    table, source = bias_ratio.beside_paper(desk)
    assert table["setting"].tolist() == ["ERM"]
    assert source is desk
    assert bias_ratio.seed_by_seed(desk) == []


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        # 900 of 1000 less, of 4000: differences of accuracy are a quarter of those of men.
        (1 / 9, {"4:6 − 1:9": "-10.00", "2:8 − 1:9": "-5.00"}),
        (2 / 8, {"4:6 − 2:8": "-5.00", "1:9 − 2:8": "+5.00"}),
    ],
)
def test_ratios_are_compared_with_that_of_the_real_data(
    tuned: Results, real: float, expected: dict[str, str]
) -> None:
    _, table = bias_ratio.seed_by_seed(View("data", tuned, "again", biased_like(real), "aim-fair"))
    accuracies = [cell.split()[0] for cell in table["ACC"]]
    assert dict(zip(table["difference"], accuracies, strict=True)) == expected


def test_where_the_ratio_of_the_real_data_was_not_run_nothing_is_compared(tuned: Results) -> None:
    view = View("data", tuned, "again", biased_like(3 / 7), "aim-fair")
    assert bias_ratio.seed_by_seed(view) == []
