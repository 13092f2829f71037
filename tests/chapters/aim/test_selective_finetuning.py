"""Chapter 25: what its page says of strategies, switches and domains further apart."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from tests.chapters.aim.drawings import points, ticks
from tests.chapters.conftest import view_of
from tests.conftest import Computed, MakeRecord, drawn

from repro.chapters.aim import selective_finetuning
from repro.chapters.aim.plans import with_faces
from repro.study.profiles import Start, load_profile
from repro.study.records import Results
from repro.study.runs import Record
from repro.study.session import View

NAMES = [
    "ERM", "training on synthetic images", "data supplementation", "data repairing",
    "linear probing", "full fine-tuning", "SFT",
]  # fmt: skip


def accuracy(record: Record) -> float:
    """Return the accuracy on the test part in per cent, from the counts [t][p][predicted]."""
    counts = np.asarray(record.body["counts"]["test"])
    return float(100 * np.trace(counts.sum(axis=1)) / counts.sum())


@pytest.fixture
def view(computed: Computed) -> View:
    return View("data", computed.table_3, "again", computed.profile, "aim-fair")


def test_each_strategy_is_told_by_its_rule(computed: Computed) -> None:
    table = selective_finetuning.what_trains(computed.profile).set_index("strategy")
    assert table.index.tolist() == NAMES
    assert table.loc["data repairing", ["starts from", "images"]].tolist() == [
        "initial", "repaired",
    ]  # fmt: skip
    assert table.loc["SFT", "starts from"] == "pretrained"
    few = with_faces(computed.profile, strategies=("mask", "erm"))
    assert selective_finetuning.what_trains(few)["strategy"].tolist() == ["ERM", "SFT"]


def test_schedules_are_those_of_the_profile() -> None:
    training, tuning = selective_finetuning.schedules(view_of({}).profile)
    assert training == (
        "Profile `desk`, training: SGD, rate 0.05, 10 epochs, batches of 128, kept epoch by "
        "accuracy on real validation images."
    )
    assert "fine-tuning: SGD, rate 0.05, 10 epochs" in tuning


def test_every_strategy_of_a_view_has_its_name(view: View) -> None:
    shown = [name for key, name in selective_finetuning.NAMES.items() if key in view.results]
    assert shown == NAMES
    places = [list(selective_finetuning.NAMES).index(key) for key in ("erm", "cosine mask", "mask")]
    assert places == sorted(places)


def test_the_papers_table_3_stands_beside_photographs(made_up: MakeRecord) -> None:
    results: Results = {"mask": [made_up(1)], "erm": [made_up(0)]}
    real = view_of(results, about="aim-fair")
    figure, table, source = selective_finetuning.beside_paper(real)
    assert source is real
    # Table 3, Smiling | Male on CelebA.
    assert table[["setting", "EO (max), paper"]].to_numpy()[0].tolist() == ["ERM", "23.84"]
    shown = [round(y, 2) for axes in drawn(figure).axes for _, y in points(axes, "D")]
    assert shown == [89.23, 89.02, 71.52, 84.2, 23.84, 6.07]  # ERM and SFT: ACC, WST, EO
    groups = drawn(selective_finetuning.groups_figure(real)).axes[0]
    assert ticks(groups) == ["ERM", "SFT"]
    printed = {83.57, 98.5, 95.36, 71.52}
    assert printed <= {round(y, 2) for _, y in points(groups, "D")}
    simulated = selective_finetuning.groups_figure(view_of(results, "quick", "aim-fair"))
    assert points(simulated.axes[0], "D") == []


def test_sft_is_compared_with_every_other_strategy(view: View) -> None:
    _, table = selective_finetuning.seed_by_seed(view)
    assert table["difference"].tolist() == [f"SFT − {name}" for name in NAMES[:-1]]
    pairs = zip(view.results["mask"], view.results["linear probing"], strict=True)
    expected = np.mean([accuracy(a) - accuracy(b) for a, b in pairs])
    cell = table.set_index("difference").loc["SFT − linear probing", "ACC"]
    assert str(cell).split()[0] == f"{expected:+.2f}"


def test_without_sft_or_without_others_the_page_says_so(made_up: MakeRecord) -> None:
    assert selective_finetuning.seed_by_seed(view_of({"erm": [made_up(0)]})) == [
        "**some data**: SFT is not among these runs."
    ]
    assert selective_finetuning.seed_by_seed(view_of({"mask": [made_up(0)]})) == [
        "**some data**: nothing but SFT is among these runs."
    ]


def test_what_trained_is_folded_below_the_papers_arithmetic(view: View) -> None:
    _, table, folded = selective_finetuning.as_printed(view)
    assert table["setting"].tolist() == NAMES
    accuracies = [accuracy(record) for record in view.results["erm"]]
    assert table.loc[0, "ACC"] == f"{np.mean(accuracies):.2f}"
    assert folded.text.startswith("<details><summary>images, tensors and parameters")
    assert "<td>33</td>" in folded.text  # a head of 32 inputs and a bias: linear probing


def test_each_switch_is_compared_with_the_authors_way(computed: Computed) -> None:
    results = {
        key.removeprefix("switches: "): records
        for key, records in computed.everything.items()
        if key.startswith("switches: ")
    }
    _, table, differences, source = selective_finetuning.switch_by_switch(view_of(results))
    assert table["setting"].tolist() == list(results)
    assert isinstance(source, View)
    switched = {
        "linear probing: statistics freeze − move": (
            "linear probing, statistics freeze", "linear probing, statistics move",
        ),
        "mask: statistics freeze − move": ("mask, statistics freeze", "mask, statistics move"),
        "mask: gradients eval − train": (
            "mask, gradients in eval mode", "mask, statistics move",
        ),
        "mask: frozen decay − stay": ("mask, frozen tensors decay", "mask, statistics move"),
    }  # fmt: skip
    assert differences["difference"].tolist() == list(switched)
    for cell, (first, second) in zip(differences["ACC"], switched.values(), strict=True):
        pairs = zip(results[first], results[second], strict=True)
        expected = np.mean([accuracy(a) - accuracy(b) for a, b in pairs])
        assert float(cell.split()[0]) == pytest.approx(expected, abs=0.006)
    assert selective_finetuning.switch_by_switch(view_of({})) == [
        "**some data**: no fine-tuned model is among these runs."
    ]


@pytest.mark.parametrize(("usual", "told"), [(None, "1"), (0.5, "0.5"), (0.0, "0")])
def test_domains_further_apart_are_told_with_the_usual_gap(
    made_up: MakeRecord, usual: float | None, told: str
) -> None:
    # Of 4000 people: SFT reads 400 of group (1,1) right more than ERM, which reads all as 0.
    results: Results = {"erm": [made_up(0)], "mask": [made_up(0, (0, 0, 0, 400))]}
    quick = view_of(results, "quick").profile
    data = quick.faces.data.model_copy(update={"toy_domain_gap": usual})
    apart = with_faces(quick, data=data, wider_gap=2.5)
    wide = View("data", results, "again", apart, "aim-fair")
    heading, table, differences, source = selective_finetuning.further_apart(wide)
    assert heading == f"**data**, domain gap 2.5 in place of {told}"
    assert table["setting"].tolist() == ["ERM", "SFT"]
    assert differences[["difference", "ACC"]].to_numpy().tolist() == [["SFT − ERM", "+10.00"]]
    assert source is wide


def test_where_faces_smile_less_the_page_says_whether_the_premise_holds(
    made_up: MakeRecord,
) -> None:
    # Of 1000 people a group: ERM reads 400 of (1,1) right, the one of synthetic images 100 more of
    # (1,0), which leaves three quarters of the gap.
    results: Results = {
        "erm": [made_up(0, (0, 0, 0, 400))],
        "synthetic only": [made_up(0, (0, 0, 100, 400))],
    }
    quick = with_faces(load_profile("quick"), fainter_smile=0.25)
    faint = View("data", results, "again", quick, "aim-fair")
    heading, table, differences, premise, source = selective_finetuning.smiling_less(faint)
    assert heading == (
        "**data**, smiles 0.25 as visible before the camera in place of 1; the synthetic ones "
        "smile as ever"
    )
    assert table["setting"].tolist() == ["ERM", "training on synthetic images"]
    assert differences["ACC"].tolist() == ["+2.50"]
    assert "**fails**: equalised odds (max) of 30.0 after synthetic images alone, 75%" in str(
        premise
    )
    assert source is faint


def test_what_started_elsewhere_is_set_against_its_own_erm(made_up: MakeRecord) -> None:
    results: Results = {
        "from scratch, erm": [made_up(0, (0, 0, 0, 200))],
        "from scratch, mask": [made_up(0, (0, 0, 0, 600))],
        "from fairface, erm": [made_up(0, (0, 0, 0, 400))],
        "from fairface, mask": [made_up(0, (0, 0, 0, 600))],
    }
    desk = with_faces(load_profile("desk"), also_from=("scratch", "fairface"))
    view = View("data", results, "again", desk, "aim-fair")
    _, table, differences, source = selective_finetuning.started_elsewhere(view)
    assert table["setting"].tolist() == [
        "ERM, from random weights",
        "SFT, from random weights",
        "ERM, from a backbone of FairFace's labels",
        "SFT, from a backbone of FairFace's labels",
    ]
    assert differences[["difference", "ACC"]].to_numpy().tolist() == [
        ["SFT, from random weights − ERM", "+10.00"],
        ["SFT, from a backbone of FairFace's labels − ERM", "+5.00"],
    ]
    assert source is view


def test_every_beginning_has_words() -> None:
    assert selective_finetuning.INITIALISATIONS.keys() == set(get_args(Start))


def test_the_premise_is_told_with_the_papers_numbers() -> None:
    # Table 3 prints 7.87 and 23.84.
    text = selective_finetuning.premise_in_words()
    assert "an EO of 7.9 on CelebA, where ERM has 23.8." in text
