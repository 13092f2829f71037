"""Chapter 47: is it the neutralising? Controls of WIN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from repro.chapters.win.contrasts import SHORT
from repro.chapters.win.face_plans import Head, pretrained, tuned
from repro.chapters.win.rank_sweep import MEANS
from repro.data.registry import FACE_SETS
from repro.study.experiments import Plan, experiment
from repro.study.figures import beside_paper
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import Part, View
from repro.study.tables import decided, differences

NOTEBOOK = "47_is_it_the_neutralising"


@dataclass(frozen=True)
class Control:
    """One setting that is compared: what it is called, and what it changes."""

    words: str
    strategy: str
    whole: bool = False  # at full rank, which cuts nothing
    matched: bool = False  # at a rate whose first step is as long as TL's
    importance: str = "neutralised"


CONTROLS = {
    "tl": Control("TL", "tl"),
    "factors": Control("factors at full rank", "svd", whole=True),
    "factors, matched": Control(
        "factors at full rank, matched rate", "svd", whole=True, matched=True
    ),
    "svd": Control("f+SVD", "svd"),
    "svd, matched": Control("f+SVD, matched rate", "svd", matched=True),
    "win": Control("WIN", "win"),
    "win, matched": Control("WIN, matched rate", "win", matched=True),
    "win, group 1": Control("one group only (p = 1)", "win", importance="group 1"),
    "win, group 2": Control("one group only (p = 0)", "win", importance="group 2"),
    "win, pooled": Control("all people pooled", "win", importance="pooled"),
    "win, shuffled": Control("importance shuffled", "win", importance="shuffled"),
}


def control_key(head: str, name: str) -> str:
    """Return the key of a control of one head in the plan: ``target: win, group 1``."""
    return f"{head}: {name}"


@experiment(NOTEBOOK, part="win-faces")
def controls(profile: Profile, seeds: Sequence[int]) -> Plan:
    """Is it the neutralising? `CONTROLS` on both heads; keys ``target: win, group 1``.

    Each head is cut to one rank (1 of two classes, the profile's of many labels).
    """
    plan: Plan = {}
    win = profile.win.faces
    if win is None:
        return plan
    # A head has no rank above its inputs either: 8 x width of the narrow ResNets, more of others.
    labels = FACE_SETS[profile.faces.data.name].labels or max(win.label_ranks)
    labels = min(labels, 8 * (win.width or profile.faces.width))
    heads: tuple[tuple[Head, int, int], ...] = (
        ("target", 1, 2),
        ("labels", win.control_rank, labels),
    )
    for head, cut, full in heads:
        bases = [pretrained(profile, seed, head=head) for seed in seeds]
        for name, one in CONTROLS.items():
            rank = None if one.strategy == "tl" else full if one.whole else cut
            plan[control_key(head, name)] = [
                tuned(profile, base, one.strategy, rank=rank, importance=one.importance,
                      matched=one.matched)
                for base in bases
            ]  # fmt: skip
    return plan


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

    def shown(self) -> list[Part]:
        """Return figure and table of the metrics of every control."""
        names = {key: one.words for key, one in CONTROLS.items()}
        *parts, _ = beside_paper(replace(self.view, label=self.label), self.metrics, names)
        return [*parts, self.view]

    def differences(self) -> pd.DataFrame:
        """Return the answer to each of :data:`QUESTIONS`, in points."""
        return differences(self.view.results, self.metrics, QUESTIONS)

    def learnt(self) -> str:
        """Say which of :data:`QUESTIONS` are decided."""
        return f"**{self.label}.** {decided(self.view.results, self.metrics, QUESTIONS)}"


def by_head(views: Sequence[View]) -> list[Controls]:
    """Return the controls of each head of each view, where there are any."""
    heads = []
    for view in views:
        for head, (title, metrics) in HEADS.items():
            found = {name: view.results.get(control_key(head, name)) for name in CONTROLS}
            own = {name: records for name, records in found.items() if records}
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
    for head, words in (("target", "two classes"), ("labels", "one logit a label")):
        for name, one in sorted(CONTROLS.items(), key=lambda control: control[1].whole):
            records = results.get(control_key(head, name))
            if one.matched and records:
                factors = [record.results["rate_factor"] for record in records]
                by_seed = ", ".join(f"{factor:.3f}" for factor in factors)
                rows.append({"head": words, "setting": one.words, "factor, by seed": by_seed})
    return pd.DataFrame(rows)
