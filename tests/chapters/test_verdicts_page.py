from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.figure import Figure
from tests.conftest import Computed

from repro.chapters import verdicts_page as page
from repro.study.experiments import claim_named
from repro.study.rule import SIGNS
from repro.study.session import View
from repro.study.verdicts import decide


@pytest.fixture
def found(computed: Computed) -> list[page.Answer]:
    """Return two claims, each by the runs of ``tiny`` under two labels."""
    view = View("some data", computed.strategies, "again", computed.profile)
    answers = []
    for name in ("win-vs-in-processing", "win-vs-tl-rank-1"):
        claim = claim_named(name)
        verdict = decide(claim, computed.profile, computed.strategies, computed.runs)
        answers += [
            page.Answer(claim, replace(view, label=at), verdict) for at in ("here", "there")
        ]
    return answers


def test_each_kind_of_data_has_its_count_and_its_table(found: list[page.Answer]) -> None:
    parts = list(page.at_a_glance(found))
    assert [part for part in parts if str(part).startswith("###")] == ["### here", "### there"]
    counts, table = parts[1:3]
    assert isinstance(counts, str)
    assert counts[0] in SIGNS.values()
    assert isinstance(table, pd.DataFrame)
    assert len(table) == 2


def test_each_claim_is_headed_once_and_shown_by_each_view(found: list[page.Answer]) -> None:
    parts = list(page.claim_by_claim(found))
    assert sum(str(part).startswith("### ") for part in parts) == 2
    assert [part for part in parts if isinstance(part, View)] == [a.view for a in found]
    told = [part for part in parts if isinstance(part, str)]
    assert sum("Chapter: `43_win_on_adult`." in part for part in told) == 4
    assert sum(part.startswith("*What was substituted:* ") for part in told) == 4
    # On simulated data the contrasts stand folded.
    assert sum("<summary>its contrasts</summary>" in getattr(p, "text", "") for p in parts) == 4


def test_parameters_are_those_of_one_claim(found: list[page.Answer]) -> None:
    parts = list(page.parameter_counts(found))
    assert parts[::2] == ["**here**", "**there**"]
    assert all(isinstance(part, pd.DataFrame) for part in parts[1::2])


def test_errors_of_the_rule_need_noise(found: list[page.Answer]) -> None:
    silent = [replace(a, verdict=replace(a.verdict, judged=())) for a in found]
    assert list(page.rule_errors(silent)) == []
    words, figure, table = list(page.rule_errors(found))[:3]
    assert str(words).startswith("**With the noise of here**")
    assert isinstance(figure, Figure)
    assert all(str(share).endswith("%") for share in table.iloc[:, -1])
