"""Made-up settings whose contrasts come out as a letter says, and a fit of settings and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.conftest import MakeRecord

from repro.chapters.win.contrasts import DP
from repro.study.claims import Claim, Contrast

Direction = Literal["less", "greater"]


def group(make: MakeRecord, gaps: Sequence[int]) -> list[Any]:
    """Return a record for each seed whose DP is gap / 2000 and whose EO sum is gap / 1000."""
    return [make(seed, (0, 0, 0, gap)) for seed, gap in enumerate(gaps)]


def claim(*contrasts: Contrast, **given: Any) -> Claim:
    """Return a claim whose plan has every setting that its contrasts name."""
    keys = {key for c in contrasts for key in c.keys}
    return Claim(
        "test", "Table 0", "It is so.", "no", lambda p, s: {k: [] for k in keys},
        lambda p: list(contrasts), **{"paper": "aim-fair", **given},
    )  # fmt: skip


def contrast(direction: Direction = "less", quantity: str = DP, **given: Any) -> Contrast:
    first, second = given.pop("pair", ("a", "b"))
    return Contrast("a against b", first, second, quantity, direction, **given)


# Of five seeds: clearly less, clearly more, much the same as less, neither, and less by little more
# than chance.
GAPS = {
    "less": (10, 20, 30, 15, 25),
    "more": (500, 520, 525, 510, 515),
    "same": (11, 20, 29, 16, 24),
    "mixed": (500, 0, 30, 10, 60),
    "hardly": (500, 420, 265, 210, 335),
}
PAIRS = {"s": ("less", "more"), "c": ("more", "less"), "a": ("less", "same"),
         "u": ("mixed", "less"), "h": ("hardly", "more")}  # fmt: skip


@pytest.fixture(scope="session")
def results(made_up: MakeRecord) -> dict[str, list[Any]]:
    return {name: group(made_up, found) for name, found in GAPS.items()}


def lettered(letters: str, **given: Any) -> Claim:
    return claim(*(contrast(pair=PAIRS[o]) for o in letters), **given)


def two_way(
    table: NDArray[np.float64],
) -> tuple[float, int, NDArray[np.float64], NDArray[np.float64]]:
    """Fit settings and seeds by least squares: residual variance, freedom, fit, (X'X)^+."""
    k, n = table.shape
    design = np.hstack([np.kron(np.eye(k), np.ones((n, 1))), np.tile(np.eye(n), (k, 1))])
    fitted, _, rank, _ = np.linalg.lstsq(design, table.ravel(), rcond=None)
    freedom = k * n - int(rank)
    left = float(((table.ravel() - design @ fitted) ** 2).sum())
    return left / freedom, freedom, fitted, np.linalg.pinv(design.T @ design)
