"""Chapter 32: the best of each kind, how it may be chosen, and how alike two masks are."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from scipy import stats
from tests.chapters.aim.measurements import (
    jaccard_by_hand,
    mask_by_hand,
    measured,
)
from tests.chapters.conftest import without
from tests.conftest import Computed, MakeRecord

from repro.chapters.aim import selection_rules
from repro.study.profiles import load_profile
from repro.study.runs import Record
from repro.study.session import View
from repro.study.tables import Html

#: key -> strategy, of 1000 people in group (1,1) how many are right in two seeds, and of those in
#: the groups (1,0) and (1,1) of the validation part: of random draws the first is the more
#: accurate there and the second has the better worst group.
ROWS = {
    "erm": ("erm", (100, 200), (0, 0)),
    "random 0": ("random", (300, 360), (900, 300)),
    "random 1": ("random", (400, 340), (500, 500)),
    "update layer4": ("update", (420, 480), (700, 700)),
    "update fc": ("linear probing", (300, 700), (100, 100)),
    "freeze layer4": ("freeze", (600, 620), (0, 0)),
    "cosine mask": ("cosine mask", (500, 540), (0, 0)),
    "mask": ("mask", (550, 570), (0, 0)),
    "fully fine-tuning": ("fully fine-tuning", (510, 510), (0, 0)),
}


@pytest.fixture
def view(made_up: MakeRecord) -> View:
    results = {
        key: [
            made_up(
                seed,
                (0, 0, 1000, n),
                validation=(0, 0, *seen),
                strategy=strategy,
                results={
                    "training_images": [[10, 10], [10, 10]],
                    "trained_tensors": [f"tensor {i}" for i in range(n // 100)],
                    "trainable_parameters": 10 * n,
                },
            )
            for seed, n in enumerate(right)
        ]
        for key, (strategy, right, seen) in ROWS.items()
    }
    return View("data", results, "again", load_profile("desk"), "aim-fair")


def test_rules_are_told_with_the_settings_of_the_profile() -> None:
    table, said = selection_rules.rules(load_profile("smoke"))
    assert table["rule"].tolist() == ["random", "update", "freeze", "cosine mask", "mask"]
    assert table["what trains"].str.endswith(".").all()
    assert isinstance(said, str)
    assert said.startswith("Profile `smoke`: k = 55, 1 random draw(s), blocks layer1, layer2, ")


def test_updating_the_head_is_of_its_kind_under_the_name_of_linear_probing(view: View) -> None:
    found = {kind: [*selection_rules.of_kind(view.results, kind)]
             for kind in selection_rules.BEST_IN_TABLE_4}  # fmt: skip
    assert found == {
        "random": ["random 0", "random 1"],
        "update": ["update layer4", "update fc"],
        "freeze": ["freeze layer4"],
    }


def test_what_trains_is_given_from_the_lowest_to_the_highest_seed(view: View) -> None:
    _, table, source = selection_rules.what_trains(view)
    rows = table.set_index("setting")
    assert rows.loc["update fc"].tolist() == ["3 – 7", "3,000 – 7,000"]
    assert rows.loc["full fine-tuning"].tolist() == ["5", "5,100"]
    assert source is view


def test_the_masks_stand_beside_the_paper(view: View) -> None:
    figure, table, source = selection_rules.beside_paper(view)
    assert len(figure.axes) == 3
    told = table.set_index("setting")["WST, paper"]
    assert [name for name, number in told.items() if number] == ["SFT with a cosine mask", "SFT"]
    assert source is view


def test_the_mask_is_compared_with_every_other_setting(view: View) -> None:
    _, table = selection_rules.seed_by_seed(view)
    found = {row["difference"]: row["WST"].split()[0] for row in table.to_dict("records")}
    assert len(found) == len(ROWS) - 1
    assert found["SFT − ERM"] == "+41.00"
    assert found["SFT − freeze layer4"] == "-5.00"
    assert selection_rules.seed_by_seed(without(view, "mask")) == []


def test_the_best_of_each_kind_stands_beside_the_best_of_the_paper(view: View) -> None:
    _, table, differences, source = selection_rules.best_of_each_kind(view)
    assert table["setting"].tolist() == [
        "best of random tensors, on test data: random 1",
        "best of updating one block, on test data: update fc",
        "best of freezing one block, on test data: freeze layer4",
        "SFT with a cosine mask",
        "SFT",
    ]
    assert [cell.split()[0] for cell in table["WST"]] == [
        "37.00", "50.00", "61.00", "52.00", "56.00",
    ]  # fmt: skip
    assert (table["WST, paper"] != "").all()
    assert [cell.split()[0] for cell in differences["WST"]] == [
        "+19.00", "+6.00", "-5.00", "+4.00",
    ]  # fmt: skip
    assert "data, 10 runs, seeds 0-1" in source.text  # of what is shown, not of all
    assert selection_rules.best_of_each_kind(without(view, "mask")) == []


def test_ways_to_choose_are_read_off_on_the_test_part(view: View) -> None:
    _, table = selection_rules.ways_to_choose(view)
    # Of one frozen block there is nothing to choose.
    assert table[["kind", "chosen by", "setting", "WST"]].to_numpy().tolist() == [
        ["random tensors", "test WST, as above", "random 1", "37.00"],
        ["random tensors", "validation WST", "random 1", "37.00"],
        ["random tensors", "validation ACC", "random 0", "33.00"],
        ["random tensors", "nothing: the mean", "all 2", "35.00"],
        ["updating one block", "test WST, as above", "update fc", "50.00"],
        ["updating one block", "validation WST", "update layer4", "45.00"],
        ["updating one block", "validation ACC", "update layer4", "45.00"],
        ["updating one block", "nothing: the mean", "all 2", "47.50"],
        ["SFT", "", "mask, k = 55", "56.00"],
    ]
    assert selection_rules.ways_to_choose(without(view, "mask")) == []
    assert selection_rules.ways_to_choose(without(view, "random 0", "update fc")) == []


def test_one_setting_is_told_and_not_drawn(view: View) -> None:
    erm = without(view, *(key for key in ROWS if key != "erm"))
    said, table, _ = selection_rules.beside_paper(erm)
    assert said == "**data**: no fine-tuned model is among these runs."
    assert isinstance(table, pd.DataFrame)
    assert selection_rules.what_trains(erm) == []


# Absolute against cosine


def test_two_masks_are_compared_seed_by_seed(computed: Computed) -> None:
    records = computed.masks["train, augmented"]
    results = {"train, augmented": records}
    view = View("data", results, "again", computed.profile, "aim-fair")
    _, table, source = selection_rules.two_masks(view, 40)
    assert isinstance(source, Html)
    assert len(table) == len(records) == 3
    for record, (_, row) in zip(records, table.iterrows(), strict=True):
        for kind in ("absolute", "cosine"):
            values = record.results["draws"][0][kind]
            spearman = stats.spearmanr(values["domain"], values["fairness"]).statistic
            assert row[f"rank correlation, {kind}"] == f"{spearman:+.2f}"
        a, c = (mask_by_hand(record, 40, kind=kind) for kind in ("absolute", "cosine"))
        assert (row["tensors, absolute"], row["tensors, cosine"]) == (len(a), len(c))
        assert row["in both"] == len(a & c)
        assert row["Jaccard"] == f"{jaccard_by_hand(a, c):.2f}"
        shared = len(a) * len(c) / 62
        assert row["by chance, about"] == f"{shared / (len(a) + len(c) - shared):.2f}"
    nothing = selection_rules.two_masks(replace(view, results={}), 40)
    assert nothing == ["**data**: no sensitivities are among these runs."]


def test_two_empty_masks_are_the_same_by_chance_too(view: View) -> None:
    apart = ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])  # opposite rankings
    record = measured(draws=[apart], cosine=apart)
    whole = Record({**view.results["erm"][0].body, "results": record.results})
    measurements = replace(view, results={"train, augmented": [whole]})
    _, table, _ = selection_rules.two_masks(measurements, 2)
    assert isinstance(table, pd.DataFrame)
    (row,) = table.to_dict("records")
    assert row["tensors, absolute"] == row["tensors, cosine"] == 0
    assert row["Jaccard"] == row["by chance, about"] == "1.00"
