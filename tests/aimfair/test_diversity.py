"""Measures of diversity, against sets small enough to count by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.aimfair.diversity import distinct, diversity, entropy
from repro.aimfair.prompt_form import KINDS, Task, put_together
from repro.aimfair.prompt_writer import write_offline

TASK = Task("Smiling", "Male")


def prompt(*context: str) -> str:
    return put_together("smiling male", context)


def test_two_prompts_counted_by_hand() -> None:
    row = diversity([prompt("brown hair", "glasses"), prompt("brown hair", "earrings")])
    assert row["prompts"] == row["facets"] == 2
    assert row["entropy: head pose"] == row["entropy: hair"] == 0
    assert row["entropy: accessories"] == 1
    # brown hair glasses, brown hair earrings: 4 of 6 words, 3 of 4 pairs of words
    assert row["distinct-1"] == pytest.approx(4 / 6)
    assert row["distinct-2"] == pytest.approx(3 / 4)
    assert row["jaccard distance"] == pytest.approx(1 - 2 / 4)
    # idf with the default smoothing: 1 for the shared words, w for the others
    w = math.log(3 / 2) + 1
    assert row["tf-idf distance"] == pytest.approx(1 - 2 / (2 + w**2))


def test_no_pair_of_words_crosses_prompts() -> None:
    assert distinct([["a", "b"], ["c", "d"]], 2) == 1
    assert distinct([["a"], ["a"]], 1) == 0.5
    assert distinct([["a"]], 2) == 0
    with pytest.raises(ValueError, match="1 or 2"):
        distinct([["a"]], 3)


def test_equal_and_single_and_plain_prompts_have_no_variety() -> None:
    same = diversity([prompt("brown hair", "glasses")] * 3)
    plain = diversity([prompt()] * 2)
    for row in (same, plain, diversity([prompt("brown hair", "glasses")])):
        assert row["jaccard distance"] == row["tf-idf distance"] == pytest.approx(0)
    assert plain["facets"] == plain["distinct-1"] == 0
    mixed = diversity([prompt(), prompt(), prompt("brown hair", "glasses")])
    assert mixed["tf-idf distance"] == mixed["jaccard distance"] == pytest.approx(2 / 3)


def test_the_subject_is_not_measured() -> None:
    other = put_together("female not smiling,", ["brown hair", "glasses"])
    assert diversity([prompt("brown hair", "glasses"), other])["jaccard distance"] == 0


@given(st.lists(st.sampled_from("abcd"), max_size=30))
def test_entropy_is_bounded(items: list[str]) -> None:
    assert 0 <= entropy(items) <= math.log2(max(1, len(set(items)))) + 1e-9
    assert entropy(items) == pytest.approx(entropy(sorted(items)))


def test_entropy_of_equal_shares() -> None:
    assert entropy("aabbccdd") == 2
    assert entropy([]) == 0


def test_sets_of_table_5_are_told_apart() -> None:
    def written(kind: str, n: int) -> list[str]:
        return write_offline(TASK, (1, 1), n, kind=kind)

    sets = [(KINDS[0], 1), (KINDS[1], 25), (KINDS[1], 50), (KINDS[2], 50)]
    table = pd.DataFrame([diversity(written(kind, n)) for kind, n in sets])
    assert list(table["facets"]) == [0, 3, 3, 4]
    assert table["entropy: hair"].is_monotonic_increasing
    assert list(table["entropy: head pose"] > 0) == [False, False, False, True]
    assert (table["jaccard distance"].iloc[1:] > 0.8).all()
    assert table.map(math.isfinite).all().all()


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(ValueError, match="no prompt"):
        diversity([])
    assert diversity(["not a prompt at all"])["facets"] == 0
