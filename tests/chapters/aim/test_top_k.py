"""Chapter 31: how much of the model k selects, and whether there is a peak."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats
from tests.chapters.aim.drawings import points
from tests.chapters.aim.measurements import (
    DOMAIN,
    jaccard_by_hand,
    mask_by_hand,
    measured,
    random_measurement,
)
from tests.chapters.conftest import without
from tests.conftest import Computed, MakeRecord, drawn

from repro.chapters.aim import top_k
from repro.study.profiles import load_profile
from repro.study.records import Results
from repro.study.session import View

#: A measurement whose rankings agree: k tensors for each k.
ALIKE = measured(1, draws=[(DOMAIN, DOMAIN[::-1])])


def test_sizes_count_tensors_and_parameters() -> None:
    table = top_k.sizes_table([measured()], [4, 5])
    assert table.to_dict("records") == [
        {
            "k": 4,
            "k of all tensors": "67%",
            "at least (2k − n)": "2",
            "if unrelated (k²/n)": "2.7",
            "tensors in the mask": "2",
            "share of tensors": "33%",
            "share of parameters": "7.5%",
        },
        {
            "k": 5,
            "k of all tensors": "83%",
            "at least (2k − n)": "4",
            "if unrelated (k²/n)": "4.2",
            "tensors in the mask": "4",
            "share of tensors": "67%",
            "share of parameters": "79.2%",
        },
    ]
    assert top_k.sizes_table([measured()], [2]).loc[0, "at least (2k − n)"] == "0"


def test_sizes_are_given_from_the_lowest_to_the_highest_seed() -> None:
    (row,) = top_k.sizes_table([measured(), ALIKE], [4]).to_dict("records")
    assert row["tensors in the mask"] == "2 – 4"
    assert row["share of tensors"] == "33% – 67%"
    assert row["share of parameters"] == f"{4 / 53:.1%} – {44 / 53:.1%}"


def test_smallest_masks_are_those_of_2k_minus_n_tensors() -> None:
    # k = 3 and 6 are not between n/2 and n; of 4 and 5 the one seed has 2 and 4 tensors.
    text = top_k.smallest_masks([measured(), ALIKE], [3, 4, 5, 6])
    assert text.startswith("Of these 4 masks with n/2 < k < n, one for each k and seed, 2 have ")


def test_the_page_shows_sizes_or_says_that_nothing_was_measured() -> None:
    results: Results = {"train, augmented": [measured(), ALIKE]}
    view = View("data", results, "again", load_profile("desk"), "aim-fair")
    figure, _, table, said, source = top_k.what_k_selects(view, [4, 5])
    assert isinstance(figure, Figure)
    assert table["k"].tolist() == [4, 5]
    assert said == top_k.smallest_masks([measured(), ALIKE], [4, 5])
    assert source is view
    nothing = top_k.what_k_selects(replace(view, results={}), [4])
    assert nothing == ["**data**: no sensitivities are among these runs."]


def test_sizes_figure_has_a_step_for_each_k(computed: Computed) -> None:
    records = computed.masks["train, augmented"][:2]
    figure = drawn(top_k.sizes_figure(records))
    assert plt.get_fignums() == [figure.number]  # nothing is drawn beside it
    (axes,) = figure.axes
    *steps, diagonal = axes.lines
    assert len(steps) == 4  # tensors and parameters of either seed
    for record, tensors, parameters in zip(records, steps[::2], steps[1::2], strict=True):
        tuned = next(
            r for r in computed.table_3["mask"] if r.body["upstream"]["sensitivity"] == record.run
        )
        assert tensors.get_ydata()[39] == pytest.approx(tuned.results["share_of_tensors"])
        assert parameters.get_ydata()[39] == pytest.approx(tuned.results["share_of_parameters"])
    for line in steps:
        assert list(line.get_xdata()) == list(range(1, 63))
        shares = list(line.get_ydata())
        assert shares == sorted(shares)
        assert shares[-1] == 1
    assert list(diagonal.get_xdata()) == [0, 62]


def test_agreement_by_k() -> None:
    records = [random_measurement(seed) for seed in (1, 2, 3)]
    table = top_k.agreement_by_k(records).set_index("k")
    # Only where every seed has a mask.
    ks = [k for k in range(1, 7) if all(mask_by_hand(r, k) for r in records)]
    assert table.index.tolist() == ks
    for k in ks:
        across = [
            jaccard_by_hand(mask_by_hand(a, k), mask_by_hand(b, k))
            for a, b in combinations(records, 2)
        ]
        assert table.loc[k, "seeds"] == pytest.approx(np.mean(across))
        assert 0 <= table.loc[k, "chance"] <= 1
    assert table.loc[6].tolist() == [1, 1]  # all tensors, whatever the ranking


# The sweep

KS = (40, 50, 55, 60, 62)
#: Of 1000 people in the groups (1,0) and (1,1) so many are predicted 1, by k and seed.
RIGHT = np.random.default_rng(0).integers(400, 900, size=(len(KS), 5, 2))
RIGHT[1] = RIGHT[2] - np.array([[80, 30], [90, 40], [100, 20], [85, 35], [95, 30]])  # less fair
RIGHT[3] = RIGHT[2].mean(axis=-1, keepdims=True) + np.arange(5)[:, None] + [[0, 5]]  # fairer
WST = RIGHT.min(axis=-1) / 1000
EO = np.abs(RIGHT[..., 0] - RIGHT[..., 1]) / 1000


@pytest.fixture
def view(made_up: MakeRecord) -> View:
    trained = [f"tensor {i}" for i in range(62)]

    def tuned(strategy: str, right: np.ndarray, k: int | None = None, share: float = 1) -> Results:
        results = {"share_of_parameters": share, "trained_tensors": trained}
        return {
            strategy if k is None else f"k {k}": [
                made_up(seed, (0, 0, *pair), results=results, strategy=strategy, k=k)
                for seed, pair in enumerate(right.tolist())
            ]
        }

    found = tuned("erm", RIGHT[0])
    for k, right in zip(KS, RIGHT, strict=True):
        found |= tuned("mask", right, k, k / 100)
    # All but one seed as with the mask of all 62 tensors.
    full = RIGHT[-1].copy()
    full[2] += 1
    return View("data", found | tuned("fully fine-tuning", full), "again",
                load_profile("desk"), "aim-fair")  # fmt: skip


NO_MASK = tuple(f"k {k}" for k in KS)


def test_k_is_read_from_the_configuration(view: View, made_up: MakeRecord) -> None:
    other = {"k 45": [made_up(0, strategy="random", k=45)], "x": [made_up(0, strategy="mask", k=7)]}
    both = replace(view, results=view.results | other)
    assert top_k.places(both) == {f"k {k}": k for k in KS} | {"x": 7}


def test_every_k_stands_beside_figure_5(view: View) -> None:
    figure, table, source = top_k.beside_paper(view)
    assert sorted({x for x, _ in points(figure.axes[0], "s")}) == list(KS)
    assert table["setting"].tolist() == ["ERM", *(f"k = {k}" for k in KS), "full fine-tuning"]
    assert [cell.split()[0] for cell in table["WST"][1:6]] == [
        f"{100 * mean:.2f}" for mean in WST.mean(axis=1)
    ]
    assert (table["EO (max), paper"] != "").tolist() == [False, *[True] * 4, False, False]
    assert source is view
    alone = without(view, *NO_MASK)
    said, table, _ = top_k.beside_paper(alone)
    assert said == "**data**: no fine-tuned model is among these runs."
    assert isinstance(table, pd.DataFrame)


def test_the_same_runs_stand_against_the_share_of_parameters(view: View) -> None:
    (figure,) = top_k.against_parameters(view)
    for axes in figure.axes:
        assert axes.get_xscale() == "log"
        assert [x for x, _ in points(axes, "s")] == pytest.approx(KS)
    assert top_k.against_parameters(without(view, *NO_MASK)) == []


def test_all_tensors_by_mask_and_without_one_are_compared_count_by_count(view: View) -> None:
    assert top_k.whole_model(view) == [
        "**data**: k 62 and full fine-tuning have exactly the same test counts in 4 of 5 seeds."
    ]
    assert top_k.whole_model(without(view, "k 62")) == ["**data**: k 62 is not among these k."]
    assert top_k.whole_model(without(view, "fully fine-tuning")) == []


def test_changes_are_drawn_and_listed_from_the_k_of_the_profile(view: View) -> None:
    figure, _, table = top_k.changes(view)
    _, wst, eo = figure.axes
    for axes, values in ((wst, WST), (eo, EO)):
        change = 100 * (values - values[2])
        expected = [(k, y) for k, row in zip(KS, change, strict=True) for y in row]
        assert points(axes, "o") == [(k, pytest.approx(y)) for k, y in expected]
        means = zip(KS, change.mean(axis=1), strict=True)
        assert points(axes, "s") == [(k, pytest.approx(y)) for k, y in means]
    assert table["difference"].tolist() == [f"k {k} − k 55" for k in KS if k != 55]


@pytest.mark.parametrize("missing", ["k 55", "all others"])
def test_without_another_k_nothing_is_compared(view: View, missing: str) -> None:
    keys = [key for key in NO_MASK if (key == "k 55") == (missing == "k 55")]
    assert top_k.changes(without(view, *keys)) == top_k.is_there_a_peak(without(view, *keys)) == []


def test_a_peak_is_told_by_paired_t_tests(view: View) -> None:
    said = top_k.is_there_a_peak(view)
    seen = set()
    for text, heading, values in zip(said, ("WST", "EO (max)"), (WST, -EO), strict=True):
        words = []
        for row in np.delete(values, 2, axis=0):
            decided = stats.ttest_rel(row, values[2]).pvalue < 0.05
            better = row.mean() > values[2].mean()
            words.append(("better" if better else "worse") if decided else "undecided")
        assert text.startswith(
            f"**data**, {heading}: of 4 other k, {words.count('worse')} are worse than k 55, "
            f"{words.count('better')} better, {words.count('undecided')} undecided "
        )
        best = [str(KS[i]) for i in values.argmax(axis=0)]
        assert text.endswith(f"the best k on the test part is {', '.join(best)}.")
        seen |= {*words}
    assert seen == {"better", "worse", "undecided"}  # else the numbers above test too little
