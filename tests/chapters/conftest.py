"""What the tests of chapters share: a canvas without a screen, and views of given records."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

from repro.study import figures
from repro.study.profiles import load_profile
from repro.study.records import Results
from repro.study.session import View


@pytest.fixture(autouse=True)
def canvas() -> Iterator[None]:
    """Draw without a screen, and leave no figure and no setting behind."""
    with mpl.rc_context(), plt.rc_context({"backend": "agg"}):
        figures.style()
        yield
        plt.close("all")


def drawn(figure: Figure) -> Figure:
    """Render; a layout that fails only shows then."""
    figure.canvas.draw()
    return figure


def view_of(results: Results, profile: str = "desk") -> View:
    """Return a view of records as if of a profile; of ``desk`` the paper's numbers stand beside."""
    return View("some data", results, "again", load_profile(profile))


def first_seed(results: Results) -> Results:
    return {key: records[:1] for key, records in results.items()}
