"""Chapter 45, continued: WIN on images with other backbones (Table 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from repro.chapters.win.contrasts import DP, EO, ERROR, READING, SHORT
from repro.chapters.win.face_plans import settings_of, strategies
from repro.chapters.win.tables import compared, named
from repro.chapters.win.win_on_faces import MAIN, NOTEBOOK, SUBSTITUTIONS, difference, tl_unfair
from repro.study.claims import Claim, Contrast
from repro.study.experiments import Plan, experiment
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import View
from repro.study.tables import means


@experiment(NOTEBOOK, part="win-faces")
def architectures(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 4 on images: the strategies for other backbones; keys ``resnet50, win, rank 1``."""
    return {
        f"{name}, {key}": configs
        for name in (profile.win.faces.architectures if profile.win.faces else ())
        for key, configs in strategies(profile, seeds, architecture=name).items()
    }


def _table_4(metrics: Sequence[str]) -> Callable[[Profile], list[Contrast]]:
    # Table 4 has no row of TL: the advantage that is to be kept is that of Figure 4.
    def contrasts(profile: Profile) -> list[Contrast]:
        own = profile.win.faces
        return [
            Contrast(
                f"{architecture}, WIN against TL: {SHORT[metric]}",
                f"{architecture}, win, rank 1",
                f"{architecture}, tl",
                metric,
                "less",
                elsewhere=difference(MAIN, "WIN", "TL", metric),
                slack=READING[metric],
                check=tl_unfair(
                    profile,
                    architectures,
                    f"{architecture}, tl",
                    f"plain fine-tuning of the last layer of {architecture}",
                ),
            )
            for architecture in (own.architectures if own is not None and 1 in own.ranks else ())
            for metric in metrics
        ]

    return contrasts


def _backbones(profile: Profile) -> str:
    names = ", ".join(profile.win.faces.architectures if profile.win.faces else ())
    which = f" ({names})" if names else ""
    return f"On faces WIN (rank 1) keeps its lead in fairness over TL with other backbones{which}."


def backbones_table(results: Results) -> pd.DataFrame:
    """Table 4: the three metrics of each strategy with each backbone."""
    return means(results, SHORT, named(results))


def backbone_differences(view: View) -> pd.DataFrame:
    """Table 4: how WIN differs from TL with each backbone."""
    own = settings_of(view.profile)
    return compared(
        view.results,
        [
            (f"{name}: WIN − TL, rank {rank}", f"{name}, win, rank {rank}", f"{name}, tl")
            for name in own.architectures
            for rank in own.ranks
        ],
    )


CLAIMS = (
    Claim(
        "backbones",
        "Table 4",
        _backbones,
        NOTEBOOK,
        architectures,
        _table_4((EO,)),
        SUBSTITUTIONS,
        _table_4((DP, ERROR)),
        paper="win-faces",
    ),  # whether TL is unfair each contrast checks for its own backbone
)
