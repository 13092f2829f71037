"""What tables say of made-up records, and of real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.conftest import Computed, MakeRecord, first_seed

from repro.chapters.win import contrasts as win_contrasts
from repro.study import tables
from repro.study.records import Results, value

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
    shown = tables.differences(errors, ERROR, pairs)["Err"].tolist()
    assert len(shown) == 4
    assert shown[1].startswith("-1.00 [-1.00")
    text = tables.decided(errors, ERROR, pairs)
    assert text.startswith("Of 4 differences 1 are undecided at 95 %")
    assert "2 are below zero, in favour of the first (less − a, Err; a − more, Err)" in text
    assert "1 is above zero (more − a, Err)" in text
    few = {key: records[:2] for key, records in errors.items()}
    assert tables.decided(few, ERROR, pairs) == "Of 4 differences 4 are undecided at 95 %."


def test_a_mean_is_over_the_records_that_have_the_quantity(made_up: MakeRecord) -> None:
    records = [made_up(results={"error": error}) for error in (0.25, None, 0.75)]
    assert tables.mean_value(records, "results:error") == 0.5


METRICS = {win_contrasts.ERROR: "Err", win_contrasts.DP: "ΔDP", win_contrasts.EO: "ΔEO (sum)"}


def test_means_are_those_of_the_seeds_with_half_the_interval(computed: Computed) -> None:
    paper = {("tl", win_contrasts.DP): 0.2}
    table = tables.means(computed.strategies, METRICS, {"tl": "TL", "none": "-"}, paper)
    assert table["setting"].tolist() == ["TL"]
    sample = [value(record, win_contrasts.DP) for record in computed.strategies["tl"]]
    half = stats.ttest_1samp(sample, 0).confidence_interval(0.95).high - np.mean(sample)
    row = table.iloc[0]
    assert row["ΔDP"] == f"{100 * np.mean(sample):.2f} ± {100 * half:.2f}"
    assert row["ΔDP, paper"] == "20.00"
    assert row["Err, paper"] == ""
    assert row["seeds"] == "3"
    alone = tables.means(first_seed(computed.strategies), METRICS, {"tl": "TL"})
    assert alone.iloc[0]["ΔDP"] == f"{100 * sample[0]:.2f}"


def test_differences_are_paired(computed: Computed) -> None:
    pairs = [("WIN − TL", "win, rank 1", "tl")]
    row = tables.differences(computed.strategies, METRICS, pairs).iloc[0]
    first, second = (
        [value(record, win_contrasts.EO) for record in computed.strategies[key]]
        for key in ("win, rank 1", "tl")
    )
    low, high = stats.ttest_rel(first, second).confidence_interval(0.95)
    mean = np.mean(np.subtract(first, second))
    assert row["ΔEO (sum)"] == f"{100 * mean:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
    alone = tables.differences(first_seed(computed.strategies), METRICS, pairs).iloc[0]
    assert alone["ΔEO (sum)"] == f"{100 * (first[0] - second[0]):+.2f}"


def test_source_says_which_runs_and_how_to_get_them_again(computed: Computed) -> None:
    text = tables.source(computed.strategies, "a <set>", "make it <again>").text
    for records in computed.strategies.values():
        assert all(record.run in text for record in records)
    assert "a &lt;set&gt;, 24 runs, seeds 0-2" in text
    assert "make it &lt;again&gt;" in text
    assert "strategy win, rank 1, weight 0.5, seed 0" in text  # the seed 0 is a seed
    fair = tables.source(computed.tuned, "x", "y").text
    assert "constraint dp, intensity 0.5, seed 2" in fair


def test_source_says_that_the_sources_were_changed(made_up: MakeRecord) -> None:
    record = made_up()
    record.body["git_commit"] = "0123456789abcdef+changes"
    assert "commit 0123456789+changes" in tables.source([record], "x", "y").text


def test_seeds_are_listed_as_ranges(made_up: MakeRecord) -> None:
    records = [made_up(seed) for seed in (7, 0, 1, 2, 9, 10)]
    assert "seeds 0-2, 7, 9-10<" in tables.source(records, "x", "y").text


def test_tables_escape_what_they_hold() -> None:
    html = tables.show(pd.DataFrame({"a": ["<script>"]}))
    assert "<script>" not in html._repr_html_()
    assert "characters" in repr(html)


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ([{}], "the split of the people, the initialisation and the order of batches"),
        (
            [{"stage": "aim-train", "data": {"toy_seed": 3}}],
            "the toy faces (training, validation and test), initialisation, order, augmentation, "
            "and the draw of S1 and S2",
        ),
        (
            [{"stage": "aim-train", "data": {}, "synthetic": {"seed": s}} for s in (42, 43)],
            "prompts and synthetic images, initialisation, order, augmentation, and the draw of S1 "
            "and S2 (the photographs stay)",
        ),
        (
            [{"stage": "aim-finetune"}],  # of what it goes on from, no more is known
            "initialisation, order, augmentation, and the draw of S1 and S2",
        ),
        (
            [{"stage": "win-face-finetune"}],
            "the split of the new task's people and the head (backbone and test images stay)",
        ),
    ],
)
def test_what_seeds_vary_is_read_from_the_runs(
    made_up: MakeRecord, configs: list[dict[str, Any]], expected: str
) -> None:
    assert tables.varied([made_up(3, **config) for config in configs]) == expected
