"""Chapter 44: the weight of the groups (Figure 5)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.win import weight_importance
from repro.chapters.win.contrasts import DP, EO, ON_ADULT, SHORT, finds_fairness
from repro.chapters.win.plans import finetune, pretrain
from repro.chapters.win.tables import compared, ranks_of
from repro.study.claims import Check, Claim, Contrast
from repro.study.experiments import Plan, experiment
from repro.study.figures import LABELS, draw_seeds, in_points
from repro.study.intervals import paired_interval
from repro.study.judging import control
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.runs import Record
from repro.study.session import View

NOTEBOOK = "44_group_weight"


@experiment(NOTEBOOK, part="win")
def group_weights(
    profile: Profile, seeds: Sequence[int], *, ranks: Sequence[int] | None = None
) -> Plan:
    """Figure 5: the weight a; keys ``rank 1, a 0.7``.

    The paper does not say which group is s = 1, so each a of [0.5, 1) is run as the weight of
    either group: ``a`` below 0.5 in a key means that women's importance has the weight 1 - a.
    What all are compared with, 0.5, is among them whatever the profile says.
    """
    bases = [pretrain(profile, seed) for seed in seeds]
    both = sorted({round(w, 6) for a in (*profile.win.weights, 0.5) for w in (a, 1 - a)})
    return {
        weight_key(rank, weight): [
            finetune(profile, base, "win", rank=rank, weight=weight) for base in bases
        ]
        for rank in (profile.win.ranks if ranks is None else ranks)
        for weight in both
    }


def weight_key(rank: int, weight: float) -> str:
    """Return the key of a weight in the plan: ``rank 1, a 0.7``."""
    return f"rank {rank}, a {weight:g}"


def _importances_differ(profile: Profile) -> Sequence[Check]:
    """Return the check of Figure 5: with equal importances the weight of a group moves nothing."""
    return (
        control(
            "the groups' importances differ",
            weight_importance.probes,
            weight_importance.beyond_chance("null", "permuted groups"),
            paper="win",
        ),
    )


def _figure_5(profile: Profile, metric: str) -> list[Contrast]:
    most = max(profile.win.weights)
    if most == 0.5:  # nothing to compare with
        return []
    return [
        Contrast(
            f"a = {most:g} on {who} against a = 0.5 (rank 1): {SHORT[metric]}",
            weight_key(1, weight),
            weight_key(1, 0.5),
            metric,
            "greater",
        )
        for who, weight in (("men", most), ("women", round(1 - most, 6)))
    ]


def direction(record: Record) -> np.ndarray:
    """Return the unit direction in the outputs that a rank-1 start keeps, shape (k,)."""
    kept = np.asarray(record.results["start_B"][0], dtype=float)
    return np.asarray(kept / np.linalg.norm(kept))


def angle(first: np.ndarray, second: np.ndarray) -> float:
    """Return the angle between two unit directions without sign, in degrees, 0 to 90.

    By the sine, which unlike the cosine is exact for small angles.
    """
    along = float(first @ second)
    across = float(np.linalg.norm(first - along * second))
    return float(np.degrees(np.arctan2(across, abs(along))))


def weight_changes(results: Results) -> pd.DataFrame:
    """Figure 5: change from a = 0.5, and in how many seeds not one confusion count differs."""
    rows = []
    for key, records in results.items():
        rank = records[0].config["rank"]
        base = weight_key(rank, 0.5)
        pairs = list(zip(records, results[base], strict=True))
        same = sum(np.array_equal(a.counts(), b.counts()) for a, b in pairs)
        change = compared(results, [(key, key, base)]).iloc[0]
        row = {"setting": key} | {heading: change[heading] for heading in SHORT.values()}
        if rank == 1:
            row["kept direction turns by (°)"] = (
                f"{max(angle(direction(a), direction(b)) for a, b in pairs):.3f}"
            )
        rows.append(row | {"same confusion table": f"{same} of {len(pairs)} seeds"})
    return pd.DataFrame(rows).fillna("")


def weight_figures(view: View) -> list[Figure]:
    """Draw the three metrics against the weight a, as differences from a = 0.5: a figure a rank."""
    return [_weight_figure(view, rank) for rank in ranks_of(view.results)]


def _weight_figure(view: View, rank: int) -> Figure:
    own = {
        records[0].config["weight"]: records
        for records in view.results.values()
        if records[0].config["rank"] == rank
    }
    figure, panels = plt.subplots(1, 3, figsize=(9, 2.9))
    for axes, quantity in zip(panels, SHORT, strict=True):
        base = in_points(own[0.5], quantity)
        for at in sorted(own):
            values = in_points(own[at], quantity)
            draw_seeds(axes, at, np.subtract(values, base), paired_interval(values, base))
        axes.axhline(0, color="black", linewidth=0.8)
        low, high = axes.get_ylim()
        # A flat line must look flat: never zoom in on less than half a point.
        axes.set_ylim(min(low, -0.5), max(high, 0.5))
        axes.set_xlabel("a, the weight of men's importance")
        axes.set_title(LABELS[quantity].split(" = ")[0], fontsize="small")
    panels[0].set_ylabel("change from a = 0.5 (points)")
    figure.suptitle(f"{view.label}, rank {rank}", fontsize="medium")
    return figure


CLAIMS = (
    Claim(
        "group-weight",
        "Figure 5",
        lambda profile: (
            "Moving the weight of the groups from equal (a = 0.5) to one group "
            f"(a = {max(profile.win.weights):g}) loses fairness."
        ),
        NOTEBOOK,
        group_weights,
        lambda profile: _figure_5(profile, EO),
        (*ON_ADULT, "which group is s = 1 is not stated: both are tested"),
        lambda profile: _figure_5(profile, DP),
        checks=_importances_differ,
        control=finds_fairness,
    ),
)
