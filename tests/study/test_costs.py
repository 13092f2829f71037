"""What runs cost, added up by hand."""

from __future__ import annotations

from tests.conftest import MakeRecord

from repro.study.costs import costs_markdown
from repro.study.runs import Record


def cost(make: MakeRecord, seed: int, seconds: float, **config: str) -> Record:
    record = make(seed, (1, 1, 1, 1), **config)
    return Record({**record.body, "seconds": seconds})


def test_costs_are_sums_and_medians_by_part_and_stage(made_up: MakeRecord) -> None:
    records = [
        cost(made_up, 0, 60.0, paper="win", stage="train"),
        cost(made_up, 1, 90.0, paper="win", stage="train"),
        cost(made_up, 1, 120.0, paper="win", stage="train"),
        cost(made_up, 0, 300.0, paper="win", stage="tune"),
        cost(made_up, 7, 1.0, paper="aim-fair", stage="tune"),
    ]
    assert costs_markdown(records, "toy").splitlines()[2:] == [
        "| aim-fair | tune | 1 | 1 | 1.0 | 0.0 |",
        "| win | tune | 1 | 1 | 300.0 | 5.0 |",
        "| win | train | 3 | 2 | 90.0 | 4.5 |",
        "| all | | 5 | | | 9.5 |",
    ]


def test_nothing_recorded_is_said() -> None:
    assert costs_markdown([], "toy") == "No run of profile `toy` is recorded.\n"
