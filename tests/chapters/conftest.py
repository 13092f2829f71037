"""What the tests of chapters share: a canvas without a screen, and views of given records."""

from __future__ import annotations

from dataclasses import replace

import pytest

from repro.study.profiles import Paper, load_profile
from repro.study.records import Results
from repro.study.session import View


@pytest.fixture(autouse=True)
def _canvas(canvas: None) -> None:
    """Every chapter draws."""


def without(view: View, *keys: str) -> View:
    """Return a view without the records of some settings."""
    return replace(view, results={k: r for k, r in view.results.items() if k not in keys})


def view_of(results: Results, profile: str = "desk", about: Paper = "win") -> View:
    """Return a view of records as if of a profile; of ``desk`` the paper's numbers stand beside."""
    return View("some data", results, "again", load_profile(profile), about)
