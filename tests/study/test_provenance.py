"""Precision and machine are said from the records, of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from repro.study import provenance, tables
from repro.study.runs import Record

MakeRecord = Callable[..., Record]
HALF = {"precision": "bfloat16", "epochs": 3}


@pytest.mark.parametrize(
    ("config", "body", "expected"),
    [
        ({"optimisation": HALF}, {"precision": "float32"}, "float32"),
        ({"optimisation": HALF}, {"precision": "bfloat16"}, "bfloat16"),
        # Records of before: with words on the machine, and those before the words, which were
        # computed in what the settings said.
        ({"optimisation": HALF}, {"machine": "X, 2 cores, float32 for bfloat16"}, "float32"),
        ({"optimisation": HALF}, {"machine": "X, 2 cores, bfloat16 in hardware"}, "bfloat16"),
        ({"optimisation": HALF}, {"machine": "X, 2 cores"}, "bfloat16"),
        ({"optimisation": {"precision": "float32"}}, {"machine": "X"}, "float32"),
        ({"optimisation": {"epochs": 3}}, {}, "float32"),  # WIN has no such setting
        ({}, {}, "float32"),
    ],
)
def test_a_record_knows_its_precision(
    made_up: MakeRecord, config: dict[str, Any], body: dict[str, Any], expected: str
) -> None:
    record = made_up(**config)
    record.body.update(body)
    assert record.precision == expected


def records(made_up: MakeRecord, *told: tuple[str, str]) -> list[Record]:
    found = []
    for seed, (machine, precision) in enumerate(told):
        record = made_up(seed)
        record.body.update(machine=machine, precision=precision)
        found.append(record)
    return found


def test_words_are_of_all_records(made_up: MakeRecord) -> None:
    a, b = ("CPU A, 2 cores", "float32"), ("CPU B, 4 cores", "bfloat16")
    one = records(made_up, a, a)
    assert provenance.precision_in_words(one) == "float32"
    assert provenance.machines_in_words(one) == "CPU A, 2 cores, in float32"
    assert provenance.precision_substitution(one) is None
    one[0].body["numbers"] = "portable"
    assert provenance.machines_in_words(one[:1]).endswith("in float32, portable")
    mixed = records(made_up, a, b, b)
    assert provenance.precision_in_words(mixed) == "bfloat16 (2 runs); float32 (1 run)"
    assert provenance.machines_in_words(mixed) == (
        "CPU B, 4 cores, in bfloat16 (2 runs); CPU A, 2 cores, in float32 (1 run)"
    )
    assert provenance.precision_substitution(mixed) == (
        "bfloat16 with float32 weights in 2 of 3 runs, not float32"
    )
    assert provenance.precision_substitution(records(made_up, b)) == (
        "bfloat16 with float32 weights, not float32"
    )
    assert provenance.precision_in_words([]) == "no runs"


def test_the_line_under_a_table_names_every_machine(made_up: MakeRecord) -> None:
    mixed = records(made_up, ("CPU A", "float32"), ("CPU B", "float32"))
    mixed[1].body["versions"] = {"torch": "3"}
    text = tables.source(mixed, "x", "y").text
    assert "on CPU A, in float32 (1 run); CPU B, in float32 (1 run); torch 2, 3" in text
