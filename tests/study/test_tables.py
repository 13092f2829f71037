"""What tables say of made-up records."""

from __future__ import annotations

import pytest
from tests.conftest import MakeRecord

from repro.study.records import Results
from repro.study.tables import decided, differences, mean_value

ERROR = {"results:error": "Err"}


@pytest.fixture
def errors(made_up: MakeRecord) -> Results:
    """Return three seeds whose errors differ by the same between any two settings."""
    return {
        key: [made_up(seed, results={"error": error + 0.01 * seed}) for seed in range(3)]
        for key, error in {"a": 0.3, "same": 0.3, "less": 0.29, "more": 0.4}.items()
    }


def test_what_is_decided_is_counted_as_the_table_shows_it(errors: Results) -> None:
    pairs = [(f"{one} − {two}", one, two) for one, two in (("same", "a"), ("less", "a"),
             ("a", "more"), ("more", "a"), ("a", "not there"))]  # fmt: skip
    shown = differences(errors, ERROR, pairs)["Err"].tolist()
    assert len(shown) == 4
    assert shown[1].startswith("-1.00 [-1.00")
    text = decided(errors, ERROR, pairs)
    assert text.startswith("Of 4 differences 1 are undecided at 95 %")
    assert "2 are below zero, in favour of the first (less − a, Err; a − more, Err)" in text
    assert "1 is above zero (more − a, Err)" in text
    few = {key: records[:2] for key, records in errors.items()}
    assert decided(few, ERROR, pairs) == "Of 4 differences 4 are undecided at 95 %."


def test_a_mean_is_over_the_records_that_have_the_quantity(made_up: MakeRecord) -> None:
    records = [made_up(results={"error": error}) for error in (0.25, None, 0.75)]
    assert mean_value(records, "results:error") == 0.5
