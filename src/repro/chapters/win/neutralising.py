"""Chapter 47: is it the neutralising? Controls of WIN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.win.contrasts import SHORT
from repro.chapters.win.face_plans import Head, pretrained, tuned
from repro.chapters.win.rank_sweep import MEANS
from repro.data.registry import FACE_SETS
from repro.study.experiments import Plan, experiment
from repro.study.figures import settings_figure
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import View
from repro.study.tables import decided, differences, means

NOTEBOOK = "47_is_it_the_neutralising"

#: importances that are compared with the neutralised one, as keys name them
CONTROLS = ("group 1", "group 2", "pooled", "shuffled")


@experiment(NOTEBOOK, part="win-faces")
def controls(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Is it the neutralising? Controls on both heads; keys ``target: win, group 1``.

    For each head, at one rank (1 of two classes, the profile's of many labels): TL; f+SVD; WIN with
    the importance of one group, of all pooled, and shuffled; WIN and f+SVD at a matched rate; and
    the plain factors at full rank, at the same and at a matched rate, which cut nothing.
    """
    plan: Plan = {}
    win = profile.win.faces
    if win is None:
        return plan
    # A head has no rank above its inputs either: 8 x width of the narrow ResNets, more of others.
    labels = FACE_SETS[profile.faces.data.name].labels or max(win.label_ranks)
    labels = min(labels, 8 * profile.faces.width)
    heads: tuple[tuple[Head, int, int], ...] = (
        ("target", 1, 2),
        ("labels", win.control_rank, labels),
    )
    for head, rank, full in heads:
        bases = [pretrained(profile, seed, head=head) for seed in seeds]
        cut: dict[str, Any] = {"rank": rank}
        whole: dict[str, Any] = {"rank": full}
        settings: dict[str, tuple[str, dict[str, Any]]] = {
            "tl": ("tl", {}),
            "svd": ("svd", cut),
            "win": ("win", cut),
            **{f"win, {kind}": ("win", cut | {"importance": kind}) for kind in CONTROLS},
            "svd, matched": ("svd", cut | {"matched": True}),
            "win, matched": ("win", cut | {"matched": True}),
            "factors": ("svd", whole),
            "factors, matched": ("svd", whole | {"matched": True}),
        }
        for key, (strategy, how) in settings.items():
            plan[f"{head}: {key}"] = [tuned(profile, base, strategy, **how) for base in bases]
    return plan


#: key of a control without its head -> what it is called
CONTROL_NAMES = {
    "tl": "TL",
    "factors": "factors at full rank",
    "factors, matched": "factors at full rank, matched rate",
    "svd": "f+SVD",
    "svd, matched": "f+SVD, matched rate",
    "win": "WIN",
    "win, matched": "WIN, matched rate",
    "win, group 1": "one group only (p = 1)",
    "win, group 2": "one group only (p = 0)",
    "win, pooled": "all people pooled",
    "win, shuffled": "importance shuffled",
}

#: label, first, second: what each difference isolates
QUESTIONS = (
    ("WIN − TL", "win", "tl"),
    ("the factors alone: full rank − TL", "factors", "tl"),
    ("the same, first steps equally long", "factors, matched", "tl"),
    ("the cut: f+SVD − factors at full rank", "svd", "factors"),
    ("any weighting: WIN − f+SVD", "win", "svd"),
    ("the same at matched rates", "win, matched", "svd, matched"),
    ("which rows: WIN − importance shuffled", "win", "win, shuffled"),
    ("groups apart: WIN − all people pooled", "win", "win, pooled"),
    ("both groups: WIN − p = 1 only", "win", "win, group 1"),
    ("both groups: WIN − p = 0 only", "win", "win, group 2"),
)

#: what keys of :func:`controls` begin with -> title, metrics
HEADS = {
    "target": ("Two classes, rank 1", SHORT),
    "labels": ("One logit a label, means over labels", MEANS),
}


@dataclass(frozen=True)
class Controls:
    """The controls of one head.

    Attributes
    ----------
    label
        On which data, which head.
    view
        Their records, without the head's name in the keys.
    metrics
        quantity -> column heading.
    """

    label: str
    view: View
    metrics: Mapping[str, str]

    def figure(self) -> Figure:
        """Draw every control, a panel for each metric."""
        names = self._names()
        return settings_figure(self.view.results, list(self.metrics), names=names, title=self.label)

    def table(self) -> pd.DataFrame:
        """Return the metrics of every control."""
        return means(self.view.results, self.metrics, self._names())

    def differences(self) -> pd.DataFrame:
        """Return the answer to each of :data:`QUESTIONS`, in points."""
        return differences(self.view.results, self.metrics, QUESTIONS)

    def learnt(self) -> str:
        """Say which of :data:`QUESTIONS` are decided."""
        return f"**{self.label}.** {decided(self.view.results, self.metrics, QUESTIONS)}"

    def _names(self) -> dict[str, str]:
        return {key: name for key, name in CONTROL_NAMES.items() if key in self.view.results}


def by_head(views: Sequence[View]) -> list[Controls]:
    """Return the controls of each head of each view, where there are any."""
    heads = []
    for view in views:
        for head, (title, metrics) in HEADS.items():
            begin = f"{head}: "
            own = {
                key.removeprefix(begin): group
                for key, group in view.results.items()
                if key.startswith(begin)
            }
            if own:
                heads.append(
                    Controls(f"{view.label}: {title}", replace(view, results=own), metrics)
                )
    return heads


def importances() -> pd.DataFrame:
    """Return what each importance is taken from."""
    from repro.win.controls import IMPORTANCES

    return pd.DataFrame({"importance": IMPORTANCES.keys(), "taken from": IMPORTANCES.values()})


def rate_factors(results: Results) -> pd.DataFrame:
    """Return by what the rate of the factors is multiplied so that first steps are equally long."""
    rows = []
    for key, records in results.items():
        if not key.endswith(", matched"):
            continue
        factors = [record.results["rate_factor"] for record in records]
        head, _, name = key.partition(": ")
        rows.append(
            {
                "head": {"target": "two classes", "labels": "one logit a label"}[head],
                "setting": CONTROL_NAMES[name],
                "factor, by seed": ", ".join(f"{factor:.3f}" for factor in factors),
            }
        )
    return pd.DataFrame(rows)
