"""Chapter 45, continued: WIN on images with other backbones (Table 4)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from repro.chapters.win.contrasts import DP, EO, ERROR, SHORT, each_below
from repro.chapters.win.face_plans import strategies
from repro.chapters.win.plans import under_each
from repro.chapters.win.tables import named, win_against_tl
from repro.chapters.win.win_on_faces import (
    MAIN,
    NOTEBOOK,
    SUBSTITUTIONS,
    finds_fairness,
    tl_unfair,
)
from repro.study.claims import Claim, Contrast
from repro.study.experiments import Plan, experiment
from repro.study.profiles import Profile
from repro.study.session import View
from repro.study.tables import means


def heads(profile: Profile) -> dict[str, str]:
    """Return the other backbones, as keys begin with them, and in words."""
    return {name: name for name in (profile.win.faces.architectures if profile.win.faces else ())}


@experiment(NOTEBOOK, part="win-faces")
def architectures(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 4 on images: the strategies for other backbones; keys ``resnet50, win, rank 1``."""
    return under_each(heads(profile), lambda name: strategies(profile, seeds, architecture=name))


def _table_4(profile: Profile, *metrics: str) -> list[Contrast]:
    own = profile.win.faces
    named = heads(profile) if own is not None and 1 in own.ranks else {}
    return each_below(
        named, metrics, MAIN, lambda key, who: tl_unfair(profile, architectures, key, who)
    )


def _backbones(profile: Profile) -> str:
    names = ", ".join(heads(profile))
    which = f" ({names})" if names else ""
    return f"On faces WIN (rank 1) keeps its lead in fairness over TL with other backbones{which}."


def backbones_tables(view: View) -> list[pd.DataFrame]:
    """Table 4: the three metrics with each backbone, and how WIN differs from TL."""
    own = heads(view.profile)
    return [means(view.results, SHORT, named(view.results, own)), win_against_tl(view, own)]


CLAIMS = (
    Claim(
        "backbones",
        "Table 4",
        _backbones,
        NOTEBOOK,
        architectures,
        lambda profile: _table_4(profile, EO),
        SUBSTITUTIONS,
        lambda profile: _table_4(profile, DP, ERROR),
        paper="win-faces",
        control=finds_fairness,
    ),  # whether TL is unfair each contrast checks for its own backbone
)
