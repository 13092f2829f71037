"""What counts of a difference, by what the paper reports of it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.study.conftest import contrast

from repro.study.claims import AUC_MARGIN, MARGIN


@pytest.mark.parametrize(
    ("given", "margin"),
    [
        ({}, MARGIN),
        ({"reported": -0.06}, 0.03),
        ({"elsewhere": -0.06}, 0.03),
        ({"reported": -0.004, "elsewhere": -0.06}, 0.002),
        ({"reported": 0.06}, MARGIN),  # the paper's own number is on the other side
        ({"reported": -0.06, "slack": 0.04}, MARGIN),  # half of it could be a misreading
        ({"reported": -0.06, "slack": 0.02}, 0.03),
        ({"reported": -0.06, "kind": "no worse"}, MARGIN),
        ({"quantity": "results:separation_auc"}, AUC_MARGIN),
    ],
)
def test_the_margin_is_half_of_what_the_paper_reports(given: Any, margin: float) -> None:
    assert contrast(**given).margin == pytest.approx(margin)
    turned = {k: -v if k in ("reported", "elsewhere") else v for k, v in given.items()}
    assert contrast("greater", **turned).margin == pytest.approx(margin)
    assert (MARGIN, AUC_MARGIN) == (0.01, 0.05)
