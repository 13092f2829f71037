"""Chapter 43: WIN on deeper classifiers of Adult (Table 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.reported import table_4, win_value
from repro.chapters.substitutions import PARTS
from repro.chapters.win.contrasts import (
    DP,
    EO,
    ERROR,
    RANK,
    READING,
    SHORT,
    SILENT,
    SPLIT,
    difference,
    finds_fairness,
    unfair,
)
from repro.chapters.win.plans import strategies
from repro.chapters.win.tables import measured, named
from repro.chapters.win.win_on_adult import NOTEBOOK
from repro.study.claims import Claim, Contrast
from repro.study.experiments import Plan, experiment
from repro.study.figures import settings_figure
from repro.study.profiles import Profile
from repro.study.session import View


@experiment(NOTEBOOK, part="win")
def architectures(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 4: the strategies for each deeper classifier; keys ``mlp-3, win, rank 1``."""
    return {
        f"{name}, {key}": configs
        for name in profile.win.architectures
        for key, configs in strategies(profile, seeds, architecture=name).items()
    }


def _table_4(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    # Table 4 has no row of TL: the advantage that is to be kept is that of Figure 4.
    return lambda profile: [
        Contrast(
            f"{architecture.upper()}, WIN against TL: {SHORT[metric]}",
            f"{architecture}, win, rank 1",
            f"{architecture}, tl",
            metric,
            "less",
            elsewhere=difference("fig4", "WIN", "TL", metric),
            slack=READING[metric],
            check=unfair(
                win_value("fig4", "TL", EO),
                architectures,
                f"{architecture}, tl",
                f"plain fine-tuning of the last layer of {architecture.upper()}",
            ),
        )
        for architecture in profile.win.architectures
        for metric in metrics
    ]


def _widths(profile: Profile) -> str:
    return ", ".join(name.upper() for name in profile.win.architectures)


def deeper_figure(view: View) -> Figure:
    """Table 4: the two gaps of each deeper classifier, at rank 1."""
    names = {key: name for key, name in named(view.results).items() if "rank 2" not in key}
    paper = view.paper(table_4())
    return settings_figure(view.results, [DP, EO], names=names, reported=paper, title=view.label)


def deeper_table(view: View) -> pd.DataFrame:
    """Table 4: the three metrics of each deeper classifier, beside the paper's."""
    return measured(view, table_4())


CLAIMS = (
    Claim(
        "architectures",
        "Table 4",
        lambda profile: (
            "WIN (rank 1) keeps its advantage in fairness over TL with deeper classifiers "
            f"({_widths(profile)})."
        ),
        NOTEBOOK,
        architectures,
        _table_4((EO,)),
        (RANK, SILENT, SPLIT, "hidden widths are not given: 10 throughout, the head stays 10 x 2"),
        _table_4((DP, ERROR)),
        touches=PARTS - {"depth"},
        control=finds_fairness,
    ),
)
