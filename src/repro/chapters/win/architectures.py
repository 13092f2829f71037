"""Chapter 43: WIN on deeper classifiers of Adult (Table 4)."""

from __future__ import annotations

from collections.abc import Sequence

from repro.chapters.reported import win_keyed, win_value
from repro.chapters.substitutions import PARTS
from repro.chapters.win.configs import key_of
from repro.chapters.win.contrasts import (
    DP,
    EO,
    ERROR,
    ON_ADULT,
    SHORT,
    each_below,
    finds_fairness,
    unfair,
)
from repro.chapters.win.plans import strategies, under, under_each
from repro.chapters.win.tables import at_one, named, win_against_tl
from repro.chapters.win.win_on_adult import NOTEBOOK
from repro.study.claims import Claim, Contrast
from repro.study.experiments import Plan, experiment
from repro.study.figures import settings_figure
from repro.study.profiles import Profile
from repro.study.session import Part, View
from repro.study.tables import Reported, means


def heads(profile: Profile) -> dict[str, str]:
    """Return the deeper classifiers, as keys begin with them, and in words."""
    return {name: name.upper() for name in profile.win.architectures}


@experiment(NOTEBOOK, part="win")
def architectures(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Table 4: the strategies for each deeper classifier; keys ``mlp-3, win, rank 1``."""
    return under_each(heads(profile), lambda name: strategies(profile, seeds, architecture=name))


def _table_4(profile: Profile, *metrics: str) -> list[Contrast]:
    told = win_value("fig4", "TL", EO)
    return each_below(
        heads(profile), metrics, "adult", lambda key, who: unfair(told, architectures, key, who)
    )


def _reported(profile: Profile) -> Reported:
    """Return Table 4's rows on Adult, which are of WIN alone and give no rank."""
    return win_keyed(
        "4",
        {
            under(head, key_of("win", rank)): f"WIN, {name}"
            for head, name in heads(profile).items()
            for rank in profile.win.ranks
        },
    )


def deeper(view: View) -> list[Part]:
    """Table 4: gaps of each deeper classifier at rank 1, all metrics, and WIN against TL."""
    own, cut = heads(view.profile), at_one(view).results
    paper = view.paper(_reported(view.profile))
    figure = settings_figure(cut, [DP, EO], names=named(cut, own), reported=paper, title=view.label)
    table = means(view.results, SHORT, named(view.results, own), paper)
    return [figure, table, win_against_tl(view, own), view]


CLAIMS = (
    Claim(
        "architectures",
        "Table 4",
        lambda profile: (
            "WIN (rank 1) keeps its advantage in fairness over TL with deeper classifiers "
            f"({', '.join(heads(profile).values())})."
        ),
        NOTEBOOK,
        architectures,
        lambda profile: _table_4(profile, EO),
        (*ON_ADULT, "hidden widths are not given: 10 throughout, the head stays 10 x 2"),
        lambda profile: _table_4(profile, DP, ERROR),
        touches=PARTS - {"depth"},
        control=finds_fairness,
    ),
)
